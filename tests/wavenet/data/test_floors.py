"""The quantization floor: figure and clip of a setting are of the same excerpts, moved to the whole."""

import numpy as np
import pytest
import soundfile
import soxr

from wavenet.audio.decoding import AudioSource
from wavenet.audio.io import read_audio, write_audio
from wavenet.audio.quantization import NoiseMeter, Quantizer
from wavenet.data.floors import (
    NEIGHBOUR_LEVELS,
    NEIGHBOUR_RATES,
    Floor,
    SummedFiles,
    low_floor_notes,
    measure_floors,
    settings_around,
)
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.writer import write_shards
from wavenet.errors import AudioDecodeError

RATE = 16000


def make_music(seconds, seed=0, sample_rate=RATE):
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    noise = np.random.default_rng(seed).normal(0, 0.02, len(time))
    return 0.3 * np.sin(2 * np.pi * (200 + 50 * seed) * time) * (1 - time % 1) + noise


def make_format(law="mu-law", levels=256, **options):
    quantizer = Quantizer(law, levels, options.pop("dither", False))
    return ShardFormat("drums", RATE, quantizer, 4000, 0.25, 1, **options)


@pytest.fixture
def write(tmp_path):
    """Write a waveform as an excerpt: 24 bits, its first second skipped."""

    def write(name, waveform, sample_rate=RATE):
        soundfile.write(tmp_path / name, waveform, sample_rate, "PCM_24")
        return SummedFiles([AudioSource(tmp_path / name, 1.0)])

    return write


@pytest.fixture
def keep(tmp_path):
    """Keep a waveform as the working audio of a track."""
    count = iter(range(100))

    def keep(waveform, **options):
        path = tmp_path / f"working {next(count)}.wav"
        write_audio(path, waveform.astype(np.float32), RATE)
        return StemSource(path, len(waveform), "0" * 32, "song", "train", **options)

    return keep


@pytest.mark.parametrize("rate", [16000, 12345])
@pytest.mark.parametrize("levels", [256, 100])
def test_the_configured_setting_is_measured_among_its_neighbours_once(rate, levels):
    settings = settings_around(rate, levels)
    assert (
        len(set(settings))
        == len(settings)
        == len({rate, *NEIGHBOUR_RATES}) * len({levels, *NEIGHBOUR_LEVELS})
    )
    assert (rate, levels) in settings
    assert {(r, n) for r in NEIGHBOUR_RATES for n in NEIGHBOUR_LEVELS} <= set(settings)


