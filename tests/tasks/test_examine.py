"""Examination: files by themselves, and floors that are those of the shards."""

import numpy as np
import pytest
import soundfile

from tasks.examine import examine, floor_calls, floors
from tasks.plan import Prepared
from tasks.planning import plan_band
from tasks.shards import stem_source
from wavenet.audio.decoding import AudioSource
from wavenet.audio.loudness import measure_loudness
from wavenet.audio.quantization import Quantizer
from wavenet.audio.silence import STEP
from wavenet.config import Config, FeaturesConfig
from wavenet.data.shards.sources import ShardFormat
from wavenet.data.shards.writer import write_shards
from wavenet.data.songs import Scan

RATE = 2000


def make_music(seconds, seed=0, rate=RATE):
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.02, len(time))
    return (0.3 * np.sin(2 * np.pi * (100 + 20 * seed) * time) * (1 - time % 1) + noise).astype(np.float32)


def make_config(**sections):
    tiny = {"ingest": {"sample_rate": RATE}, "model": {"dilation_cycle": 4, "num_cycles": 1}}
    return Config.model_validate({**tiny, **{k: {**tiny.get(k, {}), **v} for k, v in sections.items()}})


@pytest.fixture
def write(tmp_path):
    """Write a file of the user's, 16 bits."""

    def write(name, waveform, rate=4 * RATE):
        soundfile.write(tmp_path / name, waveform, rate, "PCM_16")
        return AudioSource(tmp_path / name)

    return write


@pytest.fixture
def examined(place):
    """The examination of a song, its files in it."""

    def examined(one, **options):
        found = examine.fn(workspace=place, track=one.track, song=one.song, workers=1, **options)
        return getattr(found, "data", found)

    return examined


def test_each_file_of_a_stem_is_examined_by_itself(ingest, write, examined):
    loud, quiet = make_music(4, 0, 4 * RATE), 0.1 * make_music(3, 1, 4 * RATE)
    sources = [write("loud.wav", np.stack([loud, -loud], axis=1)), write("quiet.wav", quiet)]
    one = ingest("a", keys=sources, drums=make_music(4))
    files = examined(one).examination.files
    assert list(files) == ["keys", "drums"]
    (first, second), (drums,) = files["keys"], files["drums"]
    assert first.loudness_lufs == pytest.approx(measure_loudness(loud, 4 * RATE) + 3.01, abs=0.05)
    assert second.loudness_lufs == pytest.approx(measure_loudness(quiet, 4 * RATE), abs=0.05)
    assert (first.floor_power, drums.floor_power < STEP**2) == (STEP**2, True)


def test_what_was_set_aside_is_not_read_again(ingest, examined):
    one = ingest("a", drums=make_music(4), set_aside={"bass": "no sound"})
    assert list(examined(one).examination.files) == ["drums"]


def test_an_examination_serves_the_same_audio_in_other_files(place, ingest, examined, write):
    """A song that became flac is not examined again."""
    one = ingest("a", drums=make_music(4))
    first = examined(one)
    gone = one.song.model_copy(update={"digest": "other", "song": ingest("b", drums=make_music(1)).song.song})
    assert examine.fn(workspace=place, track=one.track, song=gone, workers=1).name == "Cached"
    assert examined(one) == first


def test_a_file_that_is_gone_meanwhile_is_left_out_and_tried_again(ingest, examined):
    one = ingest("a", drums=make_music(4), bass=make_music(4, 1))
    path = one.song.song.stems["bass"][0].path
    content = path.read_bytes()
    path.unlink()
    found = examined(one)
    assert (found.examination.files["bass"], found.lasts) == ([None], False)
    assert found.examination.loudness_lufs["bass"] is not None
    path.write_bytes(content)
    assert examined(one).lasts


@pytest.mark.parametrize(
    ("scale", "sections", "least"),
    [
        (1e-3, {}, 0),
        (1e-2, {"segmentation": {"normalize": "loudness"}}, 35),
        (1e-3, {"segmentation": {"normalize": "peak"}, "quantization": {"law": "linear"}}, 30),
        (1.0, {"ingest": {"downmix": "left", "resample_quality": "LQ"}}, 35),
    ],
)
def test_the_floor_as_configured_is_what_the_shards_state(
    place, ingest, examined, write, tmp_path, scale, sections, least
):
    """Of a stem whose first file is quiet and ends early, and whose channels cancel."""
    rate, config = 4 * RATE, make_config(**sections)
    quiet, music = 0.01 * make_music(3, 2, rate), make_music(20, 3, rate)
    stereo = scale * np.stack([music, -music if "ingest" in sections else music], axis=1)
    sources = [write("quiet.wav", quiet * scale), write("music.wav", stereo)]
    downmix, quality = config.ingest.downmix, config.ingest.resample_quality
    one = ingest("a", keys=sources, downmix=downmix, quality=quality)
    heard = {one.track.track.track_id: examined(one)}
    plan = plan_band(place, [one], config, {}, heard)
    calls = floor_calls(place, Prepared(Scan("album", []), {}, [one], heard, plan), config)
    (here,) = [floor for floor in floors.fn(**calls["keys"]).floors if floor.configured]
    fmt = ShardFormat("keys", RATE, Quantizer(config.quantization.law, 256), config.segment_length, 0.1, 20)
    (tmp_path / "set").mkdir()
    tracks = [stem_source(place, "keys", track, FeaturesConfig()) for track in plan.stems["keys"]]
    assert here.snr_db == write_shards(tracks, tmp_path / "set", fmt).quantization_snr_db
    assert here.snr_db > least


def test_files_that_ended_before_an_excerpt_have_no_part_in_it(place, ingest, write):
    rate = 4 * RATE
    early = write("early.wav", make_music(2, 0, rate))
    late = write("late.wav", np.concatenate([0 * make_music(20), make_music(12, 1, rate)]).astype(np.float32))
    one = ingest("a", keys=[early, late])
    config = make_config()
    plan = plan_band(place, [one], config, {})
    calls = floor_calls(place, Prepared(Scan("album", []), {}, [one], {}, plan), config)
    (excerpt,) = calls["keys"]["excerpts"]
    assert [source.path for source in excerpt.sources] == [late.path]
    assert excerpt.sources[0].end - excerpt.sources[0].start == 10
