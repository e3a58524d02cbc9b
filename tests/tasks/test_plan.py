"""The plan: every stem of every song is used, in part or whole, or dropped with a reason."""

import re

import mido
import numpy as np
import pytest
import soundfile

from tasks.plan import PlannedTrack
from tasks.planning import plan_band
from tasks.records import ExaminationRecord
from tasks.shards import stem_source
from wavenet.audio.decoding import AudioSource
from wavenet.audio.io import write_audio
from wavenet.audio.quantization import Quantizer
from wavenet.config import Config, FeaturesConfig
from wavenet.data.examination import examine_file, examine_track
from wavenet.data.shards.reader import read_shards
from wavenet.data.shards.sources import ShardFormat
from wavenet.data.shards.writer import write_shards
from wavenet.data.splits import TrackSplit

RATE = 2000
TINY = {
    "ingest": {"sample_rate": RATE},
    "segmentation": {"segment_seconds": 0.5, "silence": {"min_seconds": 0.5}},
    "model": {"dilation_cycle": 4, "num_cycles": 1},  # a receptive field of 16 samples
    "training": {"scored_length": 200},
}


def make_config(**sections):
    """The tiny configuration with some settings changed."""
    changed = {name: {**TINY.get(name, {}), **values} for name, values in sections.items()}
    return Config.model_validate({**TINY, **changed})


def make_noise(seconds, seed=0, level=0.1, rate=RATE):
    return np.random.default_rng(seed).normal(0, level, round(seconds * rate)).astype(np.float32)


def make_parts(*parts, seed=0):
    """Noise and silence in turn: so many seconds of each."""
    noise = make_noise(sum(parts), seed)
    edges = np.round(np.cumsum([0, *parts]) * RATE).astype(int)
    for start, end in zip(edges[1::2], edges[2::2], strict=False):
        noise[start:end] = 0
    return noise


@pytest.fixture
def examine(place):
    """Examinations of songs, by track id."""

    def examine(songs):
        found = {}
        for one in songs:
            folder = place.path(one.track.folder)
            stems = {stem: folder / audio.file for stem, audio in one.track.track.stems.items()}
            files = {
                stem: [examine_file(source) for source in mine] for stem, mine in one.song.song.stems.items()
            }
            examination = examine_track(stems, one.track.track.sample_rate, folder, files)
            record = ExaminationRecord(digest="e", folder=one.track.folder, examination=examination)
            found[one.track.track.track_id] = record
        return found

    return examine


def outcomes_of(plan):
    return {one.name: one for one in plan.outcomes}


# what is dropped


def test_a_stem_that_sounds_is_kept_whole(place, ingest):
    plan = plan_band(place, [ingest("a", drums=make_noise(4))], make_config(), {})
    (one,) = plan.outcomes
    assert (one.name, one.verdict, one.reason) == ("a/drums", "kept", "whole")
    assert (one.seconds, one.silence_share, one.kept, one.split) == (4.0, 0.0, [(0.0, 4.0)], "train")
    (planned,) = plan.stems["drums"]
    assert (planned.kept, planned.gain, planned.record.name) == (None, 1.0, "a")
    assert plan.dropped == []


def test_a_silent_stem_is_dropped(place, ingest):
    songs = [ingest("a", drums=make_noise(2), vocals=np.zeros(2 * RATE, np.float32))]
    plan = plan_band(place, songs, make_config(), {})
    assert outcomes_of(plan)["a/vocals"].reason == "silent throughout"
    assert outcomes_of(plan)["a/vocals"].silence_share == 1
    assert list(plan.stems) == ["drums"]
    assert plan.dropped == [("a/vocals", "silent throughout")]


@pytest.mark.parametrize(("num_samples", "verdict"), [(16, "dropped"), (17, "kept")])
def test_what_is_shorter_than_a_context_and_a_sample_is_dropped(place, ingest, num_samples, verdict):
    song = ingest("a", drums=make_noise(num_samples / RATE))
    (one,) = plan_band(place, [song], make_config(), {}).outcomes
    assert one.verdict == verdict
    if verdict == "dropped":
        assert one.reason.startswith(
            f"{num_samples / RATE:g} s is shorter than what a model of it hears at once (0.0085 s); lower m"
        )


