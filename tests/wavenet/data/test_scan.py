"""Every file of a folder is part of a song or set aside with a reason, whatever its name."""

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.data.scan import LONGEST_STEM_NAME, WORKSPACE_MARK, relative_name, scan_folder, stem_name
from wavenet.errors import NoAudioError

STEM_FILES = ["drums.wav", "bass.wav", "vocals.flac"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "music").mkdir()
    return tmp_path / "music"


def fill(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def songs_of(scan):
    return {song.name: sorted(song.stems) for song in scan.songs}


def reasons_of(scan):
    return {one.path: one.reason for one in scan.set_aside}


def used_files(scan):
    return [path for song in scan.songs for path in [*song.stems.values(), song.mixture] if path is not None]


def test_finished_tracks_are_an_album(folder):
    scan = scan_folder(fill(folder, "b.mp3", "a.wav", "C.FLAC"))
    assert scan.layout == "album"
    assert songs_of(scan) == {"C": ["mix"], "a": ["mix"], "b": ["mix"]}
    assert [song.name for song in scan.songs] == ["C", "a", "b"]


def test_folders_of_stems_are_songs(folder):
    fill(folder, *(f"{song}/{stem}" for song in ("two", "one") for stem in STEM_FILES))
    scan = scan_folder(folder)
    assert scan.layout == "stems"
    assert songs_of(scan) == {"one": ["bass", "drums", "vocals"], "two": ["bass", "drums", "vocals"]}
    assert scan.songs[0].stems["vocals"] == folder / "one" / "vocals.flac"


def test_one_song_of_stems_is_named_by_its_folder(folder):
    assert songs_of(scan_folder(fill(folder, *STEM_FILES))) == {"music": ["bass", "drums", "vocals"]}


def test_nesting_is_as_you_like(folder):
    fill(folder, "artist/2001 album/01 song.wav", "artist/2003/disc 2/song.wav", "song.wav")
    assert sorted(songs_of(scan_folder(folder))) == [
        "artist/2001 album/01 song",
        "artist/2003/disc 2/song",
        "song",
    ]


def test_one_known_name_makes_no_song_of_stems(folder):
    assert scan_folder(fill(folder, "Drums.wav", "Other people.wav")).layout == "album"


def test_two_containers_of_one_name_make_no_song_of_stems(folder):
    assert scan_folder(fill(folder, "drums.wav", "drums.flac")).layout == "album"


def test_one_folder_of_stems_decides_for_all(folder):
    fill(folder, "a/drums.wav", "a/BASS.wav", "b/drums.wav", "b/theremin.wav")
    assert songs_of(scan_folder(folder)) == {"a": ["bass", "drums"], "b": ["drums", "theremin"]}


def test_an_album_beside_songs_of_stems_is_set_aside_unless_stems_are_asked_for(folder):
    fill(folder, "a/drums.wav", "a/bass.wav", "album/01 intro.wav", "album/02 love.wav")
    scan = scan_folder(folder)
    assert songs_of(scan) == {"a": ["bass", "drums"]}
    assert "ingest.layout=stems" in reasons_of(scan)["album/01 intro.wav"]
    assert set(songs_of(scan_folder(folder, "stems"))) == {"a", "album"}


def test_a_workspace_inside_the_folder_is_not_music(folder):
    fill(folder, "a.wav", "workspace/store/takes/x/take.wav")
    (folder / "workspace" / WORKSPACE_MARK).touch()
    scan = scan_folder(folder)
    assert songs_of(scan) == {"a": ["mix"]}
    assert reasons_of(scan) == {"workspace": "a workspace of Waveband's own"}


@pytest.mark.parametrize("layout", ["album", "stems"])
def test_a_layout_that_is_asked_for_is_taken(folder, layout):
    scan = scan_folder(fill(folder, "drums.wav", "bass.wav"), layout, track_stem="band")
    assert scan.layout == layout
    album = {"bass": ["band"], "drums": ["band"]}
    assert songs_of(scan) == (album if layout == "album" else {"music": ["bass", "drums"]})


def test_a_mixture_is_kept_apart(folder):
    scan = scan_folder(fill(folder, "a/drums.wav", "a/Mixture.wav", "b/drums.wav", "b/bass.wav"))
    assert songs_of(scan) == {"a": ["drums"], "b": ["bass", "drums"]}
    assert scan.songs[0].mixture == folder / "a" / "Mixture.wav"
    assert scan.songs[1].mixture is None


def test_a_mixture_alone_is_set_aside(folder):
    scan = scan_folder(fill(folder, "a/mixture.wav", "b/drums.wav", "b/bass.wav"))
    assert songs_of(scan) == {"b": ["bass", "drums"]}
    assert reasons_of(scan) == {"a/mixture.wav": "a mixture with no stems beside it"}


def test_a_second_file_for_a_stem_is_set_aside(folder):
    scan = scan_folder(fill(folder, "a/Drums.wav", "a/drums.flac", "a/DRUMS!.wav", "a/bass.wav"))
    assert songs_of(scan) == {"a": ["bass", "drums"]}
    assert scan.songs[0].stems["drums"].name == "DRUMS!.wav"  # the first by name
    assert reasons_of(scan) == {
        "a/Drums.wav": "a second file for stem 'drums' beside DRUMS!.wav",
        "a/drums.flac": "a second file for stem 'drums' beside DRUMS!.wav",
    }


def test_a_stem_named_without_letters_is_set_aside(folder):
    scan = scan_folder(fill(folder, "a/🥁.wav", "a/drums.wav", "a/bass.wav"))
    assert reasons_of(scan) == {"a/🥁.wav": "no letter or digit in the stem's name"}


def test_loose_files_beside_songs_of_stems_are_set_aside(folder):
    scan = scan_folder(fill(folder, "rough mix.wav", "a/drums.wav", "a/bass.wav"))
    assert songs_of(scan) == {"a": ["bass", "drums"]}
    assert "put it in a folder of its own" in reasons_of(scan)["rough mix.wav"]


def test_what_is_no_audio_by_its_name_is_set_aside(folder):
    scan = scan_folder(fill(folder, "a.wav", "cover.jpg", "a.wav.part", "README", "notes.mid"))
    assert songs_of(scan) == {"a": ["mix"]}
    assert reasons_of(scan) == {
        "README": "not an audio file by its name (no suffix)",
        "a.wav.part": "not an audio file by its name (.part)",
        "cover.jpg": "not an audio file by its name (.jpg)",
        "notes.mid": "not an audio file by its name (.mid)",
    }


def test_hidden_files_and_folders_are_set_aside(folder):
    scan = scan_folder(fill(folder, "a.wav", "._a.wav", ".DS_Store", ".trash/b.wav", "x/.cache/c.wav"))
    assert songs_of(scan) == {"a": ["mix"]}
    assert reasons_of(scan) == {
        "._a.wav": "a hidden file",
        ".DS_Store": "a hidden file",
        ".trash": "a hidden folder",
        "x/.cache": "a hidden folder",
    }


def test_links_to_folders_are_set_aside_and_links_to_files_are_used(folder, tmp_path):
    fill(tmp_path / "elsewhere", "a.wav")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    (folder / "b.wav").symlink_to(tmp_path / "elsewhere" / "a.wav")
    scan = scan_folder(folder)
    assert songs_of(scan) == {"b": ["mix"]}
    assert set(reasons_of(scan)) == {"linked", "loop"}


def test_what_would_never_end_or_begin_is_set_aside(folder):
    os.mkfifo(folder / "pipe.wav")
    (folder / "broken.wav").symlink_to(folder / "nowhere.wav")
    scan = scan_folder(fill(folder, "a.wav"))
    assert songs_of(scan) == {"a": ["mix"]}
    assert set(reasons_of(scan)) == {"pipe.wav", "broken.wav"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_set_aside(folder):
    fill(folder, "a.wav", "locked/b.wav")
    (folder / "locked").chmod(0)
    try:
        assert "cannot be read" in reasons_of(scan_folder(folder))["locked"]
    finally:
        (folder / "locked").chmod(0o755)


def test_a_folder_named_like_audio_is_a_folder(folder):
    assert songs_of(scan_folder(fill(folder, "x.wav/a.wav"))) == {"x.wav/a": ["mix"]}


def test_names_that_are_not_valid_utf8_are_set_aside(folder):
    fill(folder, "good.wav", os.fsdecode(b"caf\xe9.wav"), os.fsdecode(b"d\xe9mos/a.wav"))
    scan = scan_folder(folder)
    assert songs_of(scan) == {"good": ["mix"]}
    assert list(reasons_of(scan)) == ["d\ufffdmos", "caf\ufffd.wav"]
    assert all("not valid UTF-8" in reason for reason in reasons_of(scan).values())


NAMES = [
    "it's",
    '"quoted"',
    "two  spaces ",
    "new\nline",
    "音楽",
    "Ünïcödé",
    "🎵🥁",
    "<b>&amp;",
    "%s {x} $HOME `ls`",
    "a.b.c",
    "-rf",
    "x" * 240,
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_a_song(folder, name):
    assert songs_of(scan_folder(fill(folder, f"{name}.wav"))) == {name: ["mix"]}


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_a_song_of_stems(folder, name):
    assert songs_of(scan_folder(fill(folder, f"{name}/drums.wav", f"{name}/bass.wav"))) == {
        name: ["bass", "drums"]
    }


@pytest.mark.parametrize(
    ("file_name", "stem"),
    [
        ("Drums", "drums"),
        (" Lead  Vocal (take 2)!", "lead-vocal-take-2"),
        ("_bass_", "bass"),
        ("Gitarre_links", "gitarre_links"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("ドラム", "ドラム"),
        ("te\u0301nor", "ténor"),
        ("../../etc/passwd", "etc-passwd"),
        ("🥁", ""),
        ("---", ""),
    ],
)
def test_a_stem_is_named_in_lower_case_words(file_name, stem):
    assert stem_name(file_name) == stem


def test_long_names_that_begin_alike_are_two_stems(folder):
    title = "the artist - the very long title of a song - "
    scan = scan_folder(fill(folder, f"{title}drums.wav", f"{title}bass.wav"), "stems")
    assert scan.set_aside == []
    assert len(scan.songs[0].stems) == 2
    assert all(len(stem) <= LONGEST_STEM_NAME for stem in scan.songs[0].stems)


@given(st.text(max_size=80))
def test_a_stems_name_is_safe_and_is_its_own_name(text):
    name = stem_name(text)
    assert len(name) <= LONGEST_STEM_NAME
    assert "/" not in name
    assert not name.startswith((".", "-"))
    assert stem_name(name) == name


def test_two_containers_of_one_track_have_two_names(folder):
    scan = scan_folder(fill(folder, "a.wav", "a.flac", "b.mp3", "c.wav.flac", "c.wav", "c.mp3"))
    assert sorted(songs_of(scan)) == ["a.flac", "a.wav", "b", "c.mp3", "c.wav", "c.wav.flac"]


def test_an_empty_folder_holds_no_audio(folder):
    with pytest.raises(NoAudioError, match=r"no audio in it .*\(found nothing at all\); expected .*\.wav"):
        scan_folder(folder)


def test_a_folder_of_no_audio_says_what_it_found(folder):
    with pytest.raises(NoAudioError, match=r"found 2 of no use, such as a\.txt: not an audio file"):
        scan_folder(fill(folder, "a.txt", "b.txt"))


def test_a_folder_whose_audio_is_all_set_aside_says_why(folder):
    with pytest.raises(NoAudioError, match=r"mixture\.wav: a mixture with no stems beside it"):
        scan_folder(fill(folder, "mixture.wav"), "stems")


@pytest.mark.parametrize("name", ["nowhere", "a.wav"])
def test_what_is_no_folder_is_refused(folder, name):
    fill(folder, "a.wav")
    with pytest.raises(NoAudioError, match=f"{name}: no such folder; --input expects a folder"):
        scan_folder(folder / name)


def test_a_folder_whose_own_name_is_not_valid_utf8_is_refused(folder):
    fill(folder, os.fsdecode(b"caf\xe9/a.wav"))
    with pytest.raises(NoAudioError, match="not valid UTF-8") as caught:
        scan_folder(folder / os.fsdecode(b"caf\xe9"))
    str(caught.value).encode()  # can be printed


PARTS = st.sampled_from(
    ["a", "b", ".x", "Drums", "drums", "bass", "mixture", "🎵", "a.wav", "other!", os.fsdecode(b"\xe9")]
)
FILES = st.tuples(
    st.lists(PARTS, max_size=2), PARTS, st.sampled_from([".wav", ".FLAC", ".mp3", ".txt", "", ".part"])
)


@settings(max_examples=60)
@given(st.lists(FILES, min_size=1, max_size=12), st.sampled_from(["auto", "album", "stems"]))
def test_every_file_is_in_one_song_or_set_aside(files, layout):
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for folders, stem, suffix in files:
            path = root.joinpath(*folders, stem + suffix)
            if not any(parent.is_file() for parent in path.parents) and not path.is_dir():
                fill(root, path.relative_to(root))
        there = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
        try:
            scan = scan_folder(root, layout)
        except NoAudioError:
            return
    places = Counter(relative_name(root, path) for path in used_files(scan))
    places.update(one.path for one in scan.set_aside)
    for path in there:
        it_or_its_folders = [relative_name(root, root / part) for part in [path, *path.parents[:-1]]]
        assert sum(places[name] for name in it_or_its_folders) == 1
    assert len({song.name for song in scan.songs}) == len(scan.songs)
    assert all(song.stems for song in scan.songs)
