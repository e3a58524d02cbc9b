"""Songs become working audio: levels kept, a bad mixture done without, ids of what is heard."""

import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from wavenet.audio import decoding
from wavenet.audio.decoding import AudioSource
from wavenet.audio.io import ENVELOPE_SECONDS, read_audio, write_audio
from wavenet.data.tracks import (
    WorkingFormat,
    decode_stem,
    load_envelope,
    make_track,
    mixture_note,
    residual_db,
    save_envelope,
)
from wavenet.errors import AudioDecodeError

RATE = 8000


def make_noise(seed, seconds=1.0, num_channels=1):
    pcm = np.random.default_rng(seed).normal(0, 3000, (round(seconds * RATE), num_channels))
    return pcm.round().astype(np.int16)


@pytest.fixture
def source(tmp_path):
    """A folder of songs' files."""
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def decode(tmp_path):
    """Decode stems, paths by name, into a fresh folder and make a track of them."""
    count = iter(range(100))

    def decode(stems, mixture=None, sample_rate=RATE, num_channels=1, set_aside=(), **options):
        folder = tmp_path / f"track {next(count)}"
        folder.mkdir()
        form = WorkingFormat(sample_rate, num_channels, **options)
        decoded = {stem: decode_stem(stem, [AudioSource(path)], folder, form) for stem, path in stems.items()}
        source = None if mixture is None else AudioSource(mixture)
        track = make_track(decoded, dict.fromkeys(set_aside, "unreadable"), source, folder, form)
        expected = [name for stem in track.stems.values() for name in (stem.file, stem.envelope_file)]
        assert sorted(path.name for path in folder.iterdir()) == sorted(expected)
        return track, folder

    return decode


def write(path, pcm, sample_rate=RATE):
    soundfile.write(path, pcm, sample_rate)
    return path


def write_stems(source, **stems):
    return {name: write(source / f"{name}.wav", pcm) for name, pcm in stems.items()}


def test_every_stem_is_decoded_with_its_level(source, decode):
    drums, bass = make_noise(0), make_noise(1) // 100
    track, folder = decode(write_stems(source, drums=drums, bass=bass))
    assert (track.sample_rate, track.num_channels) == (RATE, 1)
    assert (track.set_aside, track.notes, track.residual_db) == ({}, [], None)
    for name, pcm in (("drums", drums), ("bass", bass)):
        samples, rate = read_audio(folder / track.stems[name].file)
        assert rate == RATE
        assert np.array_equal(samples, pcm.astype(np.float32) / 32768)
        assert track.stems[name].num_samples == RATE
    assert track.stems["drums"].level_db - track.stems["bass"].level_db == pytest.approx(40, abs=0.5)


def test_working_audio_has_the_rate_and_channels_asked_for(source, decode):
    stems = write_stems(source, drums=make_noise(0, num_channels=2))
    track, folder = decode(stems, sample_rate=5000, num_channels=2)
    samples, rate = read_audio(folder / track.stems["drums"].file)
    assert (samples.shape, rate) == ((5000, 2), 5000)


def test_a_stems_name_is_never_a_path(source, decode):
    path = write(source / "a.wav", make_noise(0))
    track, _ = decode({"../../escape": path, "/etc/passwd": path})
    files = [stem.file for stem in track.stems.values()]
    assert len(set(files)) == 2
    assert all(re.fullmatch(r"[0-9a-f]{8}\.wav", file) for file in files)


def test_the_files_of_a_stem_are_summed(source, tmp_path):
    """Two guitars of a band, the second of which comes in late and plays on."""
    one, two = make_noise(0, 1.0), make_noise(1, 1.5)
    sources = [AudioSource(path) for path in write_stems(source, one=one, two=two).values()]
    audio = decode_stem("guitar", sources, tmp_path, WorkingFormat(RATE))
    total = two.astype(np.float32) / 32768
    total[: len(one)] += one.astype(np.float32) / 32768
    assert audio.num_samples == len(two)
    assert np.array_equal(read_audio(tmp_path / audio.file)[0], total)