def test_a_stems_own_receptive_field_decides_how_short_is_too_short(place, ingest):
    song = ingest("a", drums=make_noise(0.2), bass=make_noise(0.2, 1))
    deep = make_config(stems={"bass": {"model": {"dilation_cycle": 9}}})
    verdicts = {one.stem: one.verdict for one in plan_band(place, [song], deep, {}).outcomes}
    assert verdicts == {"drums": "kept", "bass": "dropped"}


def test_a_stem_that_is_not_wanted_is_dropped(place, ingest):
    songs = [ingest("a", drums=make_noise(2), bass=make_noise(2, 1))]
    plan = plan_band(place, songs, make_config(ingest={"stems": ["drums", "vocals"]}), {})
    assert list(plan.stems) == ["drums"]
    assert plan.dropped == [("a/bass", "not among ingest.stems (drums, vocals)")]


def test_the_same_audio_under_another_name_is_used_once(place, ingest):
    drums, bass = make_noise(2), make_noise(2, 1)
    songs = [ingest(name, drums=drums, bass=bass) for name in ("a", "b", "c")] + [ingest("d", drums=drums)]
    plan = plan_band(place, songs, make_config(), {})
    assert {one.song: one.verdict for one in plan.outcomes} == {
        "a": "kept",
        "b": "dropped",
        "c": "dropped",
        "d": "dropped",
    }
    assert outcomes_of(plan)["d/drums"].duplicate_of == "a/drums"
    twins = [one for one in plan.outcomes if one.song in ("b", "c")]
    assert {(one.reason, one.duplicate_of) for one in twins} == {("the same audio as a", "a")}
    assert all(one.kept == [] and one.split is None for one in twins)
    assert [track.record.name for track in plan.stems["drums"]] == ["a"]
    assert plan.dropped == [
        ("b", "the same audio as a"),
        ("c", "the same audio as a"),
        ("d", "the same audio as a/drums"),
    ]


def test_a_loop_that_two_songs_share_is_on_one_side_only(place, ingest):
    loop = make_noise(2)
    songs = [ingest(name, drums=loop, bass=make_noise(2, seed)) for seed, name in enumerate("abcdef", 1)]
    plan = plan_band(place, songs, make_config(segmentation={"heldout_share": 0.5}), {})
    assert {track.split for track in plan.stems["bass"]} == {"train", "heldout"}
    assert [track.record.name for track in plan.stems["drums"]] == ["a"]
    assert outcomes_of(plan)["b/drums"].reason == "the same audio as a/drums"
    assert outcomes_of(plan)["b/bass"].verdict == "kept"


def test_a_shared_stem_stays_where_an_earlier_run_put_it(place, ingest):
    """Songs that come later, or first by name, take nothing from those that are decided."""
    loop = make_noise(2)
    songs = [ingest(name, drums=loop, bass=make_noise(2, seed)) for seed, name in enumerate("abc", 1)]
    ids = {one.track.name: one.track.track.track_id for one in songs}
    known = {ids["b"]: TrackSplit("heldout"), ids["c"]: TrackSplit("train")}
    plan = plan_band(place, songs, make_config(), known)
    (drums,) = plan.stems["drums"]
    assert (drums.record.name, drums.split) == ("c", "train")
    alone = plan_band(place, songs[:2], make_config(), {ids["b"]: TrackSplit("heldout")})
    assert [track.record.name for track in alone.stems["drums"]] == ["b"]


def test_of_a_shared_stem_that_in_the_data_sets_training_part_is_used(place, ingest):
    loop = make_noise(2)
    splits = {"a": None, "b": "test", "c": "train"}
    songs = [
        ingest(name, drums=loop, bass=make_noise(2, seed), split=split)
        for seed, (name, split) in enumerate(splits.items(), 1)
    ]
    plan = plan_band(place, songs, make_config(), {})
    assert [track.record.name for track in plan.stems["drums"]] == ["c"]


def test_silent_stems_of_two_songs_are_silent_and_no_copies(place, ingest):
    silence = np.zeros(2 * RATE, np.float32)
    songs = [ingest(name, drums=make_noise(2, seed), vocals=silence) for seed, name in enumerate("ab")]
    plan = plan_band(place, songs, make_config(), {})
    assert {outcomes_of(plan)[f"{name}/vocals"].reason for name in "ab"} == {"silent throughout"}


