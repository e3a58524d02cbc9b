"""Finished tracks, separated by the stock Demucs on the way, become a band."""

import pytest
import soundfile

STEMS = {"drums", "bass", "other", "vocals"}


@pytest.fixture
def album(tmp_path, write_tone):
    for number in range(2):
        write_tone(
            tmp_path / "album" / f"track {number}.flac", 100 + 50 * number, seconds=2, sample_rate=16000
        )
    return tmp_path / "album"


@pytest.fixture
def demucs_weights(monkeypatch, tiny_demucs):
    from huggingface_hub import constants

    from tasks.separate import load_once

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tiny_demucs))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    yield
    load_once.cache_clear()


def test_separated_tracks_become_one_model_a_stem(run, album, demucs_weights):
    asked = ["separation.enabled=true", "separation.device=cpu", "generation.seconds=0.25"]
    result = run(album, *asked)
    assert set(result.figures) == STEMS
    assert {"separate-track 0", "separate-track 1", "train-vocals"} <= set(result.ran)
    assert "mixture minus stems" in result.output.report.read_text()
    assert soundfile.info(result.output.mix).samplerate == 2000
    assert run(album, *asked).ran == []


def test_separation_without_weights_is_an_error_in_words(run, album, monkeypatch, tmp_path):
    from huggingface_hub import constants

    from wavenet.errors import SeparationError

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SeparationError, match="downloads nothing by itself"):
        run(album, "separation.enabled=true")


def test_a_repository_without_the_model_is_an_error_in_words(run, album, tmp_path):
    from wavenet.errors import SeparationError

    (tmp_path / "repo").mkdir()
    with pytest.raises(SeparationError, match=r"separation\.repo"):
        run(album, "separation.enabled=true", f"separation.repo={tmp_path / 'repo'}")


def test_songs_of_stems_are_not_separated(run, songs):
    assert not any("separate" in name for name in run(songs, "separation.enabled=true").ran)
