"""The cases of `data`: value and baseline do the same work. How fast they are is not tested here."""

import shutil

import numpy as np
import pytest
import soundfile

from benchmarks import data
from benchmarks.harness import Setting
from benchmarks.music import SAMPLE_RATE, gather_music, render_music, write_in_blocks


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return render_music(tmp_path_factory.mktemp("music"), num_songs=1, seconds=2, repeats=2)[0]


@pytest.fixture(scope="module")
def shards(song, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    data.prepare_file(song, folder)
    return next(folder.glob("*/shards"))


def test_rendered_music_is_stereo_ogg_of_the_stated_length(song):
    info = soundfile.info(song)
    assert (info.format, info.channels, info.samplerate) == ("OGG", 2, SAMPLE_RATE)
    assert info.duration == pytest.approx(4, abs=0.01)
    left, right = soundfile.read(song)[0].T
    assert np.abs(left - right).max() > 0.01
    assert 0.05 < np.abs(left).max() < 1


def test_a_folder_of_music_gives_four_files_at_least_and_an_empty_one_is_refused(song, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "empty").mkdir()
    mine = tmp_path / "mine" / "song.OGG"
    shutil.copy(song, mine)
    assert gather_music(Setting(tmp_path, audio=mine.parent)) == [mine] * 4
    with pytest.raises(FileNotFoundError, match="no audio"):
        gather_music(Setting(tmp_path, audio=tmp_path / "empty"))


def test_the_pipeline_makes_as_many_codes_as_the_plain_decoder_makes_samples(song, tmp_path):
    plain = data.decode_plainly(song)
    assert plain == pytest.approx(4 * data.WORKING_RATE, abs=data.WORKING_RATE // 50)
    assert data.prepare_file(song, tmp_path) == plain


def test_files_to_codes_on_one_core_is_measured(song, tmp_path):
    result = data.measure_one_core([song], tmp_path / "one", repeats=1)
    assert result.case == "data/ogg-to-codes/one-core"
    assert 0.01 < result.ratio < 10


def test_mu_law_is_measured_on_equal_codes(song):
    results = {result.case: result for result in data.measure_mu_law(song, repeats=1)}
    assert results["data/mu-law/256/equal-codes"].value == 1
    assert results["data/mu-law/256"].at_least == 10


def test_the_rows_of_the_parquet_case_are_those_of_the_shards(shards, tmp_path):
    size, write, read = data.measure_parquet(shards, tmp_path, repeats=1)
    assert size.unit == "bytes/code"
    assert {write.at_least, read.at_least} == {5}
    written = sorted((tmp_path / "written").glob("*.parquet"))
    original = sorted(shards.glob("*.parquet"))
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in original]


def test_windows_are_measured_for_each_batch_size(shards, tmp_path):
    results = data.measure_windows(shards, tmp_path, repeats=1)
    assert [result.case for result in results] == ["data/windows/batch-4", "data/windows/batch-32"]


def test_a_long_file_is_as_long_as_it_says(song, tmp_path):
    path = data.write_long_file(song, 0.01, tmp_path / "long.wav")
    assert soundfile.info(path).duration == pytest.approx(36, abs=0.1)


def test_prepared_hours_report_their_memory_and_leave_nothing(song, tmp_path):
    assert data.prepare_hours([song, song], tmp_path / "hours") > 50e6
    assert not list(tmp_path.iterdir())


def test_music_is_repeated_without_a_seam_in_its_length(tmp_path):
    write_in_blocks(tmp_path / "a.wav", np.zeros((20_000, 2), np.float32), repeats=3)
    assert soundfile.info(tmp_path / "a.wav").frames == 60_000