def test_two_stems_of_a_song_that_are_the_same_audio_are_told(place, ingest):
    drums, silence = make_noise(2), np.zeros(2 * RATE, np.float32)
    song = ingest("a", drums=drums, bass=drums, keys=silence, vocals=silence, other=make_noise(2, 1))
    plan = plan_band(place, [song], make_config(), {})
    assert plan.notes == ["a: bass and drums are the same audio; export the right one again, or drop one"]
    assert sorted(plan.stems) == ["bass", "drums", "other"]


@pytest.mark.parametrize(("share", "verdict"), [(2e-3, "kept"), (1e-3, "kept"), (9e-4, "dropped")])
def test_a_stem_that_the_separator_found_hardly_any_of_is_dropped(place, ingest, share, verdict):
    shares = {"drums": 1 - share, "vocals": share}
    song = ingest("a", drums=make_noise(2), vocals=make_noise(2, 1), energy_shares=shares)
    plan = plan_band(place, [song], make_config(), {})
    one = outcomes_of(plan)["a/vocals"]
    assert one.verdict == verdict
    if verdict == "dropped":
        assert one.reason.startswith("holds 0.0009 of the track's energy, less than separation.min_energy")


def test_a_stem_that_could_not_be_decoded_is_told(place, ingest):
    song = ingest("a", drums=make_noise(2), set_aside={"bass": "no sound"})
    plan = plan_band(place, [song], make_config(), {})
    bass = outcomes_of(plan)["a/bass"]
    assert (bass.verdict, bass.reason, bass.seconds, bass.split) == ("dropped", "no sound", None, None)


def test_nothing_usable_is_an_empty_plan(place, ingest):
    songs = [ingest("a", set_aside={"mix": "no sound"}), ingest("b", mix=np.zeros(RATE, np.float32))]
    plan = plan_band(place, songs, make_config(), {})
    assert (plan.stems, plan.splits) == ({}, {})
    assert plan.dropped == [("a/mix", "no sound"), ("b/mix", "silent throughout")]
    assert plan_band(place, [], make_config(), {}).outcomes == []


# silence


def test_silence_is_cut_but_for_the_segment_before_what_sounds(place, ingest):
    """2 s of sound, 6 of silence, 2 of sound: the second part is learnt from its first sample on."""
    song = ingest("a", drums=make_parts(2, 6, 2))
    plan = plan_band(place, [song], make_config(), {})
    (one,) = plan.outcomes
    assert (one.verdict, one.reason) == ("partial", "5.5 s of silence cut")
    assert one.kept == [(0.0, 2.0), (7.5, 10.0)]
    assert one.kept_seconds == 4.5
    assert one.silence_share == pytest.approx(0.6, abs=0.01)
    assert plan.stems["drums"][0].kept == one.kept


def test_silence_stays_where_it_is_not_to_be_cut(place, ingest):
    song = ingest("a", drums=make_parts(2, 6, 2))
    config = make_config(segmentation={"silence": {"cut": False}})
    plan = plan_band(place, [song], config, {})
    assert (plan.outcomes[0].verdict, plan.outcomes[0].kept) == ("kept", [(0.0, 10.0)])
    assert plan.outcomes[0].silence_share == pytest.approx(0.6, abs=0.01)
    assert plan.stems["drums"][0].kept is None


def test_short_rests_and_quiet_music_are_no_silence(place, ingest):
    quiet = make_parts(2, 0.4, 2) * np.float32(1e-3)
    plan = plan_band(place, [ingest("a", drums=quiet)], make_config(), {})
    assert plan.outcomes[0].verdict == "kept"


def write_dither(path, seconds, channels=1):
    """What a DAW exports of an empty 16-bit stem: triangular dither of two steps."""
    steps = np.random.default_rng(0).triangular(-1, 0, 1, (round(seconds * RATE), channels))
    soundfile.write(path, np.round(steps).astype(np.int16), RATE)
    return path


