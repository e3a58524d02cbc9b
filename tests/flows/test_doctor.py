"""The doctor, through its own command: what it says of each file is what a run does with it."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import av
import mido
import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from mlflow import MlflowClient
from typer.testing import CliRunner

import tasks.doctor_others
from flows.cli import app
from flows.doctor import examine_input
from flows.prepare import prepare_shards
from tasks.doctor import DoctorOutput
from tests.browser import browser, needs_browser
from wavenet.audio.loudness import measure_loudness
from wavenet.data.shards.format import read_manifest
from wavenet.data.shards.reader import read_shards
from wavenet.data.splits import ALL_SPLITS
from wavenet.errors import NoAudioError
from wavenet.evaluation.doctor import report_json

__all__ = ["browser"]
PROGRESS = re.compile(r"(ingest|examine|floors|shards) +\d+/\d+  .*")
RATE = 16000
CONFIG = """
ingest: {sample_rate: 6000, workers: 2}
segmentation: {segment_seconds: 0.5, heldout_share: 0.3, silence: {min_seconds: 1.0}}
quantization: {quantization_channels: 512}
model: {dilation_cycle: 4, num_cycles: 1}
"""


def play(seed: int, seconds: float = 4.0) -> np.ndarray:
    """Chords of random notes, struck with a noise three times a second: another piece for each seed."""
    rng = np.random.default_rng(seed)
    waveform = np.zeros(round(seconds * RATE))
    for onset in np.arange(0, seconds - 0.4, 0.3) + rng.uniform(
        0, 0.1, len(np.arange(0, seconds - 0.4, 0.3))
    ):
        clock = np.arange(round(0.4 * RATE)) / RATE
        struck = 0.3 * rng.standard_normal(len(clock)) * np.exp(-20 * clock)
        for frequency in 110 * 2 ** (rng.integers(0, 36, 3) / 12):
            struck += sum(np.sin(2 * np.pi * n * frequency * clock) / n for n in range(1, 6)) * np.exp(
                -5 * clock
            )
        begin = round(onset * RATE)
        waveform[begin : begin + len(clock)] += 0.08 * struck
    return waveform


def write(path: Path, waveform: np.ndarray, rate: int = RATE, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate, **options)
    return path


def write_songs(folder: Path) -> Path:
    """Three songs as stems; the vocal of the first sounds for two seconds of eight, the last has a bass.

    The second has its mixture beside it, the third what is left of one.
    """
    for number in range(3):
        write(folder / f"song {number}" / "drums.wav", play(number, 8.0))
    silence = np.zeros(RATE)
    write(folder / "song 0" / "vocals.wav", np.concatenate([*[silence] * 3, play(10, 2.0), *[silence] * 3]))
    write(folder / "song 1" / "vocals.wav", play(11, 8.0))
    write(folder / "song 1" / "mixture.wav", play(1, 8.0) + play(11, 8.0))
    write(folder / "song 2" / "bass.wav", play(12, 4.0))
    (folder / "song 2" / "mixture.wav").write_text("no sound")
    return folder


def write_album(folder: Path) -> Path:
    """Tracks with all that the doctor tells of, and what is no track."""
    for number in range(3):
        write(folder / f"track {number}.wav", play(20 + number))
    shutil.copy(folder / "track 0.wav", folder / "track 0 again.wav")
    write(folder / "as flac.flac", *soundfile.read(folder / "track 0.wav", dtype="int16"))
    write(folder / "as mp3.mp3", play(21))
    write(folder / "as ogg.ogg", play(21))
    write(folder / "later.wav", np.concatenate([np.zeros(RATE // 2), play(22)]))
    write(folder / "loud.wav", np.clip(12 * play(30), -1, 1))
    write(folder / "offset.wav", play(31) + 0.05)
    write(folder / "low.wav", play(32)[::4], RATE // 4)
    write(folder / "silent.wav", np.zeros(RATE))
    (folder / "damaged.wav").write_bytes((folder / "track 1.wav").read_bytes()[:50_000])
    (folder / "cover.jpg").write_bytes(b"no sound")
    (folder / "notes.txt").write_text("recorded in the kitchen")
    (folder / ".DS_Store").write_bytes(b"hidden")
    return folder


@dataclass(frozen=True)
class Examined:
    """An input, and what the doctor said of it. config: the arguments of a command on it."""

    input: Path
    workspace: Path
    config: Path
    output: DoctorOutput

    @property
    def rows(self):
        return {row.path: row for row in self.output.report.files}


@pytest.fixture
def config(tmp_path) -> Path:
    (tmp_path / "doctor.yaml").write_text(CONFIG)
    return tmp_path / "doctor.yaml"


@pytest.fixture(scope="module")
def examine(tmp_path_factory):
    """Let the doctor examine what a function writes."""

    def examine(write) -> Examined:
        root = tmp_path_factory.mktemp("doctor")
        (root / "doctor.yaml").write_text(CONFIG)
        music = write(root / "music")
        output = examine_input(str(music), [str(root / "doctor.yaml")], [], root / "workspace")
        return Examined(music, root / "workspace", root / "doctor.yaml", output)

    return examine


@pytest.fixture(scope="module")
def songs(examine) -> Examined:
    return examine(write_songs)


@pytest.fixture(scope="module")
def album(examine) -> Examined:
    return examine(write_album)


def call(*arguments, environment=None):
    """`waveband` in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)