def test_a_part_of_a_file_is_a_stem(source, tmp_path):
    path = write(source / "a.wav", make_noise(0, 2.0))
    audio = decode_stem("drums", [AudioSource(path, 0.5, 1.25)], tmp_path, WorkingFormat(RATE))
    assert np.array_equal(read_audio(tmp_path / audio.file)[0], read_audio(path)[0][4000:10000])


def test_a_downmix_may_be_one_of_the_channels(source, decode):
    pcm = make_noise(0, num_channels=2)
    stems = write_stems(source, drums=pcm)
    for downmix, expected in (("left", pcm[:, 0]), ("right", pcm[:, 1]), ("mean", pcm.mean(axis=1))):
        track, folder = decode(stems, downmix=downmix)
        samples, _ = read_audio(folder / track.stems["drums"].file)
        assert np.allclose(samples[:, 0], expected / 32768, atol=1e-6)


def test_an_envelope_lies_beside_each_stem(source, decode):
    """The mean square of every 20 ms."""
    pcm = make_noise(0, 1.0)
    track, folder = decode(write_stems(source, drums=pcm))
    envelope = load_envelope(folder / track.stems["drums"].envelope_file)
    frames = (pcm.astype(np.float64) / 32768).reshape(-1, round(ENVELOPE_SECONDS * RATE))
    assert envelope == pytest.approx(np.square(frames).mean(axis=1), rel=1e-5)


def test_an_envelope_is_read_as_it_was_saved(tmp_path):
    envelope = np.random.default_rng(0).random(7, np.float32)
    save_envelope(tmp_path / "a.npy", envelope)
    assert np.array_equal(load_envelope(tmp_path / "a.npy"), envelope)


@pytest.mark.parametrize("content", [b"", b"no sound"])
def test_a_bad_stem_is_refused_and_leaves_nothing(source, tmp_path, content):
    (source / "bad.wav").write_bytes(content)
    (tmp_path / "track").mkdir()
    with pytest.raises(AudioDecodeError, match=r"bad\.wav"):
        decode_stem("drums", [AudioSource(source / "bad.wav")], tmp_path / "track", WorkingFormat(RATE))
    assert list((tmp_path / "track").iterdir()) == []


def test_what_was_set_aside_is_told_and_changes_nothing_else(source, decode):
    stems = write_stems(source, drums=make_noise(0), bass=make_noise(1))
    alone, _ = decode(stems)
    beside, _ = decode(stems, set_aside=["vocals", "a"])
    assert beside.set_aside == {"a": "unreadable", "vocals": "unreadable"}
    assert replace(beside, set_aside={}) == alone
    assert list(alone.stems) == ["bass", "drums"]


def test_a_track_of_only_bad_stems_has_none(decode):
    track, _ = decode({}, set_aside=["drums"])
    assert (track.stems, list(track.set_aside), track.notes) == ({}, ["drums"], [])


def test_exact_stems_leave_a_residual_below_90_db(source, decode):
    pcm = {name: make_noise(seed, num_channels=2) for seed, name in enumerate(["drums", "bass", "vocals"])}
    mixture = write(source / "mix.flac", sum(pcm.values()))
    for num_channels in (1, 2):
        track, _ = decode(write_stems(source, **pcm), mixture, num_channels=num_channels)
        assert track.residual_db < -90
        resampled, _ = decode(write_stems(source, **pcm), mixture, 5000, num_channels)
        assert resampled.residual_db < -90


def test_a_residual_is_the_share_that_the_stems_do_not_explain(source, decode):
    drums, rest = make_noise(0, 4), make_noise(1, 4) // 10
    track, _ = decode(write_stems(source, drums=drums), write(source / "mix.wav", drums + rest))
    assert track.residual_db == pytest.approx(-20, abs=0.3)


@pytest.mark.parametrize("block_frames", [1000, 1 << 18])
@pytest.mark.parametrize("stem_seconds", [1.0, 1.3, 2.1, 3.25])
def test_a_residual_counts_what_one_has_longer_than_the_other(
    tmp_path, monkeypatch, block_frames, stem_seconds
):
    monkeypatch.setattr(decoding, "BLOCK_FRAMES", block_frames)
    pcm = np.full(4 * RATE, 0.25, np.float32)
    mixture, stem = pcm[: 2 * RATE], pcm[: round(stem_seconds * RATE)]
    write_audio(tmp_path / "mixture.wav", mixture, RATE)
    write_audio(tmp_path / "stem.wav", stem, RATE)
    share = abs(len(stem) - len(mixture)) / len(mixture)
    found = residual_db(tmp_path / "mixture.wav", [tmp_path / "stem.wav"])
    assert found == pytest.approx(10 * np.log10(share))