def test_a_stem_of_nothing_but_dither_is_silent(place, ingest, examine, tmp_path):
    dither, _ = soundfile.read(write_dither(tmp_path / "dither.wav", 9), dtype="float32")
    song = ingest("a", drums=make_noise(4), vocals=dither)
    plan = plan_band(place, [song], make_config(), {}, examine([song]))
    assert outcomes_of(plan)["a/vocals"].reason == "silent throughout: nothing above quantization noise"
    assert list(plan.stems) == ["drums"]


def test_the_dithered_rests_of_a_quiet_stem_are_cut(place, ingest, examine, tmp_path):
    """Its own level is so low that 60 dB below lies under the dither."""
    dither, _ = soundfile.read(write_dither(tmp_path / "dither.wav", 8), dtype="float32")
    dither[: 2 * RATE] += np.round(make_noise(2, level=3e-3) * 2**15).astype(np.float32) / 2**15
    song = ingest("a", drums=dither)
    plan = plan_band(place, [song], make_config(), {}, examine([song]))
    assert outcomes_of(plan)["a/drums"].kept == [(0.0, 2.0)]


@pytest.mark.parametrize("level_db", [-80, -72])
def test_a_quiet_recording_of_16_bits_is_kept(place, ingest, examine, level_db):
    recording = np.round(make_noise(4, level=10 ** (level_db / 20)) * 2**15).astype(np.float32) / 2**15
    song = ingest("a", drums=recording)
    (one,) = plan_band(place, [song], make_config(), {}, examine([song])).outcomes
    assert (one.verdict, one.silence_share) == ("kept", 0)


def test_of_channels_that_cancel_the_cause_is_named(place, ingest):
    music = make_noise(4)
    song = ingest("a", drums=np.stack([music, -music], axis=1))
    (one,) = plan_band(place, [song], make_config(), {}).outcomes
    assert re.fullmatch(
        r"silent throughout, though the file peaks at -\d+\.\d dBFS: its channels cancel when averaged; "
        r"set ingest.downmix=left or ingest.downmix=right",
        one.reason,
    )


def test_of_a_silent_channel_the_cause_is_named(place, ingest):
    music = make_noise(4)
    stereo = np.stack([music, 0 * music], axis=1)
    song = ingest("a", downmix="right", drums=stereo)
    (one,) = plan_band(place, [song], make_config(ingest={"downmix": "right"}), {}).outcomes
    assert one.reason.endswith(" dBFS: its right channel is silent; set ingest.downmix=mean")


def test_of_sound_above_what_the_rate_keeps_the_cause_is_named(place, ingest, tmp_path):
    time = np.arange(4 * 8000) / 8000
    high = 0.5 * np.sin(2 * np.pi * 3000 * time) * np.hanning(len(time))
    soundfile.write(tmp_path / "high.wav", high, 8000, "FLOAT")
    song = ingest("a", drums=[AudioSource(tmp_path / "high.wav")])
    (one,) = plan_band(place, [song], make_config(), {}).outcomes
    assert one.verdict == "dropped"
    assert one.reason.endswith(": nothing is left of it at ingest.sample_rate (2000 Hz); raise it")


@pytest.mark.parametrize("rate", [RATE, 4 * RATE, 2205])
def test_what_the_plan_says_is_what_the_shards_hold(place, ingest, tmp_path, rate):
    """Also of working audio at another rate, as separated stems have."""
    waveform = make_noise(9.1, rate=rate)
    waveform[2 * rate : 5 * rate] = 0
    waveform[round(8.5 * rate) :] = 0
    song, config = ingest("a", rate=rate, drums=waveform), make_config()
    plan = plan_band(place, [song], config, {})
    (one,), (planned,) = plan.outcomes, plan.stems["drums"]
    (tmp_path / "set").mkdir()
    fmt = ShardFormat("drums", RATE, Quantizer("mu-law", 256), config.segment_length, 0.1, config.hop_length)
    source = stem_source(place, "drums", planned, FeaturesConfig())
    (track,) = write_shards([source], tmp_path / "set", fmt).tracks
    assert track.num_samples == pytest.approx(one.kept_seconds * RATE, abs=1)
    rows = [read_shards(tmp_path / "set", split) for split in ("train", "heldout")]
    starts = np.concatenate([part["start_sample"] for part in rows]) / RATE
    assert one.verdict == "partial"
    assert all(any(start <= place < end for start, end in one.kept) for place in starts)
    assert planned.end_heldout  # the only track there is


