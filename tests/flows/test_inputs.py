"""Inputs that grow, and inputs that lie elsewhere: no more is done than what is new."""

import shutil
import signal
import time
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from flows.doctor import examine_input
from flows.prepare import prepare_shards
from tasks.splits import known_splits
from tasks.workspace import Workspace
from wavenet.data.shards.checker import verify_shards
from wavenet.data.shards.format import read_manifest
from wavenet.data.shards.storage import open_location


@pytest.fixture
def prepare(workspace, tiny):
    """From an input to shards, without Prefect. Returns the manifest of each stem."""

    def prepare(input, *overrides):
        places = prepare_shards(str(input), [str(tiny)], list(overrides), workspace)
        return {stem: read_manifest(open_location(place)) for stem, place in places.items()}

    return prepare


def names(done, task):
    return {name.removeprefix(f"{task}-") for name in done if name.startswith(f"{task}-")}


def test_one_more_file_among_thirty_decodes_one(prepare, tmp_path, write_tone, ledgers):
    for number in range(30):
        write_tone(tmp_path / "album" / f"{number:02d}.wav", 60 + 7 * number, seconds=0.5)
    before = prepare(tmp_path / "album")["mix"]
    assert len(names(ledgers[-1].ran, "ingest")) == 30
    write_tone(tmp_path / "album" / "15 and a half.wav", 400, seconds=0.5)
    after = prepare(tmp_path / "album")["mix"]
    assert set(ledgers[-1].ran) == {"ingest-15 and a half", "examine-15 and a half", "shards-mix"}
    assert len(names(ledgers[-1].cached, "ingest")) == 30
    assert {track.track for track in after.tracks} - {track.track for track in before.tracks} == {
        "15 and a half"
    }


def test_ctrl_c_stops_at_once_and_the_next_command_goes_on(
    prepare, waveband, tmp_path, write_tone, tiny, workspace, ledgers
):
    for number in range(600):
        write_tone(tmp_path / "album" / f"{number:03d}.wav", 60 + number, seconds=0.5)

    def decoded():
        return len(list(workspace.glob("results/ingest-*.json")))

    process = waveband("doctor", tmp_path / "album", "--config", tiny, "--workspace", workspace)
    end = time.monotonic() + 60
    while decoded() < 5 and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.endswith("waveband: stopped; run the same command to go on\n")
    assert "Traceback" not in told
    assert 5 <= (done := decoded()) < 600
    prepare(tmp_path / "album")
    assert len(names(ledgers[-1].ran, "ingest")) == 600 - done


def sides(manifests):
    """The split of each track in each stem, and whether its end is held out."""
    return {
        (stem, track.track): (track.split, track.end_heldout)
        for stem, manifest in manifests.items()
        for track in manifest.tracks
    }


@pytest.mark.parametrize("first", [1, 3, 8])
def test_songs_that_come_later_move_none(prepare, tmp_path, write_tone, workspace, first):
    """Whether the first ones were so few that an end or a lone track had to be held out, or many."""

    def write(number):
        for stem, frequency in (("drums", 200), ("bass", 60), ("keys", 500)):
            if stem != "keys" or number % 3 == 0:
                path = tmp_path / "songs" / f"song {number:02d}" / f"{stem}.wav"
                write_tone(path, frequency + 3 * number, seconds=2.5)

    for number in range(first):
        write(number)
    before = sides(prepare(tmp_path / "songs"))
    for number in range(first, 3 * first + 4):
        write(number)
    after = sides(prepare(tmp_path / "songs"))
    assert len(after) > len(before)
    assert {key: after[key] for key in before} == before
    again = sides(prepare(tmp_path / "songs"))
    assert again == after
    assert len(known_splits(Workspace(root=workspace), 0.2)) == 3 * first + 4
    assert {split for split, _ in after.values()} == {"train", "heldout"}


