"""A manifest's rows are songs or set aside by line, and a scan that is written is read again as it was."""

import json
import tempfile
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.audio.decoding import AudioSource
from wavenet.data.layouts.stems import stem_name
from wavenet.data.listing import open_listing
from wavenet.data.manifest_entries import COLUMNS
from wavenet.data.manifests import write_manifest_csv
from wavenet.data.scan import scan_input
from wavenet.data.songs import Song
from wavenet.errors import MetadataError, NoAudioError, WavebandError


@pytest.fixture
def root(tmp_path):
    """A folder of audio files, and a score, that manifests may name."""
    for name in [
        "a.wav",
        "b.flac",
        "one/drums.wav",
        "one/bass.wav",
        "one/bass 2.wav",
        "one/mix.wav",
        "one/n.mid",
    ]:
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "music" / "notes.txt").touch()
    return tmp_path / "music"


def read(root, text, name="list.csv", **more):
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return scan_input(open_listing(root / name, root.parent / "downloads"), **more)


def read_lines(root, *rows):
    return read(root, "\n".join(json.dumps(row) for row in rows), "list.jsonl")


def reasons_of(scan):
    return {one.path: one.reason for one in scan.set_aside}


def test_rows_of_one_track_are_its_stems_and_rows_of_one_stem_are_summed(root):
    scan = read(
        root,
        "path,track,stem\n"
        "one/drums.wav,first,Drums\none/bass.wav,first,bass\none/bass 2.wav,first,bass\n"
        "one/mix.wav,first,mixture\n",
    )
    (song,) = scan.songs
    assert song == Song(
        name="first",
        stems={
            "drums": [AudioSource(root / "one/drums.wav")],
            "bass": [AudioSource(root / "one/bass.wav"), AudioSource(root / "one/bass 2.wav")],
        },
        mixture=AudioSource(root / "one/mix.wav"),
    )
    assert scan.layout == "manifest"
    assert scan.metadata == ["list.csv"]
    assert scan.set_aside == []


def test_a_path_is_enough_and_makes_a_finished_track(root):
    scan = read(root, "path\na.wav\none/mix.wav\n", track_stem="band")
    assert [(song.name, list(song.stems)) for song in scan.songs] == [("a", ["band"]), ("one/mix", ["band"])]
    assert all(song.split is None and song.labels == {} for song in scan.songs)