def test_pieces_shorter_than_a_training_window_are_told(place, ingest):
    songs = [
        ingest("a", drums=make_noise(4), split="train"),
        ingest("b", drums=make_noise(0.08, 1), split="train"),
    ]
    plan = plan_band(place, songs, make_config(), {})
    assert plan.notes == [
        "drums: 0.1 s of 4.1 s lie in pieces shorter than a training window (0.11 s) and are not trained on; "
        "lower training.scored_length"
    ]


def test_where_all_pieces_are_short_nothing_is_told(place, ingest):
    """Windows shrink to the longest."""
    songs = [ingest("a", drums=make_noise(0.05)), ingest("b", drums=make_noise(0.04, 1))]
    assert not [note for note in plan_band(place, songs, make_config(), {}).notes if "window" in note]


# levels


@pytest.mark.parametrize("normalize", ["loudness", "peak"])
def test_a_track_has_one_gain_for_all_its_stems(place, ingest, examine, normalize):
    songs = [
        ingest("a", drums=make_noise(3, 0, 0.05), bass=make_noise(3, 1, 0.005)),
        ingest("b", drums=make_noise(3, 2, 0.1)),
    ]
    config = make_config(segmentation={"normalize": normalize, "target_lufs": -30, "target_peak_db": -3})
    found = examine(songs)
    plan = plan_band(place, songs, config, {}, found)
    gains = {(t.record.name, stem): t.gain for stem, tracks in plan.stems.items() for t in tracks}
    assert gains["a", "drums"] == gains["a", "bass"] != gains["b", "drums"]
    for one in songs:
        heard = found[one.track.track.track_id].examination
        gain = gains[one.track.name, "drums"]
        if normalize == "peak":
            peaks = [stem.peak for stem in one.track.track.stems.values()]
            assert gain * max(heard.sum_peak, *peaks) == pytest.approx(10 ** (-3 / 20))
        else:
            assert 20 * np.log10(gain) + heard.sum_loudness_lufs == pytest.approx(-30)
    assert f"segmentation.normalize={normalize}: every track is brought to one level" in "\n".join(plan.notes)


@pytest.mark.parametrize(("normalize", "target"), [("loudness", -18), ("loudness", -3), ("peak", -18)])
def test_no_gain_makes_a_stem_clip(place, ingest, examine, tmp_path, normalize, target):
    """Also of stems that nearly cancel: their sum is quieter than either."""
    spiky = make_noise(4, 0, 0.01)
    spiky[::RATE] = 0.9
    songs = [ingest("a", drums=spiky, bass=0.1 * spiky - spiky), ingest("b", drums=make_noise(4, 1, 0.05))]
    config = make_config(segmentation={"normalize": normalize, "target_lufs": target})
    plan = plan_band(place, songs, config, {}, examine(songs))
    gains = {(track.record.name, stem): track.gain for stem, mine in plan.stems.items() for track in mine}
    assert gains["a", "drums"] == gains["a", "bass"] == pytest.approx(10 ** (-1 / 20) / 0.9)
    for number, (stem, tracks) in enumerate(plan.stems.items()):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        fmt = ShardFormat(stem, RATE, Quantizer("mu-law", 256), config.segment_length, 0.1, 1)
        write_shards([stem_source(place, stem, track, FeaturesConfig()) for track in tracks], folder, fmt)
        for split in ("train", "heldout"):
            assert not read_shards(folder, split)["clipped_share"].any()


def test_how_far_a_target_is_missed_is_told(place, ingest, examine):
    """5 dB up would clip; the peak allows as much as brings it to -1 dB."""
    spiky, plain = make_noise(4, 0, 0.01), make_noise(4, 1, 0.01)
    spiky[::RATE] = 10 ** (-3 / 20)
    songs = [ingest("spiky", drums=spiky), ingest("plain", drums=plain)]
    found = examine(songs)
    target = found[songs[0].track.track.track_id].examination.sum_loudness_lufs + 5
    config = make_config(segmentation={"normalize": "loudness", "target_lufs": target})
    plan = plan_band(place, songs, config, {}, found)
    (note,) = [note for note in plan.notes if note.startswith("quieter than segmentation.target_lufs")]
    assert "by up to 3.0 dB, for their peaks are kept at segmentation.target_peak_db (-1): spiky; " in note
    assert plan_band(place, songs, make_config(segmentation={"normalize": "peak"}), {}, found).notes == [
        "segmentation.normalize=peak: every track is brought to one level, and what was quiet on the record "
        "is not quiet any more",
        "raised by more than 12 dB, their noise with them: plain",
    ]


