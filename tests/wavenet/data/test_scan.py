"""Every file of a folder is part of a song or set aside with a reason, whatever its name."""

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.audio.decoding import AudioSource
from wavenet.data.folders import relative_name
from wavenet.data.layouts.stems import LONGEST_STEM_NAME
from wavenet.data.listing import open_listing
from wavenet.data.scan import LAYOUTS, NOT_AUDIO, WORKSPACE_MARK, scan_input, stem_name
from wavenet.errors import ConfigError, NoAudioError, WavebandError

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


def scan_folder(root, layout="auto", track_stem="mix"):
    return scan_input(open_listing(root, root / "downloads"), layout, track_stem)


def songs_of(scan):
    return {song.name: sorted(song.stems) for song in scan.songs}


def reasons_of(scan):
    return {one.path: one.reason for one in scan.set_aside}


def audio_files(scan):
    for song in scan.songs:
        for sources in [*song.stems.values(), [song.mixture] if song.mixture else []]:
            yield from (source.path for source in sources)


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
    assert scan.songs[0].stems["vocals"] == [AudioSource(folder / "one" / "vocals.flac")]


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
    assert scan.songs[0].mixture == AudioSource(folder / "a" / "Mixture.wav")
    assert scan.songs[1].mixture is None


@pytest.mark.parametrize("name", ["mix", "Master"])
def test_a_mix_or_a_master_beside_stems_is_their_mixture_and_alone_a_stem(folder, name):
    scan = scan_folder(fill(folder, "a/drums.wav", "a/bass.wav", f"a/{name}.wav", f"b/{name}.wav"), "stems")
    assert songs_of(scan) == {"a": ["bass", "drums"], "b": [name.lower()]}
    assert scan.songs[0].mixture == AudioSource(folder / "a" / f"{name}.wav")
    scan = scan_folder(fill(folder, "a/mixture.wav"), "stems")
    assert scan.songs[0].mixture == AudioSource(folder / "a" / "mixture.wav")
    assert reasons_of(scan) == {f"a/{name}.wav": "a second mixture beside mixture.wav"}


def test_a_mixture_alone_is_set_aside(folder):
    scan = scan_folder(fill(folder, "a/mixture.wav", "b/drums.wav", "b/bass.wav"))
    assert songs_of(scan) == {"b": ["bass", "drums"]}
    assert reasons_of(scan) == {"a/mixture.wav": "a mixture with no stems beside it"}


def test_a_second_file_for_a_stem_is_set_aside(folder):
    scan = scan_folder(fill(folder, "a/Drums.wav", "a/drums.flac", "a/DRUMS!.wav", "a/bass.wav"))
    assert songs_of(scan) == {"a": ["bass", "drums"]}
    assert scan.songs[0].stems["drums"][0].path.name == "DRUMS!.wav"  # the first by name
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


def test_a_single_file_is_a_track(folder):
    fill(folder, "a.wav", "b.wav")
    assert songs_of(scan_folder(folder / "a.wav")) == {"a": ["mix"]}


def test_a_single_file_of_no_audio_is_told_of(folder):
    with pytest.raises(NoAudioError, match=r"such as a\.txt: not an audio file by its name"):
        scan_folder(fill(folder, "a.txt") / "a.txt")


def test_a_manifest_is_not_read_as_an_album(folder):
    with pytest.raises(ConfigError, match=r"a\.csv: ingest\.layout=album does not go with a manifest"):
        scan_folder(fill(folder, "a.csv") / "a.csv", "album")


def test_a_folder_whose_own_name_is_not_valid_utf8_is_refused(folder):
    fill(folder, os.fsdecode(b"caf\xe9/a.wav"))
    with pytest.raises(NoAudioError, match="not valid UTF-8") as caught:
        scan_folder(folder / os.fsdecode(b"caf\xe9"))
    str(caught.value).encode()  # can be printed


def test_a_score_beside_a_finished_track_is_of_the_whole_track(folder):
    fill(folder, "x/a.wav", "x/a.MID", "x/b.wav", "y/b.mid")
    scan = scan_folder(folder)
    assert scan.songs[0].scores == {"": folder / "x" / "a.MID"}
    assert scan.songs[1].scores == {}
    assert scan.metadata == ["x/a.MID"]
    assert reasons_of(scan) == {"y/b.mid": f"{NOT_AUDIO} (.mid)"}


def test_a_score_named_like_a_stem_is_that_stems_and_another_is_the_songs(folder):
    fill(folder, "a/drums.wav", "a/bass.wav", "a/Drums.mid", "a/notes.mid")
    scan = scan_folder(folder)
    assert scan.songs[0].scores == {"drums": folder / "a/Drums.mid", "": folder / "a/notes.mid"}
    assert scan.metadata == ["a/Drums.mid", "a/notes.mid"]
    assert scan.set_aside == []


def test_of_two_scores_of_a_song_none_is_taken(folder):
    fill(folder, "a/drums.wav", "a/bass.wav", "a/take 1.mid", "a/take 2.mid", "a/bass.mid", "a/bass.midi")
    scan = scan_folder(folder)
    assert scan.songs[0].scores == {"bass": folder / "a/bass.mid"}
    assert set(reasons_of(scan)) == {"a/take 1.mid", "a/take 2.mid", "a/bass.midi"}
    assert all(reason.startswith(NOT_AUDIO) for reason in reasons_of(scan).values())