def test_a_song_that_goes_and_comes_back_is_on_its_side(prepare, tmp_path, songs):
    before = sides(prepare(songs))
    shutil.move(songs / "song 1", tmp_path / "away")
    without = sides(prepare(songs))
    assert all(before[key][0] == split for key, (split, _) in without.items())
    shutil.move(tmp_path / "away", songs / "song 1")
    after = sides(prepare(songs))
    assert {key: split for key, (split, _) in after.items()} == {k: split for k, (split, _) in before.items()}


@pytest.fixture
def bucket(s3, songs):
    """A bucket that holds the songs."""
    S3FileSystem().put(str(songs), f"{s3}/music", recursive=True)
    return s3


def keys(address):
    return sorted(key.split("/", 1)[1] for key in S3FileSystem().find(address))


def test_a_band_is_trained_from_a_bucket_with_its_shards_in_it(run, bucket, tmp_path, workspace):
    prefix = f"storage.shards={bucket}/shards"
    first = run(f"{bucket}/music", prefix)
    assert set(first.figures) == {"drums", "bass"}
    assert not list(workspace.glob("store/shards/*"))
    sets = sorted({key.rsplit("/", 1)[0] for key in keys(f"{bucket}/shards")})
    assert [place.split("/")[1].split("-")[0] for place in sets] == ["bass", "drums"]
    assert [verify_shards(open_location(f"{bucket}/{place}")) for place in sets] == [[], []]
    second = run(f"{bucket}/music", prefix)
    assert second.ran == []
    assert set(second.cached) == set(first.ran)
    assert second.output == first.output


def test_shards_elsewhere_are_those_that_would_lie_here(prepare, bucket, songs):
    here, there = prepare(songs), prepare(f"{bucket}/music", f"storage.shards={bucket}/shards")
    assert {stem: manifest.digest for stem, manifest in here.items()} == {
        stem: manifest.digest for stem, manifest in there.items()
    }


def test_one_more_song_in_a_bucket_is_fetched_and_decoded_alone(
    prepare, bucket, write_tone, tmp_path, ledgers
):
    prepare(f"{bucket}/music")
    assert names(ledgers[-1].ran, "ingest") == {"song 0", "song 1", "song 2"}
    fetched = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "workspace" / "downloads").rglob("*.wav")
    }
    new = write_tone(tmp_path / "new.wav", 333)
    S3FileSystem().put(str(new), f"{bucket}/music/song 3/drums.wav")
    prepare(f"{bucket}/music")
    assert names(ledgers[-1].ran, "ingest") == {"song 3"}
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "workspace" / "downloads").rglob("*.wav")}
    assert {path: after[path] for path in fetched} == fetched
    assert len(after) == len(fetched) + 1


def test_the_doctor_calls_remote_files_by_their_names_in_the_input(bucket, tmp_path, tiny, workspace):
    output = examine_input(f"{bucket}/music", [str(tiny)], [], workspace)
    assert [row.path for row in output.report.files] == keys_below(bucket)
    rows = ["path,track,stem", "song 0/drums.wav,one,drums", f"{bucket}/music/song 1/drums.wav,two,drums"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    S3FileSystem().put(str(tmp_path / "list.csv"), f"{bucket}/music/list.csv")
    output = examine_input(f"{bucket}/music/list.csv", [str(tiny)], [], workspace)
    assert [row.path for row in output.report.files] == ["list.csv", "song 0/drums.wav", "song 1/drums.wav"]


def keys_below(bucket):
    return [key.removeprefix("music/") for key in keys(f"{bucket}/music")]


def test_the_doctor_calls_files_of_a_manifest_as_the_manifest_does(songs, tmp_path, tiny, workspace):
    (tmp_path / "lists").mkdir()
    elsewhere = songs / "song 1" / "drums.wav"
    shutil.copy(songs / "song 0" / "drums.wav", tmp_path / "lists" / "near.wav")
    (tmp_path / "lists" / "list.csv").write_text(f"path\nnear.wav\n{elsewhere}\n")
    output = examine_input(str(tmp_path / "lists" / "list.csv"), [str(tiny)], [], workspace)
    assert [Path(row.path) for row in output.report.files] == [elsewhere, Path("list.csv"), Path("near.wav")]