def test_raising_quiet_music_far_is_told(place, ingest, examine):
    songs = [ingest("loud", drums=make_noise(3, 0, 0.1)), ingest("quiet", drums=make_noise(3, 1, 0.001))]
    told, untold = (
        plan_band(place, songs, make_config(segmentation={"normalize": normalize}), {}, examine(songs)).notes
        for normalize in ("peak", "none")
    )
    assert "raised by more than 12 dB, their noise with them: quiet" in told
    assert untold == []


def test_without_normalization_nothing_is_raised_or_examined(place, ingest):
    plan = plan_band(place, [ingest("a", drums=make_noise(2, 0, 1e-3))], make_config(), {})
    assert plan.stems["drums"][0].gain == 1
    assert plan.notes == []


def test_a_track_too_short_to_have_a_loudness_keeps_its_level(place, ingest, examine):
    songs = [ingest("a", drums=make_noise(0.3))]
    plan = plan_band(place, songs, make_config(segmentation={"normalize": "loudness"}), {}, examine(songs))
    assert plan.stems["drums"][0].gain == 1


# splits


def test_all_stems_of_a_track_are_on_one_side(place, ingest):
    songs = [ingest(f"{n}", drums=make_noise(2, n), bass=make_noise(2, 100 + n)) for n in range(8)]
    plan = plan_band(place, songs, make_config(segmentation={"heldout_share": 0.4}), {})
    sides = {}
    for one in plan.outcomes:
        sides.setdefault(one.song, set()).add(one.split)
    assert all(len(side) == 1 for side in sides.values())
    assert {side for one in sides.values() for side in one} == {"train", "heldout"}
    for stem, tracks in plan.stems.items():
        for track in tracks:
            assert track.split == outcomes_of(plan)[f"{track.record.name}/{stem}"].split
            assert track.split == plan.splits[track.record.track.track_id].split


def test_a_dropped_stem_has_no_say_in_the_split(place, ingest):
    """Both tracks have vocals, one of them silent: that is none to hold out."""
    silence = np.zeros(2 * RATE, np.float32)
    songs = [
        ingest("a", drums=make_noise(2, 0), vocals=make_noise(2, 1)),
        ingest("b", drums=make_noise(2, 2), vocals=silence),
    ]
    plan = plan_band(place, songs, make_config(), {})
    (vocals,) = plan.stems["vocals"]
    assert (vocals.split, vocals.end_heldout) == ("train", True)


def test_what_was_decided_before_stands(place, ingest):
    songs = [ingest("a", drums=make_noise(2, 0)), ingest("b", drums=make_noise(2, 1))]
    ids = [one.track.track.track_id for one in songs]
    for heldout in (0, 1):
        known = {ids[heldout]: TrackSplit("heldout"), ids[1 - heldout]: TrackSplit("train", ["drums"])}
        plan = plan_band(place, songs, make_config(), known)
        assert plan.splits == known
        ends = {track.record.name: track.end_heldout for track in plan.stems["drums"]}
        assert ends == {"a": heldout == 1, "b": heldout == 0}


@pytest.mark.parametrize("split", ["train", "heldout", "test"])
def test_what_the_data_set_says_of_a_song_wins_and_is_not_remembered(place, ingest, split):
    songs = [ingest(f"{n}", drums=make_noise(2, n)) for n in range(2)]
    songs.append(ingest("given", drums=make_noise(2, 9), split=split))
    given = songs[-1].track.track.track_id
    other = {given: TrackSplit("train" if split == "heldout" else "heldout")}
    plan = plan_band(place, songs, make_config(), other)
    assert outcomes_of(plan)["given/drums"].split == split
    assert given not in plan.splits
    assert len(plan.splits) == 2


