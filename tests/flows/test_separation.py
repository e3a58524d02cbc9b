"""Finished tracks, separated by Demucs on the way, become a band."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from flows.prepare import shares_of_music
from tasks.progress import RunProgress
from wavenet.errors import SeparationError

STEMS = {"drums", "bass", "other", "vocals"}
ASKED = ["separation.enabled=true", "separation.device=cpu", "generation.seconds=0.25"]


@pytest.fixture
def album(tmp_path, write_tone):
    for number in range(2):
        write_tone(
            tmp_path / "album" / f"track {number}.flac", 100 + 50 * number, seconds=2, sample_rate=16000
        )
    return tmp_path / "album"


@pytest.fixture
def hub(monkeypatch, tiny_demucs, tmp_path):
    """A hub cache of this test's own that holds the tiny model."""
    from huggingface_hub import constants

    from tasks.separate import load_once

    shutil.copytree(tiny_demucs, tmp_path / "hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield tmp_path / "hub"
    load_once.cache_clear()


@pytest.fixture
def empty_hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))


@pytest.fixture
def prepare(tiny, workspace):
    """All that happens before shards, without Prefect. Returns what was prepared, and the ledger."""
    from flows.ledger import DirectLedger
    from flows.prepare import open_workspace, prepare_band
    from wavenet.config import load_config
    from wavenet.data.listing import open_listing

    def prepare(input, *overrides):
        ledger, place = DirectLedger(), open_workspace(workspace)
        settings = load_config([str(tiny)], [*ASKED, *overrides])
        return prepare_band(place, open_listing(str(input), place.downloads), settings, ledger), ledger

    return prepare


def separated(ledger):
    return {name for name in ledger.ran if name.startswith("separate")}


def test_separated_tracks_become_one_model_a_stem(run, album, hub):
    result = run(album, *ASKED)
    assert set(result.figures) == STEMS
    assert {"separate-track 0", "separate-track 1", "train-vocals"} <= set(result.ran)
    assert "mixture minus stems" in result.output.report.read_text()
    assert soundfile.info(result.output.mix).samplerate == 2000
    assert run(album, *ASKED).ran == []


def test_progress_of_a_separation_is_that_of_all_its_tracks(prepare, album, hub, monkeypatch):
    shown, show = [], RunProgress.show

    def keep(progress, done, words):
        show(progress, done, words)
        if progress.artifact.key == "progress-separate":
            shown.append((progress.share, *words()))

    monkeypatch.setattr(RunProgress, "show", keep)
    prepare(album)
    shares = [share for share, *_ in shown]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len({share for share in shares if 0 < share < 0.5}) > 0
    assert {"separate 1/2", "track 0", "separate 2/2", "track 1"} <= {
        line for _, *lines in shown for line in lines
    }


def test_the_shares_of_tracks_without_music_are_nothing(prepare, album, hub):
    prepared, _ = prepare(album)
    records = [one.decoded for one in prepared.ingested]
    assert shares_of_music(records) == [(0.0, 0.5), (0.5, 1.0)]
    silent = records[0].model_copy(update={"track": replace(records[0].track, stems={})})
    assert shares_of_music([silent, *records]) == [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0)]
    assert shares_of_music([silent]) == [(0.0, 0.0)]
    assert shares_of_music([]) == []


def test_a_track_that_fails_is_set_aside_and_the_band_plays(run, album, hub, monkeypatch):
    fail_once(monkeypatch)
    result = run(album, *ASKED)
    assert set(result.figures) == STEMS
    ((name, reason),) = result.set_aside
    assert name.startswith("track 0")
    assert reason.startswith("Demucs failed (no memory); try another separation.segment")


def fail_once(monkeypatch):
    """The first segment of the first track is too much for Demucs."""
    from demucs.htdemucs import HTDemucs

    forward, calls = HTDemucs.forward, []

    def fail_at_first(model, mixture):
        calls.append(mixture)
        if len(calls) == 1:
            raise RuntimeError("no memory")
        return forward(model, mixture)

    monkeypatch.setattr(HTDemucs, "forward", fail_at_first)


def test_what_is_kept_of_a_track_sums_to_it(prepare, album, hub, workspace):
    prepared, _ = prepare(album)
    for one in prepared.ingested:
        track, folder = one.track.track, workspace / one.track.folder
        files = {audio.file for audio in track.stems.values()} | {track.residual_file}
        assert {path.name for path in folder.iterdir()} == files | {
            a.envelope_file for a in track.stems.values()
        }
        total = sum(soundfile.read(folder / file)[0] for file in files)
        assert total.shape == (2 * track.sample_rate, track.num_channels)
        assert np.isfinite(track.residual_db)
        assert set(track.energy_shares) == STEMS
        assert sum(track.energy_shares.values()) == pytest.approx(1)
        mixture, rate = soundfile.read(workspace / one.decoded.folder / one.decoded.track.stems["mix"].file)
        assert np.square(total).mean() == pytest.approx(np.square(mixture).mean(), rel=0.01)
        assert rate == 44100