def test_a_silent_mixture_has_no_residual(source, decode):
    stems = write_stems(source, drums=make_noise(0))
    track, _ = decode(stems, write(source / "mix.wav", np.zeros(RATE)))
    assert (track.residual_db, track.notes) == (None, [])


def test_a_bad_mixture_is_noted_and_the_stems_are_used(source, decode):
    (source / "mixture.wav").write_text("no sound")
    track, _ = decode(write_stems(source, drums=make_noise(0)), source / "mixture.wav")
    assert list(track.stems) == ["drums"]
    assert track.residual_db is None
    (note,) = track.notes
    assert note.startswith("mixture.wav: ")
    assert note.endswith("the stems are used without it")


def test_a_residual_without_one_of_the_stems_is_not_stated(source, decode):
    stems, mixture = write_stems(source, drums=make_noise(0)), write(source / "mix.wav", make_noise(0))
    assert decode(stems, mixture)[0].residual_db is not None
    assert decode(stems, mixture, set_aside=["bass"])[0].residual_db is None


def test_an_id_does_not_depend_on_file_names_containers_or_settings(source, decode):
    pcm = make_noise(0)
    ids = {
        decode({"drums": write(source / name, pcm)}, None, rate, channels)[0].track_id
        for name in ("a.wav", "b.flac", "音楽.aiff")
        for rate, channels in ((RATE, 1), (5000, 2))
    }
    assert len(ids) == 1
    int(ids.pop(), 16)  # hexadecimal


def test_an_id_depends_on_what_is_heard_and_in_which_stem(source, decode):
    one, two = write(source / "1.wav", make_noise(0)), write(source / "2.wav", make_noise(1))
    songs = [{"drums": one}, {"drums": two}, {"bass": one}, {"drums": one, "bass": two}]
    songs.append({"drums": two, "bass": one})
    assert len({decode(stems)[0].track_id for stems in songs}) == len(songs)


def test_stems_of_unlike_length_are_noted(source, decode):
    track, _ = decode(write_stems(source, drums=make_noise(0, 1), bass=make_noise(1, 1.5)))
    assert track.notes == [
        "stems differ in length (bass 1.5 s, drums 1.0 s); they are lined up at their start"
    ]


def test_the_order_in_which_stems_were_decoded_does_not_matter(source, decode):
    stems = write_stems(source, drums=make_noise(0), bass=make_noise(1, 1.5), vocals=make_noise(2) // 3)
    mixture = write(source / "mix.wav", make_noise(0) // 7)
    assert decode(stems, mixture)[0] == decode(dict(reversed(stems.items())), mixture)[0]


def test_stems_of_nearly_one_length_are_not_noted(source, decode):
    track, _ = decode(write_stems(source, drums=make_noise(0, 1), bass=make_noise(1, 1.04)))
    assert track.notes == []


def test_a_clipped_stem_is_noted(source, decode):
    clipped = make_noise(0)
    clipped[:80] = 32767
    track, _ = decode(write_stems(source, drums=clipped, bass=make_noise(1)))
    assert track.notes == ["drums: 1.0% of samples are at full scale"]


@pytest.mark.parametrize("residual", [None, -120.0, -68.0, -12.0])
def test_nothing_is_said_of_a_mixture_that_the_stems_sum_to(residual):
    assert mixture_note("mixture.wav", residual) is None


@pytest.mark.parametrize(("residual", "told"), [(5.25, "+5 dB"), (-2.8, "-3 dB")])
def test_a_mixture_of_something_else_is_named_with_what_is_left_of_it(residual, told):
    note = mixture_note("mixture.wav", residual)
    assert note.startswith("mixture.wav is not the sum of its stems")
    assert told in note
