"""A track becomes files of stems and residual that sum to it, in bounded memory."""

import itertools

import numpy as np
import pytest
import soundfile

from wavenet.audio import separation
from wavenet.audio.bleed import GROUP_LENGTH, measure_bleed
from wavenet.audio.io import level_db, measure, write_audio
from wavenet.audio.separation import separate_file
from wavenet.audio.separator import Separator, load_separator
from wavenet.config import SeparationConfig
from wavenet.errors import SeparationError

STEMS = ["drums", "bass", "other", "vocals"]
RATE = 8000


@pytest.fixture
def separator(fill_hub):
    fill_hub("htdemucs")
    return load_separator(SeparationConfig(enabled=True, device="cpu"))


@pytest.fixture
def mixture(tmp_path):
    """Two seconds of stereo noise, louder than full scale, as working audio."""
    write_audio(tmp_path / "mixture.wav", noise(2), RATE)
    return tmp_path / "mixture.wav"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "stems").mkdir()
    return tmp_path / "stems"


def noise(seconds, sample_rate=RATE):
    return np.random.default_rng(0).normal(0, 0.5, (round(seconds * sample_rate), 2)).astype(np.float32)


def read(path):
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


def read_all(folder):
    return {path.stem: read(path) for path in sorted(folder.iterdir())}


def test_stems_and_residual_are_written_as_float32_at_the_models_rate(separator, mixture, folder):
    result = separate_file(separator, mixture, folder)
    assert list(result.stems) == STEMS
    assert result.sample_rate == RATE
    assert {path.name for path in folder.iterdir()} == {f"{name}.wav" for name in [*STEMS, "residual"]}
    for path in folder.iterdir():
        info = soundfile.info(path)
        assert (info.subtype, info.frames, info.channels, info.samplerate) == ("FLOAT", 2 * RATE, 2, RATE)


def test_stems_and_residual_sum_to_the_mixture(separator, mixture, folder):
    separate_file(separator, mixture, folder)
    signals = [signal.astype(np.float64) for signal in read_all(folder).values()]
    np.testing.assert_allclose(sum(signals), read(mixture), atol=3e-7)


def test_the_residual_is_told_in_decibels_of_the_mixture(separator, mixture, folder):
    result = separate_file(separator, mixture, folder)
    rest, whole = (read(path).astype(np.float64) for path in (folder / "residual.wav", mixture))
    assert result.residual_db == pytest.approx(level_db(np.square(rest).mean() / np.square(whole).mean()))


def test_stats_and_envelopes_are_of_the_written_stems(separator, mixture, folder):
    for stem, (stats, envelope) in separate_file(separator, mixture, folder).stems.items():
        expected_stats, expected_envelope = measure(read(folder / f"{stem}.wav"), RATE)
        assert stats == expected_stats
        np.testing.assert_array_equal(envelope, expected_envelope)


def test_energy_shares_are_of_the_written_stems_and_sum_to_one(separator, mixture, folder):
    shares = separate_file(separator, mixture, folder).energy_shares
    energies = {stem: np.square(read(folder / f"{stem}.wav"), dtype=np.float64).sum() for stem in STEMS}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares == pytest.approx({stem: energies[stem] / sum(energies.values()) for stem in STEMS})


def test_bleed_is_of_the_written_stems(separator, folder, tmp_path):
    write_audio(tmp_path / "long.wav", noise(3 * GROUP_LENGTH / RATE), RATE)
    result = separate_file(separator, tmp_path / "long.wav", folder)
    assert result.bleed == measure_bleed({stem: folder / f"{stem}.wav" for stem in STEMS})
    assert set(result.bleed) == set(STEMS)


def test_a_louder_track_has_louder_stems_by_as_much(separator, mixture, folder, tmp_path):
    """No stem is rescaled by itself, however loud."""
    write_audio(tmp_path / "loud.wav", 4 * read(mixture), RATE)
    result = separate_file(separator, mixture, folder)
    loud = separate_file(separator, tmp_path / "loud.wav", folder)
    for stem in STEMS:
        assert loud.stems[stem][0].peak == pytest.approx(4 * result.stems[stem][0].peak, rel=1e-3)
    assert loud.residual_db == pytest.approx(result.residual_db, abs=0.01)
    assert loud.energy_shares == pytest.approx(result.energy_shares, rel=1e-3)


def test_the_same_track_gives_the_same_bytes(separator, mixture, folder):
    """Written over older files, which does not matter."""
    contents = []
    for _ in range(2):
        separate_file(separator, mixture, folder)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]