def test_an_end_that_was_held_out_is_remembered_whoever_put_its_song_to_training(place, ingest):
    """Else the next song would move it to what is trained on."""
    one = ingest("one", drums=make_noise(2, 0), split="train")
    first = plan_band(place, [one], make_config(), {})
    assert first.splits == {one.track.track.track_id: TrackSplit("train", ["drums"])}
    other = ingest("other", drums=make_noise(2, 1), split="heldout")
    second = plan_band(place, [one, other], make_config(), first.splits)
    ends = {track.record.name: track.end_heldout for track in second.stems["drums"]}
    assert ends == {"one": True, "other": False}


def test_tracks_are_in_the_order_of_their_ids_whatever_songs_are_called(place, ingest):
    """Or renamed files would be other shards."""
    songs = [ingest(f"{number}", drums=make_noise(2, number)) for number in range(4)]
    ids = [track.record.track.track_id for track in plan_band(place, songs, make_config(), {}).stems["drums"]]
    again = plan_band(place, songs[::-1], make_config(), {}).stems["drums"]
    assert [track.record.track.track_id for track in again] == ids == sorted(ids)


# what is told


def test_a_song_without_a_stem_that_others_have_is_told(place, ingest):
    songs = [ingest("a", drums=make_noise(2), bass=make_noise(2, 1)), ingest("b", drums=make_noise(2, 2))]
    plan = plan_band(place, songs, make_config(), {})
    assert plan.notes == ["b: has no usable bass; its other stems are used"]


@pytest.mark.parametrize(
    ("of_drums", "of_other", "told"), [(1, 1, None), (1.1, 1.1, None), (1.4, 1.4, "-11"), (0, 1, "+5")]
)
def test_a_mixture_that_is_not_the_sum_of_its_stems_is_told(
    place, ingest, tmp_path, of_drums, of_other, told
):
    drums, bass, other = make_noise(4), make_noise(4, 1), make_noise(4, 2)
    own = of_drums > 0
    write_audio(tmp_path / "mix.wav", of_drums * drums + of_other * (bass if own else other), RATE)
    song = ingest("a", drums=drums, bass=bass, mixture=AudioSource(tmp_path / "mix.wav"))
    notes = plan_band(place, [song], make_config(), {}).notes
    if told is None:
        assert notes == []
    else:
        (note,) = notes
        assert note.startswith(f"a: mix.wav is not the sum of its stems: what they leave of it has {told} dB")


@pytest.mark.parametrize("split", ["heldout", "test"])
def test_a_stem_that_the_data_set_leaves_nothing_of_to_train_on_is_told(place, ingest, split):
    songs = [ingest(name, drums=make_noise(2, seed), split=split) for seed, name in enumerate("ab")]
    plan = plan_band(place, songs, make_config(), {})
    assert plan.notes == [
        f"drums: cannot be trained: 0 s to train on: the manifest or data set puts all of it into {split}; "
        "let it say train of some, or nothing"
    ]


def test_a_stem_of_which_earlier_runs_hold_all_out_is_told(place, ingest):
    song = ingest("a", drums=make_noise(2))
    plan = plan_band(place, [song], make_config(), {song.track.track.track_id: TrackSplit("heldout")})
    (note,) = plan.notes
    assert note.startswith("drums: cannot be trained: 0 s to train on: earlier runs put all of it into held")


def test_a_stem_of_one_segment_is_told(place, ingest):
    (note,) = plan_band(place, [ingest("a", drums=make_noise(0.5))], make_config(), {}).notes
    assert note == (
        "drums: cannot be trained: 0 s to hold out: two segments are the least; add audio or lower "
        "segmentation.segment_seconds"
    )


def test_an_end_too_short_to_be_judged_on_is_told(place, ingest):
    """A segment and 7 samples more, where a model hears 16 at once."""
    (note,) = plan_band(place, [ingest("a", drums=make_noise(0.5035))], make_config(), {}).notes
    assert note.startswith("drums: cannot be trained: 0.0035 s to hold out: a model of it hears 0.0085 s at")


def test_notes_of_a_track_are_told_with_its_name(place, ingest):
    songs = [ingest("a", drums=make_noise(2), bass=make_noise(3, 1))]
    (note,) = plan_band(place, songs, make_config(), {}).notes
    assert note.startswith("a: stems differ in length (bass 3.0 s, drums 2.0 s)")