@pytest.mark.parametrize("law", ["mu-law", "linear"])
def test_figures_and_clips_are_of_the_same_excerpts(write, tmp_path, law):
    waveforms = [make_music(2), make_music(1.5, 1)]
    excerpts = [write(f"{number}.wav", waveform) for number, waveform in enumerate(waveforms)]
    floors = measure_floors(excerpts, [], make_format(law), tmp_path)
    assert [floor for floor in floors if floor.configured] == [
        floor for floor in floors if (floor.sample_rate, floor.quantization_channels) == (RATE, 256)
    ]
    heard = [read_audio(excerpt.sources[0])[0][:, 0] for excerpt in excerpts]
    assert [len(part) for part in heard] == [RATE, RATE // 2]
    for floor in floors:
        quantizer = Quantizer(law, floor.quantization_channels)
        meter = NoiseMeter(quantizer)
        resampled = [soxr.resample(part, RATE, floor.sample_rate, quality="HQ") for part in heard]
        for part in resampled:
            meter.add(part, quantizer.encode(part))
        assert (floor.stem, floor.law) == ("drums", law)
        assert floor.snr_db == pytest.approx(meter.signal_to_noise_db, abs=0.01)
        assert floor.level_db == pytest.approx(
            10 * np.log10(np.square(np.concatenate(resampled)).mean()), abs=0.01
        )
        clip, rate = read_audio(tmp_path / floor.clip)
        assert rate == floor.sample_rate
        assert np.array_equal(clip[:, 0], quantizer.decode(quantizer.encode(resampled[0])))


@pytest.mark.parametrize("law", ["mu-law", "linear"])
def test_the_configured_setting_has_the_figure_that_the_shards_will_state(write, keep, tmp_path, law):
    """Of the whole, which is quieter than its loudest seconds; the neighbours are moved with it."""
    loud, quiet = make_music(3), 0.05 * make_music(9, 1)
    tracks = [
        keep(np.concatenate([loud, quiet]), kept=[(0.0, 1.0), (3.0, 12.0)]),
        keep(quiet, gain=0.5),
    ]
    fmt = make_format(law)
    floors = measure_floors([write("a.wav", loud)], tracks, fmt, tmp_path)
    (tmp_path / "set").mkdir()
    stated = write_shards(tracks, tmp_path / "set", fmt).quantization_snr_db
    (here,) = [floor for floor in floors if floor.configured]
    assert here.snr_db == stated
    alone = measure_floors([write("a.wav", loud)], [], fmt, tmp_path)
    moved = [floor.snr_db - other.snr_db for floor, other in zip(floors, alone, strict=True)]
    assert moved == pytest.approx([moved[0]] * len(moved), abs=0.02)
    assert (moved[0] < -3) == (law == "linear")


def test_the_gain_of_a_track_is_part_of_what_is_measured(write, keep, tmp_path):
    quiet = 1e-4 * make_music(3)
    plain, raised = (
        measure_floors(
            [SummedFiles(write("a.wav", quiet).sources, gain)],
            [keep(quiet, gain=gain)],
            make_format(),
            tmp_path,
        )
        for gain in (1.0, 1e4)
    )
    for one, other in zip(plain, raised, strict=True):
        if one.configured:
            assert (one.snr_db < 20, other.snr_db > 36) == (True, True)
    clip, _ = read_audio(tmp_path / raised[0].clip)
    assert np.abs(clip).max() > 0.2


def test_all_files_of_a_stem_are_heard_at_their_own_rates(write, keep, tmp_path):
    """The first is quiet, the second loud and shorter."""
    files = [write("a.wav", 1e-4 * make_music(4)), write("b.wav", make_music(3, 1, 44100), 44100)]
    excerpt = SummedFiles([one.sources[0] for one in files])
    floors = measure_floors([excerpt], [], make_format(), tmp_path)
    (here,) = [floor for floor in floors if floor.configured]
    assert here.snr_db > 36
    total = read_audio(files[0].sources[0])[0][:, 0]
    other = soxr.resample(read_audio(files[1].sources[0])[0][:, 0], 44100, RATE, quality="HQ")
    total[: len(other)] += other
    clip, _ = read_audio(tmp_path / here.clip)
    quantizer = Quantizer("mu-law", 256)
    assert np.array_equal(clip[:, 0], quantizer.decode(quantizer.encode(total)))


def test_channels_are_mixed_down_as_configured(write, tmp_path):
    """These cancel when averaged."""
    music = make_music(2)
    excerpt = write("s.wav", np.stack([music, -music], axis=1))
    figures = {}
    for downmix in ("mean", "left", "right"):
        floors = measure_floors([excerpt], [], make_format(downmix=downmix), tmp_path)
        figures[downmix] = next(floor.snr_db for floor in floors if floor.configured)
    assert figures["mean"] is None or figures["mean"] < 0
    assert figures["left"] > 36
    assert figures["right"] == pytest.approx(figures["left"], abs=0.5)


def test_the_resampler_is_the_configured_one(write, tmp_path):
    excerpt = write("a.wav", make_music(2, 0, 44100), 44100)
    clips = []
    for quality in ("HQ", "QQ"):
        floors = measure_floors([excerpt], [], make_format(resample_quality=quality), tmp_path)
        clips.append(read_audio(tmp_path / next(floor.clip for floor in floors if floor.configured))[0])
    assert not np.array_equal(*clips)


def test_more_levels_sound_better(write, tmp_path):
    floors = measure_floors([write("a.wav", make_music(2))], [], make_format(), tmp_path)
    for rate in NEIGHBOUR_RATES:
        figures = [floor.snr_db for floor in floors if floor.sample_rate == rate]
        assert figures == sorted(figures)
        assert figures[-1] > figures[0] + 40


def test_clips_are_short_and_every_floor_has_its_own(write, tmp_path):
    floors = measure_floors([write("a.wav", make_music(9))], [], make_format(), tmp_path)
    assert len({floor.clip for floor in floors}) == len(floors)
    for floor in floors:
        clip, rate = read_audio(tmp_path / floor.clip)
        assert len(clip) == 5 * rate


def test_silence_has_no_floor(write, keep, tmp_path):
    silence = np.zeros(2 * RATE)
    floors = measure_floors([write("a.wav", silence)], [keep(silence)], make_format(levels=64), tmp_path)
    assert {floor.snr_db for floor in floors} == {None}


def test_dither_costs_what_it_costs_and_the_same_each_time(write, tmp_path):
    excerpt = write("a.wav", make_music(2))
    dithered = make_format("linear", dither=True)
    first, second = (measure_floors([excerpt], [], dithered, tmp_path) for _ in range(2))
    assert first == second
    plain = measure_floors([excerpt], [], make_format("linear"), tmp_path)
    for with_dither, without in zip(first, plain, strict=True):
        assert without.snr_db - with_dither.snr_db == pytest.approx(10 * np.log10(3), abs=0.5)


def test_channels_are_averaged(write, tmp_path):
    music = make_music(2)
    mono = measure_floors([write("m.wav", music)], [], make_format(), tmp_path)
    stereo = write("s.wav", np.stack([2 * music, 0 * music], axis=1))
    both = measure_floors([stereo], [], make_format(), tmp_path)
    for one, other in zip(mono, both, strict=True):
        if one.quantization_channels <= 1024:
            assert one.snr_db == pytest.approx(other.snr_db, abs=0.1)


def test_an_excerpt_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    with pytest.raises(AudioDecodeError, match=r"a\.wav"):
        measure_floors([SummedFiles([AudioSource(tmp_path / "a.wav")])], [], make_format(), tmp_path)


def test_noise_of_clipped_peaks_is_told_from_that_of_rounding(write, keep, tmp_path):
    loud = 1.5 * np.sin(2 * np.pi * 220 * np.arange(3 * RATE) / RATE)
    source = tmp_path / "loud.wav"
    soundfile.write(source, loud, RATE, "FLOAT")
    for gain, clipped in ((1.0, True), (0.5, False)):
        excerpt = SummedFiles([AudioSource(source)], gain)
        floors = measure_floors([excerpt], [keep(loud, gain=gain)], make_format(), tmp_path)
        assert {floor.overshoots for floor in floors} == {clipped}
        notes = low_floor_notes(floors)
        assert ["peaks rise above full scale and are clipped" in note for note in notes] == [True] * clipped


@pytest.mark.parametrize(
    ("snr_db", "level_db", "levels", "told"),
    [
        (
            18.5,
            -62.0,
            256,
            "its audio is quiet, -62 dBFS where it is loudest; segmentation.normalize raises",
        ),
        (22.0, -12.0, 64, "64 mu-law levels are few; raise quantization.quantization_channels"),
        (25.0, -62.0, 256, None),
        (None, -120.0, 256, None),
    ],
)
def test_of_a_stem_that_cannot_sound_well_the_cause_and_the_remedy_are_told(snr_db, level_db, levels, told):
    here = Floor("keys", RATE, levels, "mu-law", snr_db, True, "a.wav", level_db)
    neighbour = Floor("keys", RATE, 16, "mu-law", 3.0, False, "b.wav", level_db)
    notes = low_floor_notes([neighbour, here])
    if told is None:
        assert notes == []
    else:
        (note,) = notes
        assert note.startswith(f"keys: sounds no better than {snr_db} dB as configured: {told}")
