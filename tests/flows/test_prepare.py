"""From an input to shards by the command line: where they lie, what is told, how a set is mended."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.prepare import NOT_SEPARATED, prepare_input
from wavenet.data.shards.checker import verify_shards
from wavenet.data.shards.format import read_manifest
from wavenet.errors import ConfigError


def call(*arguments):
    """`waveband` in this process; what it printed on standard output, and how it ended."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def album(tmp_path, write_tone):
    """A folder of three good tracks."""
    for number in range(3):
        write_tone(tmp_path / "album" / f"good {number}.wav", 100 + 10 * number)
    return tmp_path / "album"


@pytest.fixture
def prepare(tiny, workspace):
    def prepare(input, *overrides):
        return prepare_input(str(input), [str(tiny)], list(overrides), workspace)

    return prepare


# where shards lie


@pytest.mark.parametrize("relative", [True, False])
def test_shards_may_lie_in_a_plain_folder(prepare, album, tmp_path, monkeypatch, relative, ledgers):
    monkeypatch.chdir(tmp_path)
    target = "shards" if relative else tmp_path / "shards"
    (place,) = prepare(album, f"storage.shards={target}").places.values()
    assert Path(place).parent == tmp_path / "shards"
    assert verify_shards(Path(place)) == []
    assert prepare(album, f"storage.shards={target}").places == {"mix": place}
    assert ledgers[-1].ran == []


@pytest.mark.parametrize(
    "target", ["foo://x", "s3:/bucket/x", "http://host/x", "FILE", "s3://no-such-bucket/x"]
)
def test_a_target_of_no_use_is_told_before_anything_is_decoded(prepare, album, tmp_path, s3, target, ledgers):
    (tmp_path / "FILE").touch()
    with pytest.raises(ConfigError, match=r"storage\.shards=.*"):
        prepare(album, f"storage.shards={target.replace('FILE', str(tmp_path / 'FILE'))}")
    assert ledgers[-1].ran == []


# what it tells


def test_what_is_set_aside_is_told_by_reason_and_in_the_json(album, tiny, workspace):
    for name in ("x.wav", "y.wav"):
        (album / name).write_text("no sound at all")
    (album / "notes.txt").touch()
    shutil.copy(album / "good 0.wav", album / "good 0 again.wav")
    result = call("prepare", album, "--config", tiny, "--workspace", workspace, "--json")
    told = json.loads(result.stdout.splitlines()[-1])
    assert set(told) == {"shards", "set_aside", "notes"}
    reasons = {one["path"]: one["reason"] for one in told["set_aside"]}
    assert {"x/mix", "y/mix", "notes.txt"} < set(reasons)
    assert [reason for reason in reasons.values() if reason.startswith("the same audio as good 0")]
    assert f"set aside  x/mix, y/mix: {reasons['x/mix']}\n" in result.stdout
    assert "set aside  4 in all, 1 of them not audio by their name (notes.txt);" in result.stdout
    assert Path(told["shards"]["mix"]).is_dir()


def test_what_is_to_be_known_is_told_and_no_more_of_it_than_one_reads(album, tiny, workspace):
    for number in range(30):
        (album / f"bad {number:02d}.wav").write_text("no sound at all")
    result = call("prepare", album, "--config", tiny, "--workspace", workspace, "--json")
    assert "set aside  bad 00/mix, bad 01/mix, bad 02/mix and 27 more: cannot be decoded" in result.stdout
    assert len(json.loads(result.stdout.splitlines()[-1])["set_aside"]) == 30


def test_stems_that_are_not_separated_are_told_to_be_passed_over(prepare, songs, album, capsys):
    assert NOT_SEPARATED in prepare(songs, "separation.enabled=true").notes
    assert NOT_SEPARATED in capsys.readouterr().err
    assert NOT_SEPARATED not in prepare(songs).notes


def test_a_card_names_files_by_their_names_in_the_input(prepare, songs, tmp_path, write_tone):
    elsewhere = write_tone(tmp_path / "private" / "far.wav", 300)
    rows = ["path,track,stem,end", "song 0/drums.wav,a,drums,1.5", f"{elsewhere},b,drums,"]
    (songs / "list.csv").write_text("\n".join(rows))
    (place,) = prepare(songs / "list.csv").places.values()
    assert {track.track: track.sources for track in read_manifest(Path(place)).tracks} == {
        "a": ["song 0/drums.wav (0-1.5 s)"],
        "b": ["far.wav"],
    }
    for name in ("README.md", "manifest.json"):
        assert str(tmp_path) not in (Path(place) / name).read_text()


def test_an_empty_name_is_no_input(album, tiny, workspace, monkeypatch):
    monkeypatch.chdir(album)
    for command in ("doctor", "prepare"):
        result = CliRunner().invoke(app, [command, "", "--config", str(tiny), "--workspace", str(workspace)])
        assert isinstance(result.exception, ConfigError)
        assert str(result.exception).startswith("the input is empty")


# a damaged set


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_damaged_set_is_mended_by_what_verify_says(prepare, album, tmp_path, elsewhere):
    target = [f"storage.shards={tmp_path / 'shards'}"] if elsewhere else []
    place = Path(prepare(album, *target).places["mix"])
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    flip(place / "train-00000.parquet")
    result = call("shards", "verify", place)
    assert result.exit_code == 1
    assert f"  to mend it: delete {place} and prepare again" in result.stdout
    shutil.rmtree(place)
    assert prepare(album, *target).places["mix"] == str(place)
    assert call("shards", "verify", place).exit_code == 0
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before


def test_verify_tells_a_script_which_sets_are_whole(prepare, album, tmp_path):
    place = prepare(album).places["mix"]
    copy = shutil.copytree(place, tmp_path / "copy")
    flip(copy / "train-00000.parquet")
    result = call("shards", "verify", place, copy, tmp_path, "--json")
    told = json.loads(result.stdout.splitlines()[-1])
    assert (result.exit_code, told["ok"]) == (1, False)
    assert [(one["folder"], one["ok"]) for one in told["sets"]] == [
        (place, True),
        (str(copy), False),
        (str(tmp_path), False),
    ]
    whole, flipped, nothing = told["sets"]
    assert (whole["problems"], whole["remedy"]) == ([], None)
    (problem,) = flipped["problems"]
    assert problem.startswith("train-00000.parquet: its bytes are not those that were written")
    assert flipped["remedy"].startswith(f"delete {copy}")
    assert (len(nothing["problems"]), nothing["remedy"]) == (1, None)
    assert json.loads(call("shards", "verify", place, "--json").stdout.splitlines()[-1])["ok"] is True