def test_the_command_prints_one_object_as_its_last_line_with_a_row_for_every_path(waveband, tmp_path, config):
    folder = write_album(tmp_path / "music")
    out, err = (process := waveband("doctor", folder, "--config", config, "--json")).communicate(timeout=100)
    assert process.returncode == 0, err
    assert [line for line in err.splitlines() if not PROGRESS.fullmatch(line)] == []
    told = json.loads(out.splitlines()[-1])
    assert {"files", "totals", "quantization"} <= set(told)
    assert [row["path"] for row in told["files"]] == sorted(path.name for path in folder.rglob("*"))
    assert {row["verdict"] for row in told["files"]} == {"kept", "dropped"}
    assert all(row["reason"] for row in told["files"])
    page, json_file = (
        line.split(maxsplit=1)[1] for line in out.splitlines() if line[:5] in ("page ", "json ")
    )
    assert told["page"] == page
    assert json.loads(Path(json_file).read_text()) == {**told, "page": "doctor.html"}  # beside it
    assert (told["layout"], told["layout_guessed"]) == ("album", True)
    assert "; layout: album (guessed)" in out
    assert Path(page).read_text().startswith("<!doctype html>")


def test_totals_are_those_of_the_rows(album, songs):
    for one in (album, songs):
        totals, rows = one.output.report.totals, one.output.report.files
        beside = sum(totals.num_beside.values())
        assert totals.num_files == len(rows)
        assert len(rows) == totals.num_kept + totals.num_partial + totals.num_dropped + beside
        verdicts = [row.verdict for row in rows if row.role in ("audio", "other") or row.verdict == "dropped"]
        assert [totals.num_kept, totals.num_partial, totals.num_dropped] == [
            verdicts.count(verdict) for verdict in ("kept", "partial", "dropped")
        ]
        for stem, seconds in totals.seconds.items():
            kept = [row.kept_seconds for row in rows if row.stem == stem and row.verdict != "dropped"]
            assert sum(seconds.values()) == pytest.approx(sum(kept))
    assert songs.output.report.totals.num_beside == {"mixture": 1}
    assert songs.output.report.totals.num_stems == {"kept": 5, "partial": 1}


def test_what_the_doctor_says_is_what_is_prepared(album, songs, ledgers):
    for one in (album, songs):
        places = prepare_shards(str(one.input), [str(one.config)], [], one.workspace)
        assert {name.split("-")[0] for name in ledgers[-1].ran} == {"shards"}
        told = {
            (row.track, row.stem): row for row in one.rows.values() if row.stem and row.verdict != "dropped"
        }
        found = {}
        for stem, place in places.items():
            manifest = read_manifest(Path(place))
            for split in ALL_SPLITS:
                seconds = one.output.report.totals.seconds[stem][split]
                assert manifest.num_samples(split) == pytest.approx(seconds * manifest.sample_rate, abs=1)
            for track in manifest.tracks:
                assert told[track.track, stem].split == track.split
                found[track.track, stem] = regions_of(Path(place), track.track)
        assert found == {key: row.kept for key, row in told.items()}


def regions_of(place: Path, track: str) -> list[tuple[float, float]]:
    """(start, end) seconds of what a shard set holds of a track, neighbouring segments joined."""
    rate, regions = read_manifest(place).sample_rate, []
    rows = pd.concat([read_shards(place, split) for split in ALL_SPLITS]).query("track == @track")
    for row in rows.sort_values("start_sample").itertuples():
        start, end = row.start_sample / rate, (row.start_sample + row.num_samples) / rate
        if regions and regions[-1][1] == start:
            start = regions.pop()[0]
        regions.append((start, end))
    return regions


def test_the_same_recording_in_another_container_is_one_track(album):
    rows = [album.rows[name] for name in ("as flac.flac", "track 0 again.wav", "track 0.wav")]
    (used,) = [row for row in rows if row.verdict == "kept"]
    for row in rows:
        if row is not used:
            assert (row.verdict, row.reason) == ("dropped", f"the same audio as {used.path}")
            assert row.duplicate_of == used.path
    assert len([row for row in album.rows.values() if row.duplicate_of]) == 2


