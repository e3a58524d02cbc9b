"""Songs become working audio: levels kept, bad stems set aside, ids of what is heard."""

import re

import numpy as np
import pytest
import soundfile

from wavenet.audio import io
from wavenet.audio.io import read_audio, write_audio
from wavenet.data.tracks import decode_track, residual_db

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
    """Decode stems, paths by name, into a fresh folder."""
    count = iter(range(100))

    def decode(stems, mixture=None, sample_rate=RATE, num_channels=1):
        folder = tmp_path / f"track {next(count)}"
        folder.mkdir()
        track = decode_track(stems, mixture, folder, sample_rate, num_channels)
        assert sorted(path.name for path in folder.iterdir()) == sorted(s.file for s in track.stems.values())
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


def test_a_bad_stem_is_set_aside_and_the_others_go_on(source, decode):
    stems = write_stems(source, drums=make_noise(0), bass=make_noise(1))
    for number, content in enumerate([b"", b"no sound", stems["drums"].read_bytes()[:9000]]):
        stems[f"bad {number}"] = source / f"bad {number}.wav"
        stems[f"bad {number}"].write_bytes(content)
    track, _ = decode(stems)
    assert sorted(track.stems) == ["bass", "drums"]
    assert sorted(track.set_aside) == ["bad 0", "bad 1", "bad 2"]
    assert not any("bad" in reason for reason in track.set_aside.values())  # files' names are no content


def test_a_bad_stem_beside_it_does_not_change_where_a_stem_lies(source, decode):
    stems = write_stems(source, drums=make_noise(0), bass=make_noise(1))
    (source / "a.wav").write_bytes(b"no sound")
    alone, _ = decode(stems)
    beside, _ = decode({**stems, "a": source / "a.wav"})
    assert beside.stems == alone.stems


def test_a_track_of_only_bad_stems_has_none(source, decode):
    (source / "a.wav").write_text("no sound")
    track, _ = decode({"drums": source / "a.wav"})
    assert (track.stems, list(track.set_aside)) == ({}, ["drums"])


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
    monkeypatch.setattr(io, "BLOCK_FRAMES", block_frames)
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
    assert note.startswith("mixture.wav: cannot be opened as audio")
    assert note.endswith("the stems are used without it")


def test_a_residual_without_one_of_the_stems_is_not_stated(source, decode):
    stems = write_stems(source, drums=make_noise(0))
    (source / "bass.wav").write_text("no sound")
    track, _ = decode({**stems, "bass": source / "bass.wav"}, write(source / "mix.wav", make_noise(0)))
    assert track.residual_db is None


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


def test_stems_of_nearly_one_length_are_not_noted(source, decode):
    track, _ = decode(write_stems(source, drums=make_noise(0, 1), bass=make_noise(1, 1.04)))
    assert track.notes == []


def test_a_clipped_stem_is_noted(source, decode):
    clipped = make_noise(0)
    clipped[:80] = 32767
    track, _ = decode(write_stems(source, drums=clipped, bass=make_noise(1)))
    assert track.notes == ["drums: 1.0% of samples are at full scale"]