def test_paths_may_be_relative_absolute_and_addresses(root, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/manifest-test/c d.wav", b"c")
    (tmp_path / "other.wav").touch()
    try:
        address = "memory://manifest-test/c d.wav"
        rows = ["path", "a.wav", "./b.flac", f"{tmp_path}/other.wav", "../music/one/mix.wav", address]
        (root / "list.csv").write_text("\n".join(rows))
        listing = open_listing(root / "list.csv", tmp_path / "downloads")
        scan = scan_input(listing)
        paths = [song.stems["mix"][0].path for song in scan.songs]
        assert paths[:3] == [root / "a.wav", root / "b.flac", tmp_path / "other.wav"]
        assert paths[3] == root / "one/mix.wav"
        assert not paths[4].exists()
        listing.fetch(paths[4])
        assert paths[4].read_bytes() == b"c"
        assert [song.name for song in scan.songs] == ["a", "b", "other", "mix", "c d"]
    finally:
        memory.rm("/manifest-test", recursive=True)


def test_one_file_may_be_several_tracks(root):
    scan = read(root, "path,start,end\na.wav,,10\na.wav,10,20.5\na.wav,20.5,\na.wav,,\n")
    assert {song.name: song.stems["mix"] for song in scan.songs} == {
        "a 0-10 s": [AudioSource(root / "a.wav", 0.0, 10.0)],
        "a 10-20.5 s": [AudioSource(root / "a.wav", 10.0, 20.5)],
        "a 20.5- s": [AudioSource(root / "a.wav", 20.5, None)],
        "a": [AudioSource(root / "a.wav")],
    }


def test_unnamed_tracks_never_join_named_ones(root):
    scan = read(root, "path,track,stem\na.wav,,drums\na.wav,,bass\nb.flac,a,vocals\n")
    assert [song.name for song in scan.songs] == ["a (line 2)", "a (line 3)", "a"]


def test_other_columns_are_labels_and_splits_are_kept(root):
    scan = read(
        root,
        "path,split,genre,labels,licence,stream\n"
        'a.wav,Validation,rock,"{""mood"": ""glad"", ""year"": 1999}",CC0,2\nb.flac,test,,,,\n',
    )
    first, second = scan.songs
    assert (first.split, second.split) == ("heldout", "test")
    assert first.labels == {"genre": "rock", "mood": "glad", "year": "1999"}
    assert (first.licence, second.licence, second.labels) == ("CC0", None, {})
    assert first.stems["mix"][0].stream == 2


@pytest.mark.parametrize(
    "header", ["Path,TRACK,Stem", "PATH;track;STEM", '"Path"\t"Track"\tstem', " Path , track,stem "]
)
def test_columns_are_known_in_capitals_too(root, header):
    delimiter = next(sign for sign in ",;\t" if sign in header)
    (song,) = read(root, f"{header}\r\n" + delimiter.join(["one/drums.wav", "x", "Drums"]) + "\r\n").songs
    assert (song.name, list(song.stems), song.labels) == ("x", ["drums"], {})


def test_keys_of_json_lines_are_known_in_capitals_too(root):
    (song,) = read_lines(root, {"Path": "a.wav", "Genre": "dub"}, {"PATH": "gone.wav"}).songs
    assert (song.name, song.labels) == ("a", {"Genre": "dub"})


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("spilt", "split"),
        ("tracks", "track"),
        ("License", "licence"),
        ("lables", "labels"),
        ("sart", "start"),
    ],
)
def test_a_column_that_is_nearly_one_is_refused_by_name(root, slip, meant):
    message = rf"list\.(csv|jsonl): unknown column '{slip}': did you mean '{meant}'\?.*labels"
    with pytest.raises(MetadataError, match=message):
        read(root, f"path,{slip}\na.wav,x\n")
    with pytest.raises(MetadataError, match=message):
        read_lines(root, {"path": "b.flac"}, {"path": "a.wav", slip: "x"})


@pytest.mark.parametrize(
    "label", ["artist", "style", "mode", "year", "tempo", "genre", "title", "key", "bpm", "mood"]
)
def test_what_people_call_labels_is_one(root, label):
    assert read(root, f"path,{label}\na.wav,x\n").songs[0].labels == {label: "x"}


def test_a_label_that_is_nearly_a_column_goes_into_labels(root):
    written = [Song("a", {"mix": [AudioSource(root / "a.wav")]}, labels={"spilt": "x", "Stem": "y"})]
    write_manifest_csv(written, root / "list.csv")
    assert scan_input(open_listing(root / "list.csv", root.parent / "downloads")).songs == written


def test_a_column_may_not_be_there_twice_in_two_spellings(root):
    with pytest.raises(MetadataError, match=r"list\.csv: names the column track twice"):
        read(root, "path,Track,track\na.wav,x,y\n")


def test_json_lines_say_the_same(root):
    scan = read_lines(
        root,
        {"path": "one/drums.wav", "track": 7, "stem": "drums", "start": 1, "end": 2.5, "live": True},
        {
            "path": "one/bass.wav",
            "track": 7,
            "stem": "bass",
            "labels": {"year": 1999, "none": None},
            "split": "train",
        },
    )
    (song,) = scan.songs
    assert song.name == "7"
    assert song.stems["drums"] == [AudioSource(root / "one/drums.wav", 1.0, 2.5)]
    assert song.labels == {"live": "true", "year": "1999"}
    assert song.split == "train"


