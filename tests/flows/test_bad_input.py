"""Bad input gets a clear error or is set aside with its reason; the other files go on."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import write_tone
from wavenet.errors import ConfigError, NoAudioError

RATE = 4000


def write_album(folder):
    """Two good tracks, to which a test adds bad ones."""
    for number in range(2):
        write_tone(folder / f"good {number}.wav", 100 + number, seconds=2)
    return folder


@pytest.fixture
def album(tmp_path):
    return write_album(tmp_path / "album")


def write_text_named_wav(path):
    path.write_text("this is no sound at all, " * 100)


def write_half(path):
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 4 * RATE), RATE)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def write_no_samples(path):
    soundfile.write(path, np.zeros(0), RATE)


def write_nan(path):
    waveform = np.zeros(2 * RATE, np.float32)
    waveform[1000] = np.nan
    soundfile.write(path, waveform, RATE, subtype="FLOAT")


def write_a_moment(path):
    soundfile.write(path, np.full(16, 0.1), RATE)


def write_silence(path):
    soundfile.write(path, np.zeros(2 * RATE), RATE)


def make_a_folder_named_wav(path):
    path.mkdir()
    (path / "cover.txt").write_text("no audio")


BAD = {
    "text.wav": (write_text_named_wav, "cannot be decoded as audio"),
    "half.wav": (write_half, "truncated"),
    "half a.flac": (write_half, "damaged or truncated"),
    "no samples.wav": (write_no_samples, "no samples"),
    "no bytes.mp3": (Path.touch, "the file is empty"),
    "nan.wav": (write_nan, "NaN"),
    "moment.wav": (write_a_moment, "shorter than what a model of it hears"),
    "silence.wav": (write_silence, "silent throughout"),
    "folder.wav": (make_a_folder_named_wav, "not an audio file"),
}


@pytest.fixture(scope="module")
def damaged(lend_run, tmp_path_factory):
    """The result of a run on two good tracks and everything bad."""
    album = write_album(tmp_path_factory.mktemp("damaged") / "album")
    for name, (write, _) in BAD.items():
        write(album / name)
    return lend_run(album)


@pytest.mark.parametrize(("name", "reason"), [(name, reason) for name, (_, reason) in BAD.items()])
def test_a_bad_file_is_set_aside_with_its_reason(damaged, name, reason):
    names = (name, Path(name).stem, f"{Path(name).stem}/mix", f"{name}/cover.txt")
    (told,) = [why for path, why in damaged.set_aside if path in names]
    assert reason in told
    page = damaged.output.report.read_text()
    assert Path(name).stem in page
    assert reason in page


def test_the_others_go_on(damaged):
    assert list(damaged.figures) == ["mix"]
    assert len(damaged.set_aside) == len(BAD)
    assert {name for name in damaged.ran if name.startswith("ingest-good")} == {
        "ingest-good 0",
        "ingest-good 1",
    }


NAMES = [
    'it\'s "quoted"',
    "two  spaces ",
    "Ünïcödé",
    "音楽 🎵",
    "<script>alert(1)</script>",
    "a;rm -rf {x} %s",
]


@pytest.fixture(scope="module")
def oddly_named(lend_run, tmp_path_factory):
    """The result of a run on tracks of such names."""
    album = write_album(tmp_path_factory.mktemp("named") / "album")
    for number, name in enumerate(NAMES):
        write_tone(album / f"{name}.wav", 150 + number, seconds=2)
    return lend_run(album)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_track_is_played(oddly_named, name):
    assert f"ingest-{name}" in oddly_named.ran
    assert oddly_named.set_aside == []
    assert "<script>alert(1)" not in oddly_named.output.report.read_text()


def test_any_name_of_a_stem_is_played(run, songs):
    for number, name in enumerate(["drüms 音", "lead 'vocal'", "<b>"]):
        for song in songs.iterdir():
            write_tone(song / f"{name}.wav", 150 + number)
    result = run(songs)
    assert len(result.figures) == 5
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


def test_a_stem_too_short_to_train_is_set_aside_and_the_band_goes_on(run, songs):
    write_tone(songs / "song 0" / "bell.wav", 300, seconds=0.5)
    result = run(songs)
    assert set(result.figures) == {"drums", "bass"}
    assert any(name == "bell" and "heldout" in reason for name, reason in result.set_aside)


def test_one_single_track_holds_out_its_end(run, tmp_path):
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
