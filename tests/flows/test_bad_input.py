"""Bad input gets a clear error or is set aside with its reason; the other files go on."""

import numpy as np
import pytest
import soundfile

from wavenet.errors import ConfigError, NoAudioError

RATE = 4000


@pytest.fixture
def album(tmp_path, write_tone):
    """Two good tracks, to which a test adds a bad one."""
    for number in range(2):
        write_tone(tmp_path / "album" / f"good {number}.wav", 100 + number, seconds=2)
    return tmp_path / "album"


def write_text_named_wav(folder):
    (folder / "bad.wav").write_text("this is no sound at all, " * 100)


def write_truncated_wav(folder):
    soundfile.write(folder / "bad.wav", np.random.default_rng(0).normal(0, 0.1, 4 * RATE), RATE)
    whole = (folder / "bad.wav").read_bytes()
    (folder / "bad.wav").write_bytes(whole[: len(whole) // 2])


def write_truncated_flac(folder):
    soundfile.write(folder / "bad.flac", np.random.default_rng(0).normal(0, 0.1, 4 * RATE), RATE)
    whole = (folder / "bad.flac").read_bytes()
    (folder / "bad.flac").write_bytes(whole[: len(whole) // 2])


def write_no_samples(folder):
    soundfile.write(folder / "bad.wav", np.zeros(0), RATE)


def write_no_bytes(folder):
    (folder / "bad.mp3").touch()


def write_nan(folder):
    waveform = np.zeros(2 * RATE, np.float32)
    waveform[1000] = np.nan
    soundfile.write(folder / "bad.wav", waveform, RATE, subtype="FLOAT")


def write_a_moment(folder):
    soundfile.write(folder / "bad.wav", np.full(16, 0.1), RATE)


def write_silence(folder):
    soundfile.write(folder / "bad.wav", np.zeros(2 * RATE), RATE)


def make_a_folder_named_wav(folder):
    (folder / "bad.wav").mkdir()
    (folder / "bad.wav" / "cover.txt").write_text("no audio")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (write_text_named_wav, "cannot be decoded as audio"),
        (write_truncated_wav, "truncated"),
        (write_truncated_flac, "damaged or truncated"),
        (write_no_samples, "no samples"),
        (write_no_bytes, "the file is empty"),
        (write_nan, "NaN"),
        (write_a_moment, "shorter than what a model of it hears"),
        (write_silence, "silent throughout"),
        (make_a_folder_named_wav, "not an audio file"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_bad_file_is_set_aside_and_the_others_go_on(run, album, damage, reason):
    damage(album)
    result = run(album)
    (told,) = [why for name, why in result.set_aside if "bad" in name]
    assert reason in told
    assert "bad" in result.output.report.read_text()
    assert reason in result.output.report.read_text()
    assert list(result.figures) == ["mix"]


NAMES = [
    'it\'s "quoted"',
    "two  spaces ",
    "Ünïcödé",
    "音楽 🎵",
    "<script>alert(1)</script>",
    "a;rm -rf {x} %s",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_track_is_played(run, album, write_tone, name):
    write_tone(album / f"{name}.wav", 150, seconds=2)
    result = run(album)
    assert f"ingest-{name}" in result.ran
    assert result.set_aside == []
    assert "<script>alert(1)" not in result.output.report.read_text()


@pytest.mark.parametrize("name", ["drüms 音", "lead 'vocal'", "<b>"])
def test_any_name_of_a_stem_is_played(run, songs, write_tone, name):
    for song in songs.iterdir():
        write_tone(song / f"{name}.wav", 150)
    result = run(songs)
    assert len(result.figures) == 3
    assert all(path.is_file() for path in result.output.stems.values())
    assert "<b>" not in result.output.report.read_text()


def test_a_name_that_is_no_text_is_set_aside(run, album):
    with open(bytes(album) + b"/caf\xe9.wav", "wb") as stream:
        stream.write(b"RIFF")
    result = run(album)
    assert any("not valid UTF-8" in reason for _, reason in result.set_aside)


def test_a_stem_missing_in_one_song_is_noted_and_the_song_is_used(run, songs):
    (songs / "song 1" / "bass.wav").unlink()
    result = run(songs)
    assert set(result.figures) == {"drums", "bass"}
    assert "song 1: has no usable bass" in result.output.report.read_text()


def test_a_stem_damaged_in_one_song_is_set_aside_and_the_song_is_used(run, songs):
    (songs / "song 1" / "bass.wav").write_text("no sound")
    result = run(songs)
    assert set(result.figures) == {"drums", "bass"}
    assert any(name == "song 1/bass" and "audio" in reason for name, reason in result.set_aside)


def test_a_stem_too_short_to_train_is_set_aside_and_the_band_goes_on(run, songs, write_tone):
    write_tone(songs / "song 0" / "bell.wav", 300, seconds=0.5)
    result = run(songs)
    assert set(result.figures) == {"drums", "bass"}
    assert any(name == "bell" and "heldout" in reason for name, reason in result.set_aside)


def test_one_single_track_holds_out_its_end(run, tmp_path, write_tone):
    write_tone(tmp_path / "one" / "song.wav", 100, seconds=4)
    assert list(run(tmp_path / "one").figures) == ["mix"]


def test_an_empty_folder_is_an_error_in_words(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoAudioError, match="nothing at all"):
        run(tmp_path / "empty")


def test_a_folder_of_no_audio_is_an_error_in_words(run, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "readme.txt").write_text("hello")
    with pytest.raises(NoAudioError, match="no audio in it"):
        run(tmp_path / "texts")


def test_a_folder_of_only_bad_audio_names_the_reasons(run, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.wav").write_text("no sound")
    with pytest.raises(NoAudioError, match=r"a/mix: cannot be decoded as audio"):
        run(tmp_path / "bad")


def test_a_missing_folder_is_an_error_in_words(run, tmp_path):
    with pytest.raises(NoAudioError, match="no such folder"):
        run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("overrides", "options", "told"),
    [
        (["training.stepz=5"], {}, r"training\.stepz: unknown key \(did you mean 'steps'"),
        (["training.steps=none"], {}, r"training\.steps"),
        (["stems.drms.training.steps=5"], {}, r"stems: drms is not among the stems"),
        (["mix.gains_db.drms=-3"], {}, r"mix\.gains_db: drms"),
        (["ingest.stems=[drums, vocalz]"], {}, r"ingest\.stems: vocalz"),
        (["mix.gains_db.drums=10000"], {}, r"mix\.gains_db\.drums"),
        (["training.steps=2024-99-99"], {}, r"training\.steps"),
        ([], {"retrain": ["drms"]}, r"--retrain: drms"),
        ([], {"config": ["albun"]}, r"did you mean 'album'"),
    ],
)
def test_a_setting_that_means_nothing_is_named_before_anything_is_trained(
    run, songs, overrides, options, told
):
    with pytest.raises(ConfigError, match=told):
        run(songs, *overrides, **options)


def test_a_stem_that_is_silent_in_every_song_is_set_aside_and_the_band_plays(run, songs):
    for song in songs.iterdir():
        soundfile.write(song / "vocals.wav", np.zeros(2 * RATE), RATE)
    result = run(songs)
    assert list(result.figures) == ["bass", "drums"]
    assert ("song 0/vocals", "silent throughout") in result.set_aside