def test_a_score_is_of_its_stem_or_of_the_whole_track(root):
    scan = read(
        root,
        "path,track,stem,midi\n"
        "one/drums.wav,first,drums,one/n.mid\none/bass.wav,first,bass,\n,first,,one/n.mid\na.wav,,,one/n.mid\n",
    )
    score = root / "one/n.mid"
    assert [song.scores for song in scan.songs] == [{"drums": score, "": score}, {"": score}]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("gone.wav,,,,,,", "gone.wav: no such file; paths are relative to the manifest"),
        ("a\0.wav,,,,,,", "no such file"),
        ("one,,,,,,", "one: not an audio file by its name"),
        ("notes.txt,,,,,,", "notes.txt: not an audio file by its name"),
        (",,,,,,", "names no path"),
        (",t,drums,,,,one/n.mid", "names no path"),
        ("a.wav,,🥁,,,,", "stem '🥁' has no letter"),
        ("a.wav,,,somewhere,,,", "split 'somewhere': expected train"),
        ("a.wav,,,,-1,,", "start '-1': expected seconds"),
        ("a.wav,,,,nan,,", "start 'nan': expected seconds"),
        ("a.wav,,,,1:30,,", "start '1:30': expected seconds"),
        ("a.wav,,,,,inf,", "end 'inf': expected seconds"),
        ("a.wav,,,,5,5,", "end 5 s is not after start 5 s"),
        ("a.wav,,,,,,gone.mid", "gone.mid: no such file"),
        ("a.wav,,,,,,b.flac", "midi b.flac: not a MIDI file by its name"),
        ("a.wav", "has 1 values under 7 columns"),
        ("b.flac,,,,,,", "repeats line 2"),
        (b"caf\xe9.wav,,,,,,", "is not valid UTF-8"),
        ('"' + "x" * 150_000, "cannot be read as CSV"),
        ("file:///etc/passwd.wav,,,,,,", "no kind of address that is known; expected s3://"),
    ],
)
def test_a_row_of_no_use_is_set_aside_with_its_line(root, row, reason):
    row = row if isinstance(row, bytes) else row.encode()
    header = b"path,track,stem,split,start,end,midi\nb.flac,,,,,,\n"
    scan = read(root, header + row + b"\none/mix.wav,,,,,,\n")
    assert [song.name for song in scan.songs] == ["b", "one/mix"]
    assert list(reasons_of(scan)) == ["list.csv:3"]
    assert reason in reasons_of(scan)["list.csv:3"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "found a list, expected names"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"path": ["a.wav"]}', "path: found a list, expected a plain value"),
        ('{"path": "a\\udce9.wav"}', "path: found a str, expected a plain value in UTF-8"),
        ('{"path": "a.wav", "labels": 7}', "labels: found a int, expected an object"),
        ('{"path": "a.wav", "labels": {"x": []}}', "x: found a list"),
        ('{"path": "a.wav", "x": 1, "labels": {"x": 2}}', "label 'x' has two values"),
        ('{"path": "a.wav", "\\ud800": 1}', "label's name is not valid UTF-8"),
        ('{"path": "a.wav", "start": Infinity}', "expected seconds"),
        ('{"path": "a.wav", "stream": -1}', "stream '-1': expected a number"),
        ('{"path": "a.wav", "stream": 1.5}', "stream '1.5': expected a number"),
    ],
)
def test_a_line_of_no_use_is_set_aside_with_its_number(root, line, reason):
    scan = read(root, f'{{"path": "b.flac"}}\n\n{line}\n', "list.jsonl")
    assert [song.name for song in scan.songs] == ["b"]
    assert reason in reasons_of(scan)["list.jsonl:3"]


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (",train,", ",test,", "line 2 says split train, line 3 test"),
        ("rock,,", "jazz,,", "line 2 says label genre rock, line 3 jazz"),
        (",,CC0", ",,CC BY", "line 2 says licence CC0, line 3 CC BY"),
    ],
)
def test_a_track_that_contradicts_itself_is_set_aside_whole(root, first, second, reason):
    scan = read(
        root,
        "path,track,stem,genre,split,licence\n"
        f"one/drums.wav,first,drums,{first}\none/bass.wav,first,bass,{second}\na.wav,second,drums,,,\n",
    )
    assert [song.name for song in scan.songs] == ["second"]
    assert reasons_of(scan) == {f"list.csv:{line}": f"track 'first': {reason}" for line in (2, 3)}