def test_a_mixture_is_compared_with_its_stems_where_it_can_be(songs):
    whole, torn = songs.rows["song 1/mixture.wav"], songs.rows["song 2/mixture.wav"]
    assert (whole.verdict, whole.role, whole.use) == ("kept", "mixture", "used as mixture")
    assert re.search(r"compared with the sum of its stems, not trained on; .* -\d\d+ dB", whole.reason)
    assert torn.verdict == "dropped"
    assert "cannot be decoded as audio" in torn.reason
    assert torn.reason.endswith("the stems are used without it")


def test_copies_through_a_codec_and_later_ones_are_told_as_nearly_the_same(album):
    pairs = {
        frozenset((row.path, near.path)): near.offset_seconds
        for row in album.rows.values()
        for near in row.near_duplicates
    }
    assert set(pairs) == {
        frozenset(("as mp3.mp3", "track 1.wav")),
        frozenset(("as ogg.ogg", "track 1.wav")),
        frozenset(("as mp3.mp3", "as ogg.ogg")),
        frozenset(("later.wav", "track 2.wav")),
    }
    (near,) = album.rows["track 2.wav"].near_duplicates
    assert near.offset_seconds == pytest.approx(-0.5, abs=0.05)
    assert album.rows["later.wav"].near_duplicates[0].offset_seconds == pytest.approx(0.5, abs=0.05)