def test_a_score_in_a_folder_without_audio_is_set_aside(folder):
    scan = scan_folder(fill(folder, "a/drums.wav", "a/bass.wav", "scores/drums.mid"))
    assert reasons_of(scan) == {"scores/drums.mid": f"{NOT_AUDIO} (.mid)"}


PARTS = [
    "a",
    "b",
    ".x",
    "Drums",
    "drums",
    "bass",
    "mixture",
    "🎵",
    "a.wav",
    "other!",
    os.fsdecode(b"\xe9"),
    "train",
]
SUFFIXES = [".wav", ".FLAC", ".mp3", ".txt", "", ".part", ".mid"]
MINIATURES = {
    "album": {"one.wav": "", "one.mid": "", "x/two.flac": ""},
    "stems": {
        f"one/{name}": "" for name in ("drums.wav", "bass.wav", "mixture.wav", "bass.mid", "notes.mid")
    },
    "musdb": {
        "train/A - B.stem.mp4": "",
        **{f"test/C - D/{stem}.wav": "" for stem in ("mixture", "drums", "bass", "other", "vocals")},
    },
    "slakh": {
        f"{split}/Track00001/{name}": text
        for split in ("train", "omitted")
        for name, text in {
            "metadata.yaml": "stems: {S00: {inst_class: A}, S01: {inst_class: A}, S02: {inst_class: B}}",
            **dict.fromkeys(
                ["mix.flac", "all_src.mid", "stems/S00.flac", "stems/S01.wav", "stems/S02.wav"], ""
            ),
            **dict.fromkeys(["MIDI/S00.mid", "MIDI/S01.mid", "MIDI/S02.mid"], ""),
        }.items()
    },
    "groove": {
        "info.csv": "drummer,style,bpm,beat_type,midi_filename,audio_filename,split\n"
        "me,rock,120,beat,x/1.mid,x/1.wav,train\nme,rock,120,beat,x/2.mid,,test\n"
        "me,rock,120,beat,x/1.mid,../x.wav,test\nme,rock,120,beat,x/3.mid,x/3.wav,unheard of\n",
        **{f"x/{number}{suffix}": "" for number in (1, 2, 3) for suffix in (".wav", ".mid")},
    },
    "gtzan": {f"genres/{genre}/{genre}.0000{n}.wav": "" for genre in ("blues", "rock") for n in (1, 2)},
    "spoken_digit": {f"recordings/{digit}_me_{n}.wav": "" for digit in (0, 7) for n in (1, 9)},
    "nsynth": {
        "nsynth-test/examples.json": '{"two": {}, "gone": {}, "one": {"instrument_family_str": "bass", '
        '"instrument_source_str": "x", "instrument_str": "bass_x_0", "pitch": 60, "velocity": 100}}',
        **{f"nsynth-test/audio/{note}.wav": "" for note in ("one", "two", "three")},
    },
    "manifest": {
        "manifest.csv": "path,track,stem,midi\n"
        "a.wav,t,drums,b.mid\nb.flac,t,bass,\ngone.wav,,,\na.wav,u,drums,\n",
        **dict.fromkeys(["a.wav", "b.flac", "b.mid", "c.wav"], ""),
    },
}


@st.composite
def inputs(draw):
    """Names with their text: of one layout, most of them, and others of any kind; and the layout to read."""
    layout = draw(st.sampled_from(sorted(MINIATURES)))
    missing = draw(st.sets(st.sampled_from(sorted(MINIATURES[layout])), max_size=2))
    files = {name: text for name, text in MINIATURES[layout].items() if name not in missing}
    for _ in range(draw(st.integers(0, 6))):
        folders = draw(st.lists(st.sampled_from(PARTS), max_size=2))
        name = draw(st.sampled_from(PARTS)) + draw(st.sampled_from(SUFFIXES))
        files.setdefault("/".join([*folders, name]), "")
    return files, draw(st.sampled_from([layout, "auto"]))


def write_all(root, files):
    """Write what can be: a name that is a folder of another's cannot."""
    for name, text in files.items():
        path = root / name
        if not any(parent.is_file() for parent in path.parents) and not path.is_dir():
            fill(root, name)
            path.write_text(text)


@settings(max_examples=150)
@given(inputs())
def test_every_file_is_in_a_song_read_or_set_aside(drawn):
    files, layout = drawn
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write_all(root, files)
        there = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
        try:
            scan = scan_folder(root, layout)
        except WavebandError:
            return
    places = Counter(relative_name(root, path) for path in set(audio_files(scan)))
    places.update(scan.metadata)
    places.update(one.path for one in scan.set_aside)
    for path in there:
        it_or_its_folders = [relative_name(root, root / part) for part in [path, *path.parents[:-1]]]
        assert sum(places[name] for name in it_or_its_folders) == 1
    assert len({song.name for song in scan.songs}) == len(scan.songs)
    assert all(song.stems for song in scan.songs)
    assert all(path.is_relative_to(root) for path in audio_files(scan))


@pytest.mark.parametrize("layout", sorted(MINIATURES))
def test_each_miniature_holds_songs_of_its_layout(folder, layout):
    write_all(folder, MINIATURES[layout])
    scan = scan_folder(folder, layout)
    assert scan.layout == layout
    assert scan.songs


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"album", "stems", "manifest"}))
def test_a_layout_that_is_asked_for_says_what_it_expected_and_found(folder, layout):
    fill(folder, "some song.wav")
    with pytest.raises(NoAudioError, match=r"such as some song\.wav: no") as caught:
        scan_folder(folder, layout)
    assert f"ingest.layout={layout}" in str(caught.value)
    assert LAYOUTS[layout].expected in str(caught.value)