def write_score(path, *channels):
    """A .mid with one note of half a second on each channel."""
    midi = mido.MidiFile()
    for channel in channels:
        on = mido.Message("note_on", note=40, channel=channel, time=0)
        midi.tracks.append(mido.MidiTrack([on, mido.Message("note_off", note=40, channel=channel, time=480)]))
    midi.save(path)
    return path


def test_scores_are_found_where_notes_are_wanted(place, ingest, tmp_path):
    own, whole = write_score(tmp_path / "own.mid", 0), write_score(tmp_path / "whole.mid", 9, 0)
    song = ingest("a", drums=make_noise(2), bass=make_noise(2, 1), scores={"bass": own, "": whole})
    plan = plan_band(place, [song], make_config(features={"names": ["notes"]}), {})
    scores = {stem: tracks[0].score for stem, tracks in plan.stems.items()}
    assert (scores["bass"].path, scores["bass"].whole) == (own, False)
    assert (scores["drums"].path, scores["drums"].whole) == (whole, True)
    assert plan.notes == []
    unwanted = plan_band(place, [song], make_config(), {})
    assert [tracks[0].score for tracks in unwanted.stems.values()] == [None, None]


@pytest.mark.parametrize("content", [None, b"", b"no score"])
def test_a_score_that_is_missing_or_cannot_be_read_is_told(place, ingest, tmp_path, content):
    if content is not None:
        (tmp_path / "a.mid").write_bytes(content)
    song = ingest("a", drums=make_noise(2), scores={"drums": tmp_path / "a.mid"})
    plan = plan_band(place, [song], make_config(features={"names": ["notes"]}), {})
    (note,) = plan.notes
    assert note.startswith("a: ")
    assert "a.mid" in note
    assert note.endswith("; the notes of drums are empty")
    assert plan.stems["drums"][0].score is None


def test_a_song_without_a_score_is_told(place, ingest):
    config = make_config(features={"names": ["notes"]})
    plan = plan_band(place, [ingest("a", drums=make_noise(2))], config, {})
    assert plan.notes == ["a: no score for drums; its notes are empty"]


def test_labels_and_licence_go_with_the_track(place, ingest):
    songs = [
        ingest("a", drums=make_noise(2), labels={"genre": "dub"}, licence="CC0"),
        ingest("b", drums=make_noise(2, 1)),
    ]
    plan = plan_band(place, songs, make_config(ingest={"licence": "mine"}), {})
    found = {track.record.name: (track.labels, track.licence) for track in plan.stems["drums"]}
    assert found == {"a": ({"genre": "dub"}, "CC0"), "b": ({}, "mine")}


def test_every_stem_of_every_song_has_exactly_one_outcome(place, ingest):
    silence = np.zeros(2 * RATE, np.float32)
    drums = make_noise(3)
    songs = [
        ingest("a", drums=drums, bass=make_parts(2, 5, 2), vocals=silence, set_aside={"harp": "no sound"}),
        ingest("b", drums=make_noise(0.004), bass=make_noise(2, 4), energy_shares={"bass": 1e-9}),
        ingest("c", set_aside={"drums": "no sound", "bass": "no sound either"}),
        ingest("d", vocals=silence),
        ingest("e", drums=make_noise(3, 5), choir=make_noise(3, 6), split="test"),
        ingest("f", drums=drums, bass=make_parts(2, 5, 2), vocals=silence),
    ]
    config = make_config(ingest={"stems": ["drums", "bass", "vocals", "harp"]})
    plan = plan_band(place, songs, config, {})
    expected = [f"{one.song.name}/{stem}" for one in songs for stem in one.song.song.stems]
    assert sorted(one.name for one in plan.outcomes) == sorted(expected)
    used = {(t.record.name, stem) for stem, tracks in plan.stems.items() for t in tracks}
    assert used == {(one.song, one.stem) for one in plan.outcomes if one.verdict != "dropped"}
    assert used == {("a", "drums"), ("a", "bass"), ("e", "drums")}
    for one in plan.outcomes:
        assert one.reason
        assert (one.split is None) == (one.verdict == "dropped") == (one.kept == [])
    assert len(plan.dropped) == len(expected) - len(used) - 2  # song f is told of once, not by its stems
    assert all(isinstance(track, PlannedTrack) for tracks in plan.stems.values() for track in tracks)