@pytest.mark.parametrize("options", [{}, {"shifts": 2, "overlap": 0.5}, {"shifts": 0, "segment": 0.6}])
def test_a_track_in_pieces_gives_the_stems_of_the_whole(fill_hub, folder, tmp_path, monkeypatch, options):
    """To the bit: each piece is normalized by the track's level, and segments lie where they did."""
    fill_hub("htdemucs_ft", num_models=2)
    separator = load_separator(SeparationConfig(model="htdemucs_ft", device="cpu", **options))
    swell = np.linspace(0.01, 1, 10 * RATE, dtype=np.float32)[:, None]
    write_audio(tmp_path / "long.wav", swell * noise(10) + 0.02, RATE)
    whole_result = separate_file(separator, tmp_path / "long.wav", folder)
    whole = read_all(folder)
    lengths = watch_lengths(monkeypatch)
    monkeypatch.setattr(separation, "PIECE_SECONDS", 2)
    result = separate_file(separator, tmp_path / "long.wav", folder)
    assert len(lengths) > 2
    assert max(lengths) <= (2 + 2 + 1 + 2) * RATE  # the piece, margins, fade, rounding to segments
    for name, signal in read_all(folder).items():
        np.testing.assert_array_equal(signal, whole[name], err_msg=name)
    assert result.residual_db == pytest.approx(whole_result.residual_db)


def watch_lengths(monkeypatch):
    """The lengths of what Demucs is given at once."""
    lengths, separate = [], Separator.separate

    def watched(separator, waveform, level, progress):
        lengths.append(len(waveform))
        return separate(separator, waveform, level, progress)

    monkeypatch.setattr(Separator, "separate", watched)
    return lengths


@pytest.mark.parametrize("piece_seconds", [2, 300])
def test_progress_is_in_seconds_of_the_track_and_ends_at_its_length(
    separator, folder, tmp_path, monkeypatch, piece_seconds
):
    write_audio(tmp_path / "long.wav", noise(12), RATE)
    monkeypatch.setattr(separation, "PIECE_SECONDS", piece_seconds)
    told = []
    separate_file(separator, tmp_path / "long.wav", folder, lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {12.0}
    assert told[-1] == (12.0, 12.0)
    steps = [after - before for (before, _), (after, _) in itertools.pairwise(told)]
    assert min(steps) >= 0
    assert max(steps) < 1.5


def test_a_track_of_another_rate_is_resampled_to_the_models(separator, folder, tmp_path):
    write_audio(tmp_path / "a.wav", noise(1, RATE * 3 // 2), RATE * 3 // 2)
    result = separate_file(separator, tmp_path / "a.wav", folder)
    assert result.sample_rate == RATE
    assert {stats.num_samples for stats, _ in result.stems.values()} == {RATE}
    assert "residual" in read_all(folder)


def test_a_track_of_one_channel_is_given_to_both(separator, folder, tmp_path):
    write_audio(tmp_path / "a.wav", noise(1)[:, :1], RATE)
    separate_file(separator, tmp_path / "a.wav", folder)
    assert read(folder / "drums.wav").shape == (RATE, 2)


@pytest.mark.parametrize("num_samples", [1, 2, 100, RATE + 1])
def test_short_tracks_are_separated_as_well(separator, folder, tmp_path, num_samples):
    write_audio(tmp_path / "a.wav", noise(2)[:num_samples], RATE)
    result = separate_file(separator, tmp_path / "a.wav", folder)
    assert {stats.num_samples for stats, _ in result.stems.values()} == {num_samples}
    assert result.bleed == {}


def test_silence_separates_into_silence_and_has_no_figures(separator, folder, tmp_path):
    write_audio(tmp_path / "a.wav", np.zeros((RATE, 2), np.float32), RATE)
    result = separate_file(separator, tmp_path / "a.wav", folder)
    assert result.residual_db is None
    assert all(stats.level_db < -100 for stats, _ in result.stems.values())


def test_stems_without_any_energy_have_no_shares(separator, mixture, folder, monkeypatch):
    monkeypatch.setattr(
        Separator, "separate", lambda _, waveform, *rest: np.zeros((4, *waveform.shape), np.float32)
    )
    result = separate_file(separator, mixture, folder)
    assert result.energy_shares == dict.fromkeys(STEMS, 0.0)
    assert result.residual_db == pytest.approx(0.0)
    np.testing.assert_array_equal(read(folder / "residual.wav"), read(mixture))


def test_a_track_that_fails_is_named_and_leaves_no_files(separator, mixture, folder, monkeypatch):
    def fail(model, mixture):
        raise RuntimeError("no memory")

    monkeypatch.setattr("demucs.htdemucs.HTDemucs.forward", fail)
    with pytest.raises(SeparationError, match=r"^mixture\.wav: Demucs failed \(no memory\)"):
        separate_file(separator, mixture, folder)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_stems_that_are_no_numbers_are_refused(separator, mixture, folder, monkeypatch, value):
    forward = type(separator.demucs.model.models[0]).forward

    def spoil(model, mixture):
        sound = forward(model, mixture)
        sound[..., 5] = value
        return sound

    monkeypatch.setattr("demucs.htdemucs.HTDemucs.forward", spoil)
    with pytest.raises(SeparationError, match=r"^mixture\.wav: Demucs gave NaN or infinite samples"):
        separate_file(separator, mixture, folder)
    assert not list(folder.iterdir())


def test_the_next_track_is_separated_after_one_that_failed(separator, mixture, folder, monkeypatch):
    def fail(model, mixture):
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr("demucs.htdemucs.HTDemucs.forward", fail)
        with pytest.raises(SeparationError):
            separate_file(separator, mixture, folder)
    assert list(separate_file(separator, mixture, folder).stems) == STEMS
