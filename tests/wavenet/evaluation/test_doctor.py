"""The doctor's report as JSON: a row for each path, and nothing that JSON cannot hold."""

import json

from wavenet.data.floors import Floor
from wavenet.evaluation.doctor import (
    DoctorReport,
    FileReport,
    NearCopy,
    StemReport,
    Totals,
    count_files,
    report_json,
)

WHOLE = FileReport(
    path="song/drums.wav", verdict="kept", reason="all of it sounds", track="song", stem="drums",
    split="train", seconds=12.5, kept_seconds=12.5, sample_rate=44100, num_channels=2, codec="WAV/PCM_16",
    peak_db=-1.0, loudness_lufs=-14.2, clipped_share=0.0, silence_share=0.0, dc_offset=0.0,
    kept=[(0.0, 12.5)],
    near_duplicates=[NearCopy("live/drums.mp4", 1.5, 0.9, True, "drums")],
    stems=[StemReport("drums", "partial", "8.5 s cut", 12.5, 4.0, 0.6, [(2.5, 5.0), (6.0, 7.5)], "a.flac")],
)  # fmt: skip
DROPPED = FileReport(path="caf\udce9.wav", verdict="dropped", reason="holds no samples")
REPORT = DoctorReport(
    title="songs",
    files=[WHOLE, DROPPED],
    totals=Totals(2, 1, 0, 1, {"drums": {"train": 12.5, "heldout": 0.0, "test": 0.0}}),
    quantization=[Floor("drums", 16000, 256, "mu-law", float("inf"), True, "clips/a.wav")],
    warnings=["too little data"],
    config_yaml="ingest: {}\n",
    notes=["song: stems differ in length"],
    layout="stems",
)


def test_every_file_has_its_row_with_path_verdict_and_reason():
    rows = report_json(REPORT)["files"]
    assert [(row["path"], row["verdict"]) for row in rows] == [
        ("song/drums.wav", "kept"),
        ("caf\\udce9.wav", "dropped"),
    ]
    assert rows[0]["near_duplicates"] == [
        {
            "path": "live/drums.mp4", "offset_seconds": 1.5, "agreement": 0.9, "other_split": True,
            "part": "drums",
        }
    ]  # fmt: skip
    assert rows[0]["kept"] == [[0.0, 12.5]]
    assert rows[1]["reason"] == "holds no samples"


def test_a_row_says_of_each_stem_what_is_kept_and_where_the_rest_can_be_heard():
    whole, dropped = report_json(REPORT)["files"]
    assert whole["stems"] == [
        {
            "stem": "drums", "verdict": "partial", "reason": "8.5 s cut", "seconds": 12.5,
            "kept_seconds": 4.0, "silence_share": 0.6, "kept": [[2.5, 5.0], [6.0, 7.5]], "cut_clip": "a.flac",
        }
    ]  # fmt: skip
    assert dropped["stems"] == []


def test_what_is_left_out_of_a_stem_is_all_that_is_not_kept():
    (stem,) = WHOLE.stems
    assert stem.cut == [(0.0, 2.5), (5.0, 6.0), (7.5, 12.5)]
    assert stem.cut_seconds == 8.5
    assert StemReport("drums", "dropped", "hardly any", 12.5).cut == [(0.0, 12.5)]
    assert StemReport("drums", "dropped", "truncated").cut == []


def test_what_could_not_be_read_is_null():
    row = report_json(REPORT)["files"][1]
    unread = {"seconds", "sample_rate", "codec", "peak_db", "loudness_lufs", "clipped_share", "dc_offset"}
    assert {key for key in unread if row[key] is not None} == set()


def test_the_report_has_the_parts_that_are_promised():
    told = report_json(REPORT)
    assert {"files", "totals", "quantization", "warnings", "notes"} <= set(told)
    assert (told["layout"], told["layout_guessed"], told["page"]) == ("stems", True, "doctor.html")
    assert told["totals"] == {
        "num_files": 2, "num_kept": 1, "num_partial": 0, "num_dropped": 1, "num_beside": {}, "num_stems": {},
        "seconds": {"drums": {"train": 12.5, "heldout": 0.0, "test": 0.0}},
    }  # fmt: skip


def stems_of_one_file(**verdicts: str) -> list[FileReport]:
    """The rows of a container: a stem each."""
    return [
        FileReport("a.mp4", verdict, "", track="a", stem=stem, stems=[StemReport(stem, verdict, "")])
        for stem, verdict in verdicts.items()
    ]


def test_a_file_of_several_stems_is_counted_once_and_so_is_each_stem():
    mixture = FileReport("a.mp4", "kept", "", role="mixture")
    totals = count_files([*stems_of_one_file(drums="kept", bass="dropped", other="kept"), mixture], {})
    assert (totals.num_files, totals.num_kept, totals.num_partial, totals.num_dropped) == (1, 0, 1, 0)
    assert totals.num_stems == {"kept": 2, "dropped": 1}
    assert totals.num_beside == {}
    whole = count_files(stems_of_one_file(drums="kept", bass="kept"), {})
    assert (whole.num_kept, whole.num_partial) == (1, 0)


def test_a_stem_of_several_files_is_counted_once():
    kick, snare = (
        FileReport(path, "kept", "", track="a", stems=[StemReport("drums", "kept", "")])
        for path in ("kick.wav", "snare.wav")
    )
    totals = count_files([kick, snare], {})
    assert (totals.num_kept, totals.num_stems) == (2, {"kept": 1})


def test_what_is_not_trained_on_is_counted_apart_unless_it_is_dropped():
    beside = [
        FileReport("mixture.wav", "kept", "", role="mixture"),
        FileReport("notes.mid", "kept", "", role="score"),
        FileReport("other.mid", "kept", "", role="score", idle=True),
        FileReport("torn.wav", "dropped", "", role="mixture"),
    ]
    totals = count_files([*beside, *stems_of_one_file(drums="kept")], {})
    assert totals.num_beside == {"mixture": 1, "score": 2}
    assert (totals.num_files, totals.num_kept, totals.num_dropped) == (5, 1, 1)
    assert [file.use for file in beside] == [
        "used as mixture", "used as score", "unused score", "dropped"
    ]  # fmt: skip


def test_strict_json_in_utf8_can_hold_it():
    text = json.dumps(report_json(REPORT), ensure_ascii=False, allow_nan=False)
    again = json.loads(text.encode().decode())
    assert again == report_json(REPORT)
    assert again["quantization"][0]["snr_db"] is None