def test_envelopes_are_of_the_stems_and_hold_no_objects(prepare, album, hub, workspace):
    from wavenet.audio.io import envelope_hop

    prepared, _ = prepare(album)
    record = prepared.ingested[0].track
    for audio in record.track.stems.values():
        envelope = np.load(workspace / record.folder / audio.envelope_file, allow_pickle=False)
        waveform, rate = soundfile.read(workspace / record.folder / audio.file)
        assert envelope.dtype == np.float32
        assert envelope[0] == pytest.approx(np.square(waveform[: envelope_hop(rate)]).mean(), rel=1e-4)


def test_each_track_is_separated_once(prepare, album, hub, monkeypatch):
    """Also where another failed: the next run goes on with that one."""
    fail_once(monkeypatch)
    prepared, ledger = prepare(album)
    assert separated(ledger) == {"separate-track 1"}
    assert [bool(one.track.track.stems) for one in prepared.ingested] == [False, True]
    prepared, ledger = prepare(album)
    assert separated(ledger) == {"separate-track 0"}
    assert all(one.track.track.stems for one in prepared.ingested)
    assert separated(prepare(album)[1]) == set()


def test_the_doctor_says_the_same_of_separated_tracks_again_and_compares_none_with_itself(
    album, hub, tiny, workspace
):
    from flows.doctor import examine_input

    first, again = (examine_input(str(album), [str(tiny)], ASKED, workspace) for _ in range(2))
    assert again == first
    for row in first.report.files:
        assert row.stem == "bass, drums, other, vocals"
        assert row.reason == "whole"
        assert len([warning for warning in row.warnings if warning.startswith("separated: ")]) == 1
        assert [copy.path for copy in row.near_duplicates if copy.path == row.path] == []
        assert len({copy.path for copy in row.near_duplicates}) == len(row.near_duplicates)


def test_a_setting_of_demucs_separates_anew(prepare, album, hub):
    prepare(album)
    assert separated(prepare(album, "separation.jobs=2")[1]) == set()
    assert separated(prepare(album, "separation.overlap=0.1")[1]) == {"separate-track 0", "separate-track 1"}


def test_new_weights_of_the_same_name_separate_anew(prepare, album, hub):
    from safetensors import safe_open
    from safetensors.torch import save_file

    before, _ = prepare(album)
    (path,) = hub.rglob("*.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: 0.9 * file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata=metadata)
    after, ledger = prepare(album)
    assert separated(ledger) == {"separate-track 0", "separate-track 1"}
    assert after.ingested[0].track.digest != before.ingested[0].track.digest
    assert after.ingested[0].track.track.track_id == before.ingested[0].track.track.track_id


def test_a_stem_with_too_little_of_the_energy_is_not_trained_on(prepare, album, hub):
    shares = prepare(album)[0].ingested[0].track.track.energy_shares
    floor = sorted(shares.values())[1] + 1e-6
    prepared, ledger = prepare(album, f"separation.min_energy_share={floor}")
    dropped = {outcome.stem for outcome in prepared.plan.outcomes if outcome.verdict == "dropped"}
    assert dropped == {stem for stem, share in shares.items() if share < floor}
    assert separated(ledger) == set()  # what is done with stems does not change them


def test_progress_counts_the_seconds_of_each_track(prepare, album, hub, capsys):
    prepare(album)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("separate ")]
    assert any(line.startswith("separate track 0") and " 2/2  seconds  took" in line for line in lines)
    assert any(line.startswith("separate track 1") and " 2/2  seconds  took" in line for line in lines)


def test_separation_without_weights_is_an_error_in_words_before_anything_is_decoded(
    prepare, album, empty_hub, workspace
):
    with pytest.raises(SeparationError, match="hf download adefossez/HTDemucs"):
        prepare(album)
    assert not (workspace / "store" / "tracks").exists()


def test_a_repository_without_the_model_is_an_error_in_words(prepare, album, tmp_path):
    (tmp_path / "repo").mkdir()
    with pytest.raises(SeparationError, match=r"separation\.repo"):
        prepare(album, f"separation.repo={tmp_path / 'repo'}")


def test_songs_of_stems_are_not_separated(prepare, songs, empty_hub):
    assert separated(prepare(songs)[1]) == set()