def test_what_one_row_of_a_track_says_holds_for_it_all(root):
    scan = read(root, "path,track,stem,split,genre\none/drums.wav,t,drums,test,\none/bass.wav,t,bass,,rock\n")
    assert (scan.songs[0].split, scan.songs[0].labels) == ("test", {"genre": "rock"})


def test_two_mixtures_or_a_mixture_alone_are_no_track(root):
    scan = read(
        root,
        "path,track,stem\na.wav,ok,drums\n"
        "one/mix.wav,alone,mixture\none/mix.wav,two,mixture\nb.flac,two,mixture\none/bass.wav,two,bass\n",
    )
    assert [song.name for song in scan.songs] == ["ok"]
    assert "has 0 stems and 1 mixtures" in reasons_of(scan)["list.csv:3"]
    assert "has 1 stems and 2 mixtures" in reasons_of(scan)["list.csv:6"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,stem\na.wav,drums\n", r"list\.csv: has no column path \(found file, stem\)"),
        ("", r"list\.csv: has no column path \(found nothing\)"),
        ("path,x,x\na.wav,1,2\n", r"list\.csv: names the column x twice"),
        (b"path,caf\xe9\na.wav,1\n", r"list\.csv: its first line is not valid UTF-8"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_told_of(root, text, message):
    with pytest.raises(MetadataError, match=message):
        read(root, text)


def test_a_manifest_without_a_single_good_row_is_told_of(root):
    told = r"music/list\.csv: no audio .*found 2 of no use, such as list\.csv:2: x\.wav: no such file"
    with pytest.raises(NoAudioError, match=told):
        read(root, "path\nx.wav\ny.wav\n")


def test_line_numbers_are_those_of_the_file(root):
    scan = read(root, 'path,note\n\na.wav,"two\nlines"\n\ngone.wav,\n')
    assert list(reasons_of(scan)) == ["list.csv:6"]


def test_a_folder_may_be_read_by_the_manifest_in_it(root):
    (root / "manifest.csv").write_text("path,midi\na.wav,one/n.mid\n")
    scan = scan_input(open_listing(root, root.parent / "downloads"), "manifest")
    assert [song.name for song in scan.songs] == ["a"]
    assert scan.metadata == ["manifest.csv", "one/n.mid"]
    assert reasons_of(scan)["b.flac"] == "the manifest does not name it"
    assert reasons_of(scan)["notes.txt"].startswith("not an audio file by its name")


def test_a_folder_without_a_manifest_is_told_what_it_lacks(root):
    with pytest.raises(
        MetadataError, match=r"holds no manifest\.csv or manifest\.jsonl; expected one manifest"
    ):
        scan_input(open_listing(root, root.parent / "downloads"), "manifest")


def test_a_scan_is_kept_with_its_splits(root):
    for name in ["genres/blues/blues.00000.wav", "genres/jazz/jazz.00001.wav"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    scan = scan_input(open_listing(root, root.parent / "downloads"), "gtzan")
    write_manifest_csv(scan, root / "kept.csv")
    assert (root / "kept.csv").read_text().splitlines()[:2] == [
        "path,track,stem,genre",
        "genres/blues/blues.00000.wav,genres/blues/blues.00000,mix,blues",
    ]
    assert scan_input(open_listing(root / "kept.csv", root.parent / "downloads")).songs == scan.songs


def test_a_manifest_elsewhere_names_files_absolutely(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_manifest_csv([Song("a", {"mix": [AudioSource(Path("music/a.wav"))]})], tmp_path / "kept/list.csv")
    (song,) = scan_input(open_listing("kept/list.csv", tmp_path / "downloads")).songs
    assert song.stems["mix"][0].path == root / "a.wav"


FILES = [
    "a.wav",
    "b.flac",
    " spaced .wav",
    'quote"d, comma.wav',
    "new\nline.wav",
    "cr\r.wav",
    "x/ü;🎵.wav",
    "what?.wav",
]
TEXT = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=8)
STEM = st.text(max_size=8).map(stem_name).filter(lambda stem: stem not in {"", "mixture"})
SECONDS = st.floats(0, 1e6, allow_nan=False).map(abs)


@st.composite
def sources(draw):
    start = draw(SECONDS)
    end = draw(st.none() | SECONDS.filter(lambda end: end > start))
    return AudioSource(Path(draw(st.sampled_from(FILES))), start, end, draw(st.integers(0, 9)))


@st.composite
def songs(draw):
    stems = draw(
        st.dictionaries(
            STEM, st.lists(sources(), min_size=1, max_size=2, unique=True), min_size=1, max_size=3
        )
    )
    scored = draw(st.sets(st.sampled_from([*stems, ""])))
    return Song(
        name=draw(TEXT),
        stems=stems,
        mixture=draw(st.none() | sources()),
        scores={stem: Path(draw(st.sampled_from(["n.mid", "x/m.mid"]))) for stem in scored},
        split=draw(st.sampled_from([None, "train", "heldout", "test"])),
        labels=draw(st.dictionaries(TEXT | st.sampled_from([*COLUMNS, "labels"]), TEXT, max_size=3)),
        licence=draw(st.none() | TEXT),
    )


def below(root, song):
    """The song with its files below a folder."""

    def move(source):
        return AudioSource(root / source.path, source.start, source.end, source.stream)

    return Song(
        song.name,
        {stem: [move(source) for source in sources] for stem, sources in song.stems.items()},
        move(song.mixture) if song.mixture else None,
        {stem: root / path for stem, path in song.scores.items()},
        song.split,
        song.labels,
        song.licence,
    )


@settings(max_examples=60)
@given(st.lists(songs(), min_size=1, max_size=4, unique_by=lambda song: song.name))
def test_songs_that_are_written_are_read_again_as_they_were(written):
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for name in [*FILES, "n.mid", "x/m.mid"]:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).touch()
        written = [below(root, song) for song in written]
        write_manifest_csv(written, root / "list.csv")
        scan = scan_input(open_listing(root / "list.csv", root / "downloads"))
        assert scan.set_aside == []
        assert scan.songs == written


CELLS = st.sampled_from(
    ["", "a.wav", "b.flac", "x", "train", "test", "1", "0.5", "-1", "{}", "drums", "mixture", "é\0"]
)


@settings(max_examples=100)
@given(st.lists(st.lists(CELLS, min_size=7, max_size=8), max_size=8))
def test_every_row_is_used_or_set_aside(rows):
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for name in ["a.wav", "b.flac"]:
            (root / name).touch()
        lines = [",".join(["path", "track", "stem", "split", "start", "end", "labels"])]
        (root / "list.csv").write_text("\n".join([*lines, *(",".join(row) for row in rows)]))
        try:
            scan = scan_input(open_listing(root / "list.csv", root / "downloads"))
        except WavebandError:
            return
    used = sum(len(sources) for song in scan.songs for sources in song.stems.values())
    used += sum(song.mixture is not None for song in scan.songs)
    assert used + len(scan.set_aside) == len(rows)
    assert len({one.path for one in scan.set_aside}) == len(scan.set_aside)
