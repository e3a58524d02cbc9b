"""The doctor's page: one file that says what happens to every path, and lets no name become markup."""

import base64
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavenet.data.floors import Floor
from wavenet.evaluation import doctor_page
from wavenet.evaluation.doctor import DoctorReport, FileReport, NearCopy, StemReport, Totals
from wavenet.evaluation.doctor_page import Outlines, outline_path, write_doctor_page
from wavenet.evaluation.doctor_tables import doctor_table, format_percent, format_regions
from wavenet.evaluation.doctor_words import tell_apart
from wavenet.evaluation.listening_page import UNKNOWN

RATE = 8000
NASTY = "\"drums\" & 'sub' <script>alert(1)</script> Контрабас"
CHROMIUM = shutil.which("chromium")
RATES, LEVELS = (8000, 16000, 44100), (64, 256, 1024)


class PageReader(HTMLParser):
    """Elements of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def kept(path: str, **values: object) -> FileReport:
    measures = {
        "track": "song", "stem": "drums", "split": "train", "seconds": 60.0, "kept_seconds": 60.0,
        "sample_rate": 44100, "num_channels": 2, "codec": "WAV/PCM_16", "peak_db": -3.04,
        "loudness_lufs": -17.77, "clipped_share": 0.0, "silence_share": 0.0, "dc_offset": 0.0,
        "kept": [(0.0, 60.0)],
    }  # fmt: skip
    return FileReport(path=path, verdict="kept", reason="all of it sounds", **{**measures, **values})


def cut(stem: str, clip: str | None = None) -> StemReport:
    regions = [(10.0, 30.0), (40.0, 60.0)]
    return StemReport(stem, "partial", "20.0 s of silence cut", 60.0, 40.0, 0.4, regions, clip)


def partial(path: str, clip: str | None = None, **values: object) -> FileReport:
    """A vocal stem; a track of its own."""
    stem = cut("vocals", clip)
    measures = {"track": path, "stem": "vocals", "kept": stem.kept, "kept_seconds": 40.0, "stems": [stem]}
    return replace(kept(path), verdict="partial", reason=stem.reason, **{**measures, **values})


def separated(path: str, *stems: StemReport) -> FileReport:
    names = ", ".join(stem.stem for stem in stems)
    return replace(partial(path), stem=names, stems=list(stems), reason="bass: whole; drums: some of it")


def dropped(path: str, reason: str = "truncated; copy it again", **values: object) -> FileReport:
    return FileReport(path=path, verdict="dropped", reason=reason, **values)


def floors(stem: str) -> list[Floor]:
    return [
        Floor(
            stem, rate, levels, "mu-law", rate / 1000 + levels, (rate, levels) == (16000, 256),
            f"clips/{stem}/{rate}-{levels}.wav",
        )
        for rate in RATES for levels in LEVELS
    ]  # fmt: skip


def report_on(files: list[FileReport], **values: object) -> DoctorReport:
    verdicts = [file.verdict for file in files]
    counts = [verdicts.count(verdict) for verdict in ("kept", "partial", "dropped")]
    seconds = {"drums": {"train": 3723.0, "heldout": 300.0, "test": 0.0}}
    parts = {
        "title": "My records", "files": files, "totals": Totals(len(files), *counts, seconds),
        "quantization": [], "warnings": [], "config_yaml": "ingest:\n  sample_rate: 16000\n",
    }  # fmt: skip
    return DoctorReport(**{**parts, **values})


def write_clip(path: Path, seconds: float = 0.25, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)), rate)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    for stem in ("drums", "vocals"):
        for rate in RATES:
            for levels in LEVELS:
                write_clip(tmp_path / "clips" / stem / f"{rate}-{levels}.wav")
    return tmp_path


@pytest.fixture
def report() -> DoctorReport:
    files = [
        kept("a/drums.wav"),
        kept("b/drums.wav", warnings=["0.4% of samples are at full scale"], clipped_share=0.004),
        partial("a/vocals.wav", "cuts/0.wav"),
        dropped("cover.mp3", "cannot be decoded as audio"),
        *(dropped(f"art/{number}.jpg", "no audio by its name") for number in range(7)),
    ]
    return report_on(files, quantization=[*floors("drums"), *floors("vocals")], warnings=["too little data"])


@pytest.fixture
def outlines(folder) -> Outlines:
    write_clip(folder / "cuts" / "0.wav")
    return {("a/vocals.wav", "vocals"): [abs(np.sin(number)) for number in range(400)]}


def render(report: DoctorReport, outlines: Outlines, folder: Path) -> str:
    write_doctor_page(report, outlines, folder / "doctor.html")
    return (folder / "doctor.html").read_text(encoding="utf-8")


def read(report: DoctorReport, outlines: Outlines, folder: Path) -> PageReader:
    return PageReader(render(report, outlines, folder))


def table_of(report: DoctorReport, title: str) -> list[list[str]]:
    """The rows of a table for the terminal, none where it is left out."""
    return next((rows for name, _, rows in doctor_table(report) if name.startswith(title)), [])


def strips_of(reader: PageReader) -> list[str]:
    return [svg["aria-label"] or "" for svg in reader.all("svg") if svg.get("class") == "strip"]


def test_every_path_that_was_found_is_on_the_page(report, outlines, folder):
    text = read(report, outlines, folder).text
    assert [file.path for file in report.files if file.path not in text] == []


def test_usable_music_comes_first_by_stem_and_split(report, outlines, folder):
    text = read(report, outlines, folder).text
    assert "1 h 2 min" in text  # train
    assert "5 min 0 s" in text
    assert "1 h 7 min" in text  # all of it
    assert (
        text.index("1 h 7 min") < text.index("Warnings") < text.index("Dropped") < text.index("Kept in part")
    )
    assert (
        text.index("Kept in part") < text.index("Files that are used") < text.index("How good it can sound")
    )


def test_what_was_dropped_has_its_reason_and_many_of_one_reason_are_folded(report, outlines, folder):
    reader = read(report, outlines, folder)
    assert "cannot be decoded as audio" in reader.text
    assert "7 files: no audio by its name" in reader.text
    assert reader.text.count("no audio by its name") == 1


def test_a_partial_file_shows_its_waveform_and_where_it_is_cut(report, outlines, folder):
    reader = read(report, outlines, folder)
    assert strips_of(reader) == ["Waveform, 1 min 0 s; left out: 0:00.0 to 0:10.0, 0:30.0 to 0:40.0"]
    cuts = [(rect["x"], rect["width"]) for rect in reader.all("rect") if rect.get("width", "").endswith("7%")]
    assert cuts == [("0.000%", "16.667%"), ("50.000%", "16.667%")]


def test_what_would_be_cut_can_be_heard(report, outlines, folder):
    players = {player["aria-label"]: player["src"] for player in read(report, outlines, folder).all("audio")}
    content = (players["What would be left out of a/vocals.wav"] or "").removeprefix("data:audio/wav;base64,")
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(content, validate=True)), dtype="int16")
    assert rate == RATE
    np.testing.assert_array_equal(samples, soundfile.read(folder / "cuts" / "0.wav", dtype="int16")[0])


def test_each_stem_of_a_separated_file_has_its_own_strip_and_clip(folder):
    unused = StemReport("vocals", "dropped", "hardly any of it", 60.0, cut_clip="cuts/1.flac")
    whole = StemReport("bass", "kept", "whole", 60.0, 60.0, 0.0, [(0.0, 60.0)])
    file = separated("a.flac", whole, unused, cut("drums", "cuts/0.flac"))
    for number in range(2):
        write_clip(folder / "cuts" / f"{number}.flac", 0.1 * (number + 1))
    reader = read(
        report_on([file]), {("a.flac", stem): [0.5] * 400 for stem in ("bass", "drums", "vocals")}, folder
    )
    assert strips_of(reader) == [
        "Waveform, 1 min 0 s; left out: 0:00.0 to 0:10.0, 0:30.0 to 0:40.0",
        "Waveform, 1 min 0 s; left out: 0:00.0 to 1:00.0",
    ]
    prefix = "data:audio/flac;base64,"
    players = {player["aria-label"]: player["src"] or "" for player in reader.all("audio")}
    assert list(players) == [f"What would be left out of {stem} of a.flac" for stem in ("drums", "vocals")]
    for number, source in enumerate(players.values()):
        assert (
            base64.b64decode(source.removeprefix(prefix), validate=True)
            == (folder / "cuts" / f"{number}.flac").read_bytes()
        )
    told = " ".join(reader.text.split())
    assert "drums: 20.0 s of silence cut. Kept: 40.0 s of 1 min 0 s. Left out: 0:00.0 to 0:10.0" in told
    assert "vocals: hardly any of it." in told
    assert "Kept whole: bass." in told
    assert "separation.min_energy_share" in told


def test_files_that_are_one_stem_together_are_shown_and_heard_once(folder):
    write_clip(folder / "cuts" / "0.flac")
    files = [
        partial(f"song/drums {name}.wav", "cuts/0.flac", track="song") for name in ("kick", "snare", "hats")
    ]
    reader = read(report_on(files), {("song", "vocals"): [0.5] * 400}, folder)
    assert len(strips_of(reader)) == 1
    assert len(reader.all("audio")) == 1
    assert "song/drums kick.wav, song/drums snare.wav, song/drums hats.wav" in reader.text


def test_a_clip_for_which_the_page_has_no_room_is_named(folder, monkeypatch):
    monkeypatch.setattr(doctor_page, "MOST_PLAYERS", 1)
    for number in range(2):
        write_clip(folder / "cuts" / f"{number}.flac")
    file = separated("a.flac", cut("bass", "cuts/0.flac"), cut("drums", "cuts/1.flac"))
    reader = read(report_on([file]), {}, folder)
    assert [player["aria-label"] for player in reader.all("audio")] == [
        "What would be left out of bass of a.flac"
    ]
    assert "To be heard in cuts/1.flac beside this page." in reader.text
    assert "cuts/0.flac" not in reader.text


def test_a_warning_of_a_file_stands_once(report, outlines, folder):
    assert read(report, outlines, folder).text.count("0.4% of samples are at full scale") == 1


def test_a_folded_list_of_warnings_says_how_many_are_of_clipping(tmp_path):
    files = [kept(f"{number}.wav", warnings=["DC offset"]) for number in range(4)]
    files += [kept(f"loud {number}.wav", warnings=["loud"], clipped_share=0.02) for number in range(3)]
    text = read(report_on(files), {}, tmp_path).text
    assert "7 files have warnings of their own, 3 of them of clipping" in text
    assert "of clipping" not in read(report_on(files[:4]), {}, tmp_path).text


def test_the_configured_row_and_column_of_the_floor_can_be_heard(report, outlines, folder):
    reader = read(report, outlines, folder)
    labels = [player["aria-label"] for player in reader.all("audio")]
    assert [label for label in labels if (label or "").startswith("drums")] == [
        "drums at 16,000 Hz, 256 levels",
        "drums at 8,000 Hz, 256 levels",
        "drums at 44,100 Hz, 256 levels",
        "drums at 16,000 Hz, 64 levels",
        "drums at 16,000 Hz, 1,024 levels",
    ]
    assert "All 9 clips are files in the folder clips/drums beside this page" in reader.text
    assert reader.text.count("as configured") == 4  # a cell and a caption for each stem


def test_nothing_found_makes_a_page_that_says_so(tmp_path):
    empty = replace(report_on([]), totals=Totals(0, 0, 0, 0, {}))
    text = read(empty, {}, tmp_path).text
    assert "There is nothing to learn from." in text
    assert text.count("Nothing") == 2  # dropped, and kept in part


def test_near_duplicates_across_splits_are_told_first(tmp_path):
    near = [NearCopy("b.mp3", 1.28, 0.941, True), NearCopy("c.wav", 0.0, 0.7, False)]
    files = [
        kept("a.wav", near_duplicates=near),
        kept("b.mp3", split="heldout", near_duplicates=[NearCopy("a.wav", -1.28, 0.941, True)]),
        kept("c.wav", near_duplicates=[NearCopy("a.wav", 0.0, 0.7, False)]),
    ]
    text = read(report_on(files), {}, tmp_path).text
    assert text.index("different") < text.index("the same", text.index("Splits"))
    assert table_of(report_on(files), "Near-duplicates") == [
        ["a.wav", "b.mp3", "+1.3 s", "94%", "different"],
        ["a.wav", "c.wav", "+0.0 s", "70%", "the same"],
    ]


def test_near_duplicates_within_two_files_are_told_apart_by_their_stems():
    files = [
        kept(path, track=path, stem=stem, part=stem, near_duplicates=[NearCopy(other, 0.5, 0.9, False, stem)])
        for path, other in (("x.mp4", "y.mp4"), ("y.mp4", "x.mp4"))
        for stem in ("bass", "drums")
    ]
    assert [row[:2] for row in table_of(report_on(files), "Near-duplicates")] == [
        ["x.mp4 [bass]", "y.mp4 [bass]"], ["x.mp4 [drums]", "y.mp4 [drums]"],
    ]  # fmt: skip


def test_of_very_many_near_duplicates_the_worst_are_listed_and_the_rest_is_counted(tmp_path):
    near = [NearCopy(f"{number}.wav", 0.0, 1 - number / 1e4, number == 900) for number in range(1500)]
    report = report_on([kept("a.wav", near_duplicates=near)])
    rows = table_of(report, "Near-duplicates")
    assert [row[1] for row in rows[:3]] == ["900.wav", "0.wav", "1.wav"]
    assert (len(rows), rows[-1]) == (11, ["and 1,490 more, in the JSON", "", "", "", ""])
    text = read(report, {}, tmp_path).text
    assert "1,500 pairs" in text
    assert "500 more, that agree less, are in doctor.json" in text


def test_exact_copies_are_listed_with_what_they_are_copies_of(tmp_path):
    files = [kept("a.wav"), dropped("b.flac", "the same recording as a.wav", duplicate_of="a.wav")]
    text = read(report_on(files), {}, tmp_path).text
    assert "the same as a.wav" in text
    assert "1 exact copy is listed with copies" in text


def test_page_refers_to_nothing_outside_itself(report, outlines, folder):
    reader = read(report, outlines, folder)
    references = [
        value or "" for _, attributes in reader.elements for name, value in attributes.items()
        if name in {"src", "href", "srcset", "poster", "action", "data"}
    ]  # fmt: skip
    assert references
    assert all(reference.startswith(("data:", "#")) for reference in references)
    shell = re.sub(r"data:[\w/]+;base64,[\w+/=]+", "", render(report, outlines, folder))
    assert "://" not in shell
    assert set(re.findall(r"url\((.*?)\)", shell)) == {"#hatch"}
    assert "@import" not in shell
    (policy,) = [meta["content"] for meta in reader.all("meta") if "http-equiv" in meta]
    assert "default-src 'none'" in (policy or "")


@pytest.mark.parametrize("field", ["title", "warnings", "config_yaml"])
def test_what_a_report_says_never_becomes_markup(report, outlines, folder, field):
    reader = read(replace(report, **{field: [NASTY] if field == "warnings" else NASTY}), outlines, folder)
    assert len(reader.all("script")) == 1  # the page's own
    assert NASTY in reader.text


@pytest.mark.parametrize("field", ["path", "reason", "stem", "split", "codec", "duplicate_of", "warnings"])
@pytest.mark.parametrize("make", [kept, partial, dropped])
def test_what_a_file_says_never_becomes_markup(tmp_path, make, field):
    file = replace(make("song.wav"), **{field: [NASTY] if field == "warnings" else NASTY})
    near = [NearCopy(NASTY, 0.0, 0.9, True)]
    write_clip(tmp_path / "cuts" / "0.wav")
    if file.stems and field in ("reason", "stem"):  # of a file that is kept in part the page says its stem's
        other = replace(cut("bass"), **{field: NASTY})
        file = replace(file, stems=[cut("vocals", "cuts/0.wav"), other, replace(other, verdict="kept")])
    outlines = {(file.track or "", stem.stem): [0.1, 0.9] for stem in file.stems}
    reader = read(report_on([replace(file, near_duplicates=near)]), outlines, tmp_path)
    assert len(reader.all("script")) == 1
    assert NASTY in reader.text


def test_stem_names_never_become_markup(tmp_path):
    totals = Totals(0, 0, 0, 0, {NASTY: {"train": 1.0, NASTY: 2.0}})
    clip = write_clip(tmp_path / "clips" / "x.wav")
    one = replace(floors("drums")[4], stem=NASTY, law=NASTY, clip=clip.relative_to(tmp_path).as_posix())
    reader = read(replace(report_on([]), totals=totals, quantization=[one]), {}, tmp_path)
    assert len(reader.all("script")) == 1
    assert len(reader.all("audio")) == 1
    assert reader.text.count(NASTY) == 4  # row and column of the totals, heading and law of the floor


def test_a_name_with_stray_bytes_can_be_written(tmp_path):
    assert "caf\\udce9.wav" in render(report_on([dropped("caf\udce9.wav")]), {}, tmp_path)


def test_same_report_gives_same_bytes(report, outlines, folder):
    assert render(report, outlines, folder) == render(report, outlines, folder)


def test_what_is_unknown_is_a_dash(tmp_path):
    unread = kept("a.wav", peak_db=None, loudness_lufs=float("-inf"), clipped_share=float("nan"), codec=None)
    html = render(report_on([unread, partial("b.wav", seconds=None, kept_seconds=None)]), {}, tmp_path)
    text = PageReader(html).text
    assert not re.search(r"\bNone\b(?!\.)|\bnan\b|\binf\b", text)


def test_headings_are_in_order(report, outlines, folder):
    levels = [
        int(tag[1]) for tag, _ in read(report, outlines, folder).elements if re.fullmatch("h[1-6]", tag)
    ]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1


def test_identifiers_are_unique_and_every_label_refers_to_one(report, outlines, folder):
    elements = read(report, outlines, folder).elements
    identifiers = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    labels = {attributes["aria-labelledby"] for _, attributes in elements if "aria-labelledby" in attributes}
    assert labels <= set(identifiers)


def test_five_thousand_files_make_a_page_that_opens(tmp_path):
    clip = write_clip(tmp_path / "cuts" / "0.wav", 10.0, 16000)
    clips = [shutil.copy(clip, clip.with_name(f"{number}.wav")) for number in range(1, 150)]
    files = [kept(f"songs/{number:04d}/drums.wav", warnings=["at full scale"]) for number in range(3600)]
    files += [dropped(f"art/{number}.jpg", f"reason {number % 600}") for number in range(1000)]
    cuts = [f"cuts/{Path(clip).name}" for clip in clips] + [None] * 251
    files += [partial(f"songs/{number:04d}/vocals.wav", clip) for number, clip in enumerate(cuts)]
    outlines = {(file.path, "vocals"): [0.123] * 400 for file in files[-400:]}
    html = render(report_on(files), outlines, tmp_path)
    reader = PageReader(html)
    assert len(html) < 40e6
    assert len(strips_of(reader)) == 100
    assert 30 < len(reader.all("audio")) <= doctor_page.MOST_PLAYERS
    assert sum("open" in details for details in reader.all("details")) == 0
    assert reader.text.count("To be heard in cuts/") == 100 - len(reader.all("audio"))
    assert "300 more, of which less is left out, are in the table of all files, and clips" in reader.text
    assert [file.path for file in files if file.path not in reader.text] == []


def test_a_clip_that_is_missing_or_torn_has_no_player(report, outlines, folder):
    (folder / "clips" / "drums" / "16000-256.wav").unlink()
    (folder / "clips" / "drums" / "8000-256.wav").write_bytes(b"RIFF")
    labels = [player["aria-label"] for player in read(report, outlines, folder).all("audio")]
    assert "drums at 16,000 Hz, 64 levels" in labels
    assert not {"drums at 16,000 Hz, 256 levels", "drums at 8,000 Hz, 256 levels"} & set(labels)


def test_tables_for_a_terminal_have_the_same_length_in_every_row(report):
    for title, head, rows in doctor_table(report):
        assert title
        assert {len(row) for row in rows} == {len(head)}
        assert all(isinstance(cell, str) for row in rows for cell in row)


def test_the_terminal_is_told_totals_files_and_floors(report):
    usable, files, measures, floor = doctor_table(report)
    assert usable[0].startswith("11 files: 2 kept, 1 in part, 8 dropped; ")
    assert usable[0].endswith("; layout: album (guessed)")
    assert usable[1:] == (["Stem", "Train", "Held out"], [["drums", "1 h 2 min", "5 min 0 s"]])
    assert [row[:2] for row in files[2]] == [
        ["cover.mp3", "dropped"],
        ["art/0.jpg and 6 more", "dropped"],
        ["a/vocals.wav", "in part"],
        ["b/drums.wav", "kept"],
        ["a/drums.wav", "kept"],
    ]
    assert files[2][-2][2] == "all of it sounds; 0.4% of samples are at full scale"
    minus = "\N{MINUS SIGN}"
    assert measures[2][-1] == [
        "b/drums.wav", "1:00.0", "44.1", "2", f"{minus}3.0", f"{minus}17.8", "0.4%", "0%", "+0.000",
    ]  # fmt: skip
    assert floor[0].startswith("Quantization floor at 16,000 Hz")
    assert floor[1] == ["Stem", "64 levels", "256 levels", "1,024 levels"]
    assert floor[2] == [["drums", "80.0", "272.0*", "1,040.0"], ["vocals", "80.0", "272.0*", "1,040.0"]]


def test_the_floor_of_an_only_stem_is_told_for_every_rate():
    (title, head, rows) = doctor_table(report_on([], quantization=floors("drums")))[-1]
    assert title == "Quantization floor of drums, dB (* as configured)"
    assert head == ["", "8,000 Hz", "16,000 Hz", "44,100 Hz"]
    assert rows[1] == ["256 levels", "264.0", "272.0*", "300.1"]


def test_a_floor_of_clipped_peaks_is_marked_and_told_apart_from_rounding(tmp_path):
    *others, last = floors("drums")
    loud = [*others, replace(last, overshoots=True)]
    (title, _, rows) = doctor_table(report_on([], quantization=loud))[-1]
    assert title == "Quantization floor of drums, dB (* as configured; † of peaks clipped at that rate)"
    assert [cell for row in rows for cell in row if "†" in cell] == ["1,068.1†"]
    assert "† Less the levels" in read(report_on([], quantization=loud), {}, tmp_path).text
    assert "†" not in read(report_on([], quantization=floors("drums")), {}, tmp_path).text


def test_of_very_many_files_the_terminal_lists_those_that_need_a_look():
    near = [NearCopy("1.wav", 0.0, 0.9)]
    files = [kept(f"{number}.wav", near_duplicates=near) for number in range(500)]
    files += [kept("loud.wav", warnings=["clipped"]), partial("vocals.wav")]
    files += [kept(f"{number}.mid", role="score", seconds=None) for number in range(500)]
    report = report_on(files)
    assert table_of(report, "Files") == [
        ["vocals.wav", "in part", "20.0 s of silence cut"],
        ["loud.wav", "kept", "all of it sounds; clipped"],
        ["0.wav and 499 more", "kept", "all of it sounds"],
        ["0.mid and 499 more", "used as score", "all of it sounds"],
    ]
    assert [row[0] for row in table_of(report, "Measures of files to look at")] == ["vocals.wav", "loud.wav"]


def test_of_very_many_problems_the_worst_are_listed_and_the_rest_is_counted():
    files = [dropped(f"{number}.wav", f"truncated at {number} s") for number in range(300)]
    files += [dropped(f"{number}.jpg", "no audio", role="other") for number in range(300)]
    files += [partial(f"{number} part.wav", kept_seconds=number) for number in range(40)]
    files += [
        kept(f"{number} loud.wav", warnings=["loud"], clipped_share=number / 99) for number in range(40)
    ]
    rows = table_of(report_on(files), "Files")
    assert len(rows) == 3 * 11
    assert rows[0] == ["0.wav", "dropped", "truncated at 0 s"]
    assert rows[10] == ["and 590 more, in the JSON", "dropped", ""]
    assert [rows[11][0], rows[21]] == ["0 part.wav", ["and 30 more, in the JSON", "", ""]]
    assert rows[22][0] == "39 loud.wav"
    assert sum(len(rows) for _, _, rows in doctor_table(report_on(files))) < 50


def test_an_album_without_a_problem_fits_a_screen():
    titles = {f"{number:02d} - A Title of Some Length.flac" for number in range(1, 13)}
    one = floors("mix")
    tables = doctor_table(report_on([kept(title) for title in sorted(titles)], quantization=one))
    assert sum(4 + len(rows) for _, _, rows in tables) < 30  # title, head and its lines


def test_rows_of_one_file_are_told_apart_and_counted_as_one_file(folder):
    stems = [
        partial("x.mp4", "cuts/0.flac", track="x", stem="drums", stream=1),
        partial("x.mp4", "cuts/1.flac", track="x", stem="bass", stream=2),
        kept("x.mp4", role="mixture", stem=None, seconds=None, stream=0),
        kept("y.wav", start=10.0, end=30.0, seconds=20.0, file_seconds=40.0),
    ]
    stems[1] = replace(stems[1], stems=[cut("bass", "cuts/1.flac")])
    stems[0] = replace(stems[0], stems=[cut("drums", "cuts/0.flac")])
    for number in range(2):
        write_clip(folder / "cuts" / f"{number}.flac")
    outlines = {("x", "drums"): [0.5] * 400, ("x", "bass"): [0.0, 1.0] * 200}
    reader = read(report_on(tell_apart(stems)), outlines, folder)
    assert [player["aria-label"] for player in reader.all("audio")] == [
        "What would be left out of x.mp4 [drums]", "What would be left out of x.mp4 [bass]",
    ]  # fmt: skip
    drawn = [path["d"] for path in reader.all("path")]
    assert drawn == [outline_path(outlines["x", "drums"]), outline_path(outlines["x", "bass"])]
    text = " ".join(reader.text.split())
    assert "3 parts of 2 files, with their measures" in text
    assert "x.mp4 [mixture]used as mixture: " in text
    assert "0:20.0 of 0:40" in text
    assert "y.wav [0:10-0:30]" in text


def test_the_page_says_how_the_input_was_read(tmp_path):
    guessed = read(report_on([], layout="stems"), {}, tmp_path).text
    assert "Layout: stems (guessed). If that is not how your files lie, say ingest.layout." in guessed
    said = read(report_on([], layout="stems", layout_guessed=False), {}, tmp_path).text
    assert "Layout: stems." in said


def test_notes_that_the_warnings_leave_out_are_on_the_page_folded(tmp_path):
    notes = [f"song {number}: no score" for number in range(200)]
    report = report_on([], warnings=["200 songs, such as song 0: no score"], notes=notes)
    reader = read(report, {}, tmp_path)
    assert "200 notes on single songs" in reader.text
    assert [note for note in notes if note not in reader.text] == []
    assert all("open" not in details for details in reader.all("details")[:1])


def test_of_many_stretches_the_first_are_told():
    regions = [(float(start), start + 1.0) for start in range(0, 12, 2)]
    assert format_regions(regions, 2) == "0:00.0 to 0:01.0, 0:02.0 to 0:03.0, and 4 more"


def test_small_shares_are_not_rounded_to_nothing():
    assert [format_percent(share) for share in (None, 0.0, 0.0001, 0.0123, 0.5, 0.9951, 0.9999, 1.0)] == [
        UNKNOWN, "0%", "<0.1%", "1.2%", "50%", "99.5%", ">99.9%", "100%",
    ]  # fmt: skip


def test_an_outline_fills_its_strip_and_silence_stays_a_line():
    assert outline_path([]) == ""
    assert outline_path([0.0, 0.25]) == "M0 49L400 0L400 100L0 51Z"


PROBE = """<script>
addEventListener("load", async () => {
  const players = [...document.querySelectorAll("audio")];
  const known = player => player.readyState >= 1 || new Promise(done => player.onloadedmetadata = done);
  await Promise.all(players.map(known));
  document.body.dataset.durations = players.map(player => player.duration).join(" ");
  document.body.dataset.overflow = document.documentElement.scrollWidth > innerWidth;
  const hatched = document.querySelector(".strip rect").getBoundingClientRect();
  document.body.dataset.hatched = hatched.width > 10 && hatched.height > 10;
});
</script>"""


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_plays_every_clip_and_nothing_hangs_over_a_narrow_screen(report, outlines, folder):
    long = [kept("x" * 200 + ".wav"), dropped("y" * 200), partial("z" * 200 + ".wav")]
    wide = replace(report, files=[*report.files, *long])
    probed = render(wide, outlines, folder).replace("</body>", PROBE + "</body>")
    (folder / "doctor.html").write_text(probed, encoding="utf-8")
    body = next(iter(PageReader(open_in_chromium(folder / "doctor.html", folder / "profile")).all("body")))
    assert [float(seconds) for seconds in (body["data-durations"] or "").split()] == [0.25] * 11
    assert body["data-overflow"] == "false"
    assert body["data-hatched"] == "true"


def open_in_chromium(path: Path, profile: Path) -> str:
    """The page's DOM once it has settled, on a screen as narrow as headless Chromium makes it."""
    switches = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
                "disable-background-networking", "disable-component-update", "disable-dev-shm-usage",
                f"user-data-dir={profile}", "window-size=375,800", "virtual-time-budget=10000",
                "dump-dom"]  # fmt: skip
    command = [str(CHROMIUM), *(f"--{switch}" for switch in switches), path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