def write_container(path: Path, *waveforms: np.ndarray) -> Path:
    """An mp4 with an audio stream of each waveform."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as out:
        streams = [out.add_stream("aac", rate=RATE, layout="mono") for _ in waveforms]
        for stream, waveform in zip(streams, waveforms, strict=True):
            frame = av.AudioFrame.from_ndarray(waveform.astype(np.float32)[None], "fltp", "mono")
            frame.sample_rate = RATE
            out.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def test_stems_of_one_container_are_told_apart_and_each_shows_its_own_waveform(tmp_path, config):
    drums, bass = play(1, 8.0), play(2, 8.0)
    drums[4 * RATE :] = 0
    bass[: 4 * RATE] = 0
    parts = [drums + bass, drums, bass, play(3, 8.0), play(4, 8.0)]
    write_container(tmp_path / "musdb" / "train" / "A - B.stem.mp4", *parts)
    output = examine_input(str(tmp_path / "musdb"), [str(config)], [], tmp_path / "workspace")
    report, path = output.report, "train/A - B.stem.mp4"
    assert [row.name for row in report.files] == [
        f"{path} [{stem}]" for stem in ("mixture", "drums", "bass", "other", "vocals")
    ]
    assert [row.stream for row in report.files] == [0, 1, 2, 3, 4]
    totals = report.totals
    assert (totals.num_files, totals.num_partial, totals.num_stems) == (1, 1, {"partial": 2, "kept": 2})
    assert (report.layout, report.layout_guessed) == ("musdb", True)
    page = output.page.read_text()
    drawn = dict(
        re.findall(r'id="part-\d+"><bdi>[^<]*\[(\w+)\]</bdi>.*?viewBox.*?<path d="([^"]*)"', page, re.S)
    )
    for stem, waveform in (("drums", drums), ("bass", bass)):
        assert page.count(f"What would be left out of {path} [{stem}]") == 1
        first_half = drawn[stem].split("L")[:190]
        heights = {point.split()[1] for point in first_half}
        assert (len(heights) > 5) == bool(waveform[: 4 * RATE].any())


def test_excerpts_of_one_file_say_where_they_lie_and_of_how_much(tmp_path, config):
    write(tmp_path / "long.wav", np.concatenate([play(1, 8.0), np.zeros(4 * RATE), play(2, 8.0)]))
    (tmp_path / "list.csv").write_text("path,track,start,end\nlong.wav,a,2,14\nlong.wav,b,14,\n")
    output = examine_input(str(tmp_path / "list.csv"), [str(config)], [], tmp_path / "workspace")
    listed, first, second = output.report.files
    assert (listed.role, listed.use) == ("metadata", "used as metadata")
    assert (first.name, first.verdict) == ("long.wav [0:02-0:14]", "partial")
    assert first.reason.startswith("excerpt 0:02-0:14 of 0:20: ")
    assert (first.start, first.end, first.file_seconds, first.seconds) == (2.0, 14.0, 20.0, 12.0)
    assert (second.name, second.reason) == ("long.wav [0:14-0:20]", "excerpt 0:14-0:20 of 0:20: whole")
    assert output.report.totals.num_files == 2
    assert not output.report.layout_guessed  # it is a manifest
    page = output.page.read_text()
    assert page.count("What would be left out of long.wav [0:02-0:14]") == 1
    assert "0:12.0 of 0:20" in page


def test_a_stem_that_is_not_there_is_told_with_those_that_are(songs, tmp_path):
    overrides = ["ingest.stems=[drum]"]
    output = examine_input(str(songs.input), [str(songs.config)], overrides, tmp_path / "workspace")
    told = "ingest.stems: there is no stem drum; there are bass, drums, vocals; did you mean drums?"
    assert output.report.warnings[:2] == ["nothing is left to train on", told]
    totals = output.report.totals
    assert (totals.num_kept, totals.num_beside) == (0, {"mixture": 1})


@pytest.mark.parametrize("asked", [True, False])
def test_scores_are_used_as_scores_where_notes_are_asked_for(tmp_path, config, asked):
    for number in range(2):
        write(tmp_path / "songs" / f"song {number}" / "drums.wav", play(number, 4.0))
        write(tmp_path / "songs" / f"song {number}" / "bass.wav", play(10 + number, 4.0))
    write_midi(tmp_path / "songs" / "song 0" / "drums.mid")
    (tmp_path / "songs" / "song 1" / "drums.mid").write_bytes(b"no score")
    features = ["features.names=[notes]"] if asked else []
    output = examine_input(str(tmp_path / "songs"), [str(config)], features, tmp_path / "workspace")
    good, torn = (row for row in output.report.files if row.role == "score")
    assert good.verdict == "kept"
    if asked:
        assert good.use == "used as score"
        assert torn.verdict == "dropped"
        assert "the notes of drums are empty" in torn.reason
    else:
        assert (good.use, torn.use) == ("unused score", "unused score")
    assert output.report.totals.num_beside == {"score": 1 if asked else 2}


def write_midi(path: Path) -> None:
    track = mido.MidiTrack([mido.Message("note_on", note=36, velocity=90, time=0)])
    track.append(mido.Message("note_off", note=36, velocity=0, time=480))
    mido.MidiFile(tracks=[track]).save(path)


@pytest.mark.parametrize(("most", "told"), [(3, "3 files"), (2, "more than 2 files")])
def test_a_hidden_folder_says_how_many_files_lie_in_it(tmp_path, config, monkeypatch, most, told):
    monkeypatch.setattr(tasks.doctor_others, "MOST_COUNTED", most)
    write(tmp_path / "music" / "a.wav", play(1))
    for number in range(3):
        write(tmp_path / "music" / ".old" / "deep" / f"{number}.wav", play(2))
    output = examine_input(str(tmp_path / "music"), [str(config)], [], tmp_path / "workspace")
    (hidden,) = [row for row in output.report.files if row.path == ".old"]
    assert (hidden.reason, hidden.role) == (f"a hidden folder; {told} in it", "other")


def test_a_stem_that_cannot_be_trained_is_warned_of_before_notes_on_songs(tmp_path, config):
    rows = ["path,track,stem,split"]
    for track, split, stems in [("a", "train", ["drums"]), ("b", "heldout", ["drums", "vocals"])]:
        for stem in stems:
            write(tmp_path / track / f"{stem}.wav", play(len(rows)))
            rows.append(f"{track}/{stem}.wav,{track},{stem},{split}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    output = examine_input(str(tmp_path / "list.csv"), [str(config)], [], tmp_path / "workspace")
    assert output.report.totals.seconds["vocals"]["train"] == 0
    assert output.report.warnings[0].startswith("vocals: ")
    assert "train" in output.report.warnings[0]
    assert output.report.warnings[1] == "a: has no usable vocals; its other stems are used"


def test_a_stem_that_is_the_same_in_two_songs_names_the_file_that_is_used(tmp_path, config):
    for number in range(3):
        write(tmp_path / "songs" / f"song {number}" / "bass.wav", play(number))
        write(tmp_path / "songs" / f"song {number}" / "drums.wav", play(10 + number // 2))
    output = examine_input(str(tmp_path / "songs"), [str(config)], [], tmp_path / "workspace")
    first, second = (
        row for row in output.report.files if row.path in ("song 0/drums.wav", "song 1/drums.wav")
    )
    dropped, used = (first, second) if first.verdict == "dropped" else (second, first)
    assert dropped.reason == f"the same audio as {used.path}"
    assert dropped.duplicate_of == used.path
    assert f"the same as <bdi>{used.path}</bdi>" in output.page.read_text()


def test_stems_of_an_only_song_are_warned_of_together(tmp_path, config):
    for stem in ("bass", "drums"):
        write(tmp_path / "songs" / "song" / f"{stem}.wav", play(len(stem)))
    output = examine_input(str(tmp_path / "songs"), [str(config)], [], tmp_path / "workspace")
    told = "bass, drums: too few tracks to hold one out; the end of each is held out instead"
    assert output.report.warnings == [told]


def test_of_many_songs_with_one_note_a_warning_tells_once_and_the_rest_is_in_the_json(tmp_path, config):
    for number in range(12):
        write(tmp_path / "music" / f"{number:02d}.wav", play(number, 2.0))
    output = examine_input(
        str(tmp_path / "music"), [str(config)], ["features.names=[notes]"], tmp_path / "workspace"
    )
    told = [warning for warning in output.report.warnings if "no score" in warning]
    assert told == ["12 songs, such as 00: no score for mix; its notes are empty"]
    notes = json.loads(output.json_file.read_text())["notes"]
    assert len([note for note in notes if note.endswith("no score for mix; its notes are empty")]) == 12


def test_what_the_doctor_said_is_held_out_stays_held_out_when_songs_come(tmp_path, config):
    for number in range(2):
        write(tmp_path / "music" / f"{number}.wav", play(number))
    before = splits_of(examine_input(str(tmp_path / "music"), [str(config)], [], tmp_path / "workspace"))
    assert set(before.values()) == {"train", "heldout"}
    for number in range(2, 8):
        write(tmp_path / "music" / f"{number}.wav", play(number))
    after = splits_of(examine_input(str(tmp_path / "music"), [str(config)], [], tmp_path / "workspace"))
    assert {path: after[path] for path in before} == before


def test_another_share_of_held_out_songs_is_decided_apart(tmp_path, config):
    for number in range(2):
        write(tmp_path / "music" / f"{number}.wav", play(number))
    for share in ("0.3", "0.25"):
        overrides = [f"segmentation.heldout_share={share}"]
        examine_input(str(tmp_path / "music"), [str(config)], overrides, tmp_path / "workspace")
    remembered = json.loads((tmp_path / "workspace" / "splits.json").read_text())
    assert {share: len(splits) for share, splits in remembered.items()} == {"0.3": 2, "0.25": 2}


def splits_of(output: DoctorOutput) -> dict[str, str | None]:
    return {row.path: row.split for row in output.report.files}


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_a_copy_in_another_split_is_warned_of(tmp_path, config, split):
    write(tmp_path / "a.wav", play(1))
    write(tmp_path / "b.ogg", play(1))
    write(tmp_path / "c.wav", play(2))
    (tmp_path / "list.csv").write_text(f"path,split\na.wav,train\nb.ogg,{split}\nc.wav,heldout\n")
    output = examine_input(str(tmp_path / "list.csv"), [str(config)], [], tmp_path / "workspace")
    rows = {row.path: row for row in output.report.files}
    (near,) = rows["a.wav"].near_duplicates
    assert near.path == "b.ogg"
    assert near.other_split is (split != "train")
    warned = [warning for warning in output.report.warnings if "nearly the same" in warning]
    assert len(warned) == (split != "train")
    assert output.page.read_text().count("in different splits") == len(warned)


def test_a_mostly_silent_vocal_is_kept_where_it_sounds_and_what_is_cut_can_be_heard(songs):
    row = songs.rows["song 0/vocals.wav"]
    assert row.verdict == "partial"
    assert row.silence_share == pytest.approx(0.75, abs=0.03)
    ((start, end),) = row.kept
    assert 2.0 <= start <= 3.0 < 5.0 <= end <= 5.5
    assert row.kept_seconds == end - start
    (stem,) = row.stems
    assert (stem.stem, stem.verdict, stem.kept) == ("vocals", "partial", row.kept)
    assert [clip.name for clip in songs.output.page.parent.glob("cuts/*")] == ["000-song-0-vocals.flac"]
    waveform, rate = soundfile.read(songs.output.page.parent / stem.cut_clip)
    assert len(waveform) / rate == pytest.approx(8.0 - row.kept_seconds, abs=0.01)
    assert np.abs(waveform).max() < 0.01
    assert songs.rows["song 1/vocals.wav"].verdict == "kept"


@pytest.fixture
def separating(monkeypatch, tiny_demucs, tmp_path):
    """A Demucs that takes what is left for the drums, what is right for the bass, and finds little else."""
    import torch
    from demucs.htdemucs import HTDemucs
    from huggingface_hub import constants

    from tasks.separate import load_once

    def separate(model, mixture):
        left, right = (mixture[:, one : one + 1].expand_as(mixture) for one in range(2))
        return torch.stack([left, right, 1e-3 * mixture, 1e-3 * mixture], dim=1)

    shutil.copytree(tiny_demucs, tmp_path / "hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(HTDemucs, "forward", separate)
    yield ["separation.enabled=true", "separation.device=cpu"]
    load_once.cache_clear()


def test_what_would_be_cut_of_each_separated_stem_is_shown_and_can_be_heard(tmp_path, config, separating):
    drums, bass = play(1, 12.0), play(2, 12.0)
    drums[3 * RATE : 7 * RATE] = 0
    bass[8 * RATE :] = 0
    write(tmp_path / "album" / "song.wav", np.stack([drums, bass], axis=1))
    write(tmp_path / "album" / "whole.wav", np.stack([play(3, 4.0), play(4, 4.0)], axis=1))
    output = examine_input(str(tmp_path / "album"), [str(config)], separating, tmp_path / "workspace")
    song, whole = output.report.files
    stems = {stem.stem: stem for stem in song.stems}
    assert {name: stem.verdict for name, stem in stems.items()} == {
        "drums": "partial", "bass": "partial", "other": "dropped", "vocals": "dropped"
    }  # fmt: skip
    assert {stem.stem for stem in whole.stems if stem.cut_clip} == {"other", "vocals"}
    ((start, end),) = stems["drums"].cut
    assert 3.0 <= start < end <= 7.0
    ((start, end),) = stems["bass"].cut
    assert (8.0 <= start < 9.0, end) == (True, 12.0)
    for name, least, most in [("drums", 0, 1e-3), ("bass", 0, 1e-3), ("other", 1e-4, 1e-2)]:
        clip, rate = soundfile.read(output.page.parent / stems[name].cut_clip)
        assert least <= np.abs(clip).max() < most
        assert len(clip) / rate == pytest.approx(min(10.0, stems[name].cut_seconds), abs=0.01)
    page = output.page.read_text()
    for name in stems:
        assert f"What would be left out of {name} of song.wav" in page
    assert page.count('<svg class="strip"') == len(list(output.page.parent.glob("cuts/*"))) == 6
    told = json.loads(output.json_file.read_text())["files"][0]["stems"]
    assert {stem["stem"]: stem["cut_clip"] for stem in told} == {
        name: stem.cut_clip for name, stem in stems.items()
    }


def test_a_clipped_file_is_told_of_once(album):
    warned = "of samples are at full scale"
    assert [warning for warning in album.output.report.warnings if warned in warning] == []
    assert album.output.page.read_text().count(warned) == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("loud.wav", "of samples are at full scale"),
        ("offset.wav", "DC offset of +0.05"),
        ("low.wav", "sampled at 4000 Hz, below ingest.sample_rate (6000 Hz)"),
    ],
)
def test_clipping_offset_and_a_low_rate_are_warned_of(album, name, told):
    assert album.rows[name].verdict == "kept"
    (warning,) = album.rows[name].warnings
    assert told in warning
    assert {row.path for row in album.rows.values() if row.warnings} == {"loud.wav", "offset.wav", "low.wav"}


def test_a_quiet_file_is_kept_and_told_what_the_levels_leave_of_it(tmp_path, config):
    write(tmp_path / "music" / "quiet.wav", 5e-4 * play(50), subtype="PCM_24")
    write(tmp_path / "music" / "usual.wav", play(51))
    dither = np.random.default_rng(0).triangular(-1, 0, 1, 4 * RATE) / 2**15
    write(tmp_path / "music" / "dither.wav", dither, subtype="PCM_16")
    for options, told in (([], True), (["segmentation.normalize=peak"], False)):
        output = examine_input(str(tmp_path / "music"), [str(config)], options, tmp_path / "workspace")
        dither, quiet, usual = output.report.files
        assert (dither.verdict, dither.warnings) == ("dropped", [])
        assert (quiet.verdict, usual.warnings) == ("kept", [])
        assert ["steps of 512 levels high" in warning for warning in quiet.warnings] == [True] * told


def test_measures_are_those_of_the_file(album):
    row = album.rows["offset.wav"]
    assert (row.seconds, row.sample_rate, row.num_channels, row.codec) == (4.0, RATE, 1, "WAV/PCM_16")
    waveform = soundfile.read(album.input / "offset.wav")[0]
    assert row.peak_db == pytest.approx(20 * np.log10(np.abs(waveform).max()), abs=1e-3)
    assert row.dc_offset == pytest.approx(waveform.mean(), abs=1e-5)
    loud = soundfile.read(album.input / "loud.wav")[0]
    assert album.rows["loud.wav"].clipped_share == pytest.approx((np.abs(loud) >= 0.999).mean(), abs=1e-6)
    assert album.rows["loud.wav"].loudness_lufs == pytest.approx(measure_loudness(loud, RATE), abs=0.01)


def test_loudness_is_of_the_channels_and_rate_of_the_file_and_dither_is_no_sound(examine):
    rng = np.random.default_rng(0)
    wide = play(40)[:, None] + 0.02 * rng.standard_normal((4 * RATE, 2))  # of which 6 kHz keep a part
    dither = rng.triangular(-1, 0, 1, 4 * RATE) / 2**15

    def write_two(folder):
        write(folder / "wide.wav", wide, subtype="FLOAT")
        write(folder / "resting.wav", np.concatenate([1e-3 * play(41), dither]), subtype="PCM_16")
        return folder

    rows = examine(write_two).rows
    assert rows["wide.wav"].loudness_lufs == pytest.approx(measure_loudness(wide, RATE), abs=0.01)
    assert rows["resting.wav"].silence_share == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("silent.wav", "silent throughout"),
        ("damaged.wav", "truncated"),
        ("cover.jpg", "not an audio file by its name"),
        (".DS_Store", "a hidden file"),
    ],
)
def test_what_is_dropped_has_its_reason(album, name, reason):
    assert album.rows[name].verdict == "dropped"
    assert reason in album.rows[name].reason


def test_the_floor_of_every_stem_has_the_configured_setting_and_its_neighbours(songs):
    settings = {(rate, levels) for rate in (6000, 8000, 10000, 16000, 22050, 44100)
                for levels in (64, 256, 512, 1024, 65536)}  # fmt: skip
    floors = songs.output.report.quantization
    for stem in ("bass", "drums", "vocals"):
        mine = [floor for floor in floors if floor.stem == stem]
        assert {(floor.sample_rate, floor.quantization_channels) for floor in mine} == settings
        assert len(mine) == len(settings)
        assert [(floor.sample_rate, floor.quantization_channels) for floor in mine if floor.configured] == [
            (6000, 512)
        ]
        for floor in mine:
            clip = soundfile.info(songs.output.page.parent / floor.clip)
            assert clip.samplerate == floor.sample_rate
            assert clip.duration == pytest.approx(4.0 if stem == "bass" else 5.0, abs=0.001)


def test_the_noise_of_a_clip_is_that_of_its_row(songs):
    """The bass has one file, and the clip is all of it: what is left of it less itself is the noise."""
    original = soundfile.read(songs.input / "song 2" / "bass.wav", dtype="float32")[0]
    floors = [floor for floor in songs.output.report.quantization if floor.stem == "bass"]
    for floor in floors:
        clip = soundfile.read(songs.output.page.parent / floor.clip, dtype="float32")[0]
        resampled = soxr.resample(original, RATE, floor.sample_rate, quality="HQ")
        noise = np.square(clip - resampled[: len(clip)], dtype=np.float64).sum()
        snr_db = 10 * np.log10(np.square(resampled, dtype=np.float64).sum() / noise)
        assert floor.snr_db == pytest.approx(snr_db, abs=0.1)
    by_levels = {floor.quantization_channels: floor.snr_db for floor in floors if floor.sample_rate == 8000}
    assert sorted(by_levels, key=by_levels.get) == sorted(by_levels)


def test_a_second_look_decodes_nothing_and_says_the_same(album, songs, ledgers):
    for one in (album, songs):
        again = examine_input(str(one.input), [str(one.config)], [], one.workspace)
        assert ledgers[-1].ran == []
        assert again == one.output
        assert {path.name for path in one.workspace.glob("output/doctor-*")} == {one.output.page.parent.name}


def test_a_run_goes_on_from_what_the_doctor_decoded_and_logs_its_page(run, tmp_path, workspace, tiny):
    folder = write_songs(tmp_path / "music")
    output = examine_input(str(folder), [str(tiny)], [], workspace)
    result = run(folder)
    done = ("ingest", "examine", "floors")
    assert [name for name in result.ran if name.startswith(done)] == []
    assert len([name for name in result.cached if name.startswith(done)]) == 3 + 3 + len(result.figures)
    client = MlflowClient(tracking_uri=f"sqlite:///{workspace}/mlflow.db")
    parents = [
        found
        for found in client.search_runs([client.get_experiment_by_name("waveband").experiment_id])
        if "mlflow.parentRunId" not in found.data.tags
    ]
    (parent,) = parents
    assert pages_of(client, parent.info.run_id) == {"doctor/doctor.html", "doctor/doctor.json"}
    logged = client.download_artifacts(parent.info.run_id, "doctor/doctor.json", str(tmp_path))
    assert json.loads(Path(logged).read_text()) == {**report_json(output.report), "page": "doctor.html"}
    usable = output.report.totals.seconds["drums"]["train"] / 60
    assert parent.data.metrics["data/drums/train_minutes"] == pytest.approx(usable)


def pages_of(client, run_id):
    return {item.path for item in client.list_artifacts(run_id, "doctor")}


@pytest.fixture
def mlflow_run(workspace, tmp_path):
    """A run under way, in a store of its own: its client and id."""
    client = MlflowClient(tracking_uri=f"sqlite:///{workspace}/mlflow.db")
    experiment = client.create_experiment("theirs", artifact_location=(tmp_path / "artifacts").as_uri())
    return client, client.create_run(experiment).info.run_id


def test_the_page_is_logged_to_the_run_that_the_environment_names(album, workspace, mlflow_run):
    client, run_id = mlflow_run
    environment = {"MLFLOW_RUN_ID": run_id, "MLFLOW_TRACKING_URI": f"sqlite:///{workspace}/mlflow.db"}
    arguments = ("doctor", album.input, "--config", album.config, "--workspace", album.workspace)
    result = call(*arguments, environment=environment)
    assert result.exit_code == 0, result.output
    assert f"logged to the MLflow run {run_id}" in result.output
    assert pages_of(client, run_id) == {"doctor/doctor.html", "doctor/doctor.json"}
    assert client.get_run(run_id).data.metrics["data/mix/train_minutes"] > 0


def test_a_run_that_mlflow_does_not_know_costs_a_warning(album, workspace):
    environment = {"MLFLOW_RUN_ID": "0" * 32, "MLFLOW_TRACKING_URI": f"sqlite:///{workspace}/mlflow.db"}
    arguments = ("doctor", album.input, "--config", album.config, "--workspace", album.workspace, "--json")
    with pytest.warns(UserWarning, match="MLflow"):
        result = call(*arguments, environment=environment)
    assert result.exit_code == 0, result.output
    assert "logged to" not in result.output
    assert json.loads(result.output.splitlines()[-1])["files"]


def test_a_folder_whose_files_are_all_damaged_has_its_report(tmp_path, config, workspace):
    for name in ("a.wav", "b.flac"):
        (tmp_path / "music").mkdir(exist_ok=True)
        (tmp_path / "music" / name).write_text("no sound")
    result = call("doctor", tmp_path / "music", "--config", config, "--workspace", workspace, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.output.splitlines()[-1])
    assert [row["verdict"] for row in told["files"]] == ["dropped", "dropped"]
    assert told["warnings"] == ["nothing is left to train on"]
    assert told["quantization"] == []
    with pytest.raises(NoAudioError, match="no usable audio"):
        prepare_shards(str(tmp_path / "music"), [str(config)], [], workspace)


def test_a_folder_without_any_audio_is_an_error_in_words(tmp_path, config, workspace):
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "notes.txt").write_text("nothing recorded yet")
    with pytest.raises(NoAudioError, match="no audio in it"):
        examine_input(str(tmp_path / "music"), [str(config)], [], workspace)


def test_what_is_prepared_is_verified_and_a_flipped_byte_is_found(album):
    prepared = call(
        "prepare", album.input, "--config", album.config, "--workspace", album.workspace, "--json"
    )
    assert prepared.exit_code == 0, prepared.output
    ((stem, place),) = json.loads(prepared.output.splitlines()[-1])["shards"].items()
    assert f"shards  {stem}" in prepared.output
    whole = call("shards", "verify", place)
    assert (whole.exit_code, whole.output) == (0, f"{place}: whole\n")
    copy = shutil.copytree(place, album.workspace.parent / "copy")
    (shard, *_) = sorted(copy.glob("train-*.parquet"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    flipped = call("shards", "verify", place, copy)
    assert flipped.exit_code == 1
    assert f"{place}: whole" in flipped.output
    assert re.search(rf"{copy}: 1 problems?\b", flipped.output)
    assert f"  {shard.name}: " in flipped.output


@pytest.mark.browser
@needs_browser
def test_a_browser_plays_the_page_without_a_complaint_and_without_another_file(songs, tmp_path, browser):
    page = Path(shutil.copy(songs.output.page, tmp_path / "alone.html")).as_uri()
    browser.open(page)
    durations = browser.ask("""
        const players = [...document.querySelectorAll("audio")];
        const heard = player => new Promise((known, failed) => {
            player.onloadedmetadata = () => known(player.duration);
            player.onerror = () => known(String(player.error.message || "no sound"));
            player.preload = "metadata";
            player.load();
        });
        Promise.all(players.map(heard)).then(done);
    """)
    assert len(durations) == 3 * (1 + 5 + 4) + 1  # row and column of each stem's floor, and the cut
    assert sorted(set(durations)) == [4.0, 5.0, pytest.approx(5.0, abs=1.0)]
    assert browser.console == []
    requests = browser.requests_of(page)
    assert page in requests
    assert [url for url in requests if url != page and not url.startswith("data:")] == []
