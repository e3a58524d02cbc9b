"""Each data set's true layout, in miniature, becomes its songs; metadata that lies leads nowhere."""

import json
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from wavenet.audio.decoding import AudioSource
from wavenet.data.layouts import tables
from wavenet.data.layouts.accounts import NOT_AUDIO
from wavenet.data.listing import open_listing
from wavenet.data.scan import LAYOUTS, scan_input
from wavenet.errors import MetadataError, NoAudioError, WavebandError


@pytest.fixture
def root(tmp_path):
    (tmp_path / "music").mkdir()
    return tmp_path / "music"


def fill(root, *names):
    for name in names:
        write(root / name, "")
    return root


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def scan(root, layout="auto"):
    return scan_input(open_listing(root, root.parent / "downloads"), layout)


def song(scan, name):
    (found,) = [one for one in scan.songs if one.name == name]
    return found


def reasons_of(scan):
    return {one.path: one.reason for one in scan.set_aside}


def files_of(scan):
    for one in scan.songs:
        sources = [source for sources in one.stems.values() for source in sources]
        yield from (source.path for source in sources + ([one.mixture] if one.mixture else []))
        yield from one.scores.values()


# MUSDB18

HQ = ["mixture.wav", "drums.wav", "bass.wav", "other.wav", "vocals.wav"]
ARTIST, TITLE = "Al James", "Schoolboy Facination"


def test_musdb18_containers_are_songs_of_four_stems(root):
    fill(root, f"train/{ARTIST} - {TITLE}.stem.mp4", "test/Arise - Run Run Run.stem.mp4")
    found = scan(root)
    assert found.layout == "musdb"
    one = song(found, f"train/{ARTIST} - {TITLE}")
    path = root / f"train/{ARTIST} - {TITLE}.stem.mp4"
    assert one.mixture == AudioSource(path, stream=0)
    assert one.stems == {
        "drums": [AudioSource(path, stream=1)],
        "bass": [AudioSource(path, stream=2)],
        "other": [AudioSource(path, stream=3)],
        "vocals": [AudioSource(path, stream=4)],
    }
    assert one.labels == {"artist": ARTIST, "title": TITLE}
    assert {one.name: one.split for one in found.songs} == {
        f"train/{ARTIST} - {TITLE}": "train",
        "test/Arise - Run Run Run": "heldout",
    }


def test_musdb18_hq_folders_are_songs_with_their_mixture_apart(root):
    fill(root, *(f"train/{ARTIST} - {TITLE}/{file}" for file in HQ), *(f"test/A - B - C/{f}" for f in HQ))
    found = scan(root)
    assert found.layout == "musdb"
    assert found.set_aside == []
    one = song(found, "test/A - B - C")
    assert sorted(one.stems) == ["bass", "drums", "other", "vocals"]
    assert one.mixture == AudioSource(root / "test/A - B - C/mixture.wav")
    assert one.labels == {"artist": "A", "title": "B - C"}
    assert one.split == "heldout"


def test_a_stems_folder_of_ones_own_named_train_is_not_taken_for_musdb18(root):
    fill(root, *(f"train/my song/{file}" for file in HQ), "train/my song/theremin.wav")
    assert scan(root).layout == "stems"


def test_what_musdb18_does_not_hold_is_set_aside(root):
    fill(root, *(f"train/A - B/{file}" for file in HQ), "train/A - B/choir.wav", "extra/x.wav", "README.md")
    assert reasons_of(scan(root, "musdb")) == {
        "train/A - B/choir.wav": "no part of the data set",
        "extra/x.wav": "no part of the data set",
        "README.md": f"{NOT_AUDIO} (.md)",
    }


# Slakh2100


def slakh_metadata(**stems):
    """As Slakh's own files are; a class, and what differs from a rendered source."""
    common = {"audio_rendered": True, "is_drum": False, "midi_saved": True, "program_num": 30}
    described = {
        name: {**common, "inst_class": said[0], **(said[1] if len(said) > 1 else {})}
        for name, said in stems.items()
    }
    return yaml.safe_dump(
        {"UUID": "1a81ae", "audio_dir": "stems", "midi_dir": "MIDI", "overall_gain": 0.18, "stems": described}
    )


def slakh_track(root, folder, suffix="flac", files=("S00", "S01", "S02", "S03"), **stems):
    stems = stems or {
        "S00": ("Guitar",),
        "S01": ("Strings (continued)",),
        "S02": ("Guitar",),
        "S03": ("Drums", {"is_drum": True, "program_num": 128}),
    }
    write(root / folder / "metadata.yaml", slakh_metadata(**stems))
    fill(root / folder, "all_src.mid", f"mix.{suffix}")
    fill(
        root / folder, *(f"stems/{file}.{suffix}" for file in files), *(f"MIDI/{file}.mid" for file in files)
    )


@pytest.mark.parametrize("suffix", ["flac", "wav"])
def test_slakh_sums_the_sources_of_a_class(root, suffix):
    slakh_track(root, "train/Track00001", suffix)
    found = scan(root)
    assert found.layout == "slakh"
    (one,) = found.songs
    folder = root / "train/Track00001"
    assert one.stems == {
        "guitar": [AudioSource(folder / f"stems/{source}.{suffix}") for source in ("S00", "S02")],
        "strings-continued": [AudioSource(folder / f"stems/S01.{suffix}")],
        "drums": [AudioSource(folder / f"stems/S03.{suffix}")],
    }
    assert one.mixture == AudioSource(folder / f"mix.{suffix}")
    assert one.scores == {
        "strings-continued": folder / "MIDI/S01.mid",
        "drums": folder / "MIDI/S03.mid",
        "": folder / "all_src.mid",
    }
    assert reasons_of(found) == {
        f"train/Track00001/MIDI/{source}.mid": f"{NOT_AUDIO} (.mid)" for source in ("S00", "S02")
    }


def test_slakh_splits_are_its_own_and_what_it_omits_is_set_aside(root):
    for split, number in [("train", 1), ("validation", 1501), ("test", 1876), ("omitted", 2)]:
        slakh_track(root, f"slakh2100_flac_redux/{split}/Track{number:05}")
    found = scan(root)
    assert {Path(one.name).name: one.split for one in found.songs} == {
        "Track00001": "train",
        "Track01501": "heldout",
        "Track01876": "test",
    }
    reasons = reasons_of(found)
    omitted = "slakh2100_flac_redux/omitted/Track00002"
    assert "MIDI is another song's" in reasons[f"{omitted}/mix.flac"]
    assert "MIDI is another song's" in reasons[f"{omitted}/stems/S00.flac"]
    assert f"{omitted}/metadata.yaml" in reasons


def test_slakh_tracks_that_lie_in_no_split_have_none(root):
    slakh_track(root, "Track00001", "wav")
    assert [one.split for one in scan(root).songs] == [None]


def test_a_source_that_slakh_did_not_render_is_no_loss(root):
    stems = {"S00": ("Bass",), "S01": ("Organ", {"audio_rendered": False})}
    slakh_track(root, "train/Track00001", files=("S00",), **stems)
    found = scan(root)
    assert sorted(found.songs[0].stems) == ["bass"]
    assert found.set_aside == []


def test_slakh_metadata_that_lies_is_told_of(root):
    stems = {
        "S00": ("Bass",),
        "S01": ("Piano",),
        "../../../secret": ("Organ",),
        "S02": (7,),
        "S03": ("...",),
    }
    slakh_track(root, "train/Track00001", files=("S00", "S02", "S03", "S04"), **stems)
    fill(root.parent, "secret.flac")
    found = scan(root)
    assert sorted(found.songs[0].stems) == ["bass"]
    reasons = reasons_of(found)
    file = "train/Track00001/metadata.yaml"
    assert "stems/S01.flac is not there" in reasons[f"{file}:S01"]
    assert "is not there" in reasons[f"{file}:../../../secret"]
    assert reasons[f"{file}:S02"] == "its inst_class is not stated"
    assert "no letter" in reasons[f"{file}:S03"]
    for source in ("S02", "S03", "S04"):
        assert "does not say what instrument" in reasons[f"train/Track00001/stems/{source}.flac"]


@pytest.mark.parametrize(
    "text",
    [
        "", "[", "stems:", "stems: []", "stems: {}", "stems: {? [a] : b}", "!!int x", "!!bool x", "- - - -",
        "&a {stems: *a}", b"\xff\xfe\x00", "[" * 50_000, "stems: !!python/object/apply:os.system [true]",
    ],
)  # fmt: skip
def test_damaged_slakh_metadata_sets_its_track_aside(root, text):
    slakh_track(root, "train/Track00001")
    slakh_track(root, "train/Track00002")
    write(root / "train/Track00002/metadata.yaml", text)
    found = scan(root)
    assert [one.name for one in found.songs] == ["train/Track00001"]
    assert "train/Track00002/metadata.yaml" in str(reasons_of(found)["train/Track00002/mix.flac"])


def test_endless_slakh_metadata_is_not_read(root):
    slakh_track(root, "train/Track00001")
    slakh_track(root, "train/Track00002")
    write(root / "train/Track00002/metadata.yaml", b"#" * (2 << 20))
    assert "too long for metadata" in reasons_of(scan(root))["train/Track00002/stems/S00.flac"]


def test_a_source_named_twice_is_not_summed_twice(root):
    slakh_track(root, "train/Track00001", files=("0",), **{"0": ("Bass",)})
    text = (root / "train/Track00001/metadata.yaml").read_text()
    write(root / "train/Track00001/metadata.yaml", text + "  0: {inst_class: Bass}\n")
    found = scan(root)
    assert found.songs[0].stems == {"bass": [AudioSource(root / "train/Track00001/stems/0.flac")]}
    assert "an earlier source names" in reasons_of(found)["train/Track00001/metadata.yaml:0"]


# Groove MIDI Dataset

GROOVE_HEADER = (
    "drummer,session,id,style,bpm,beat_type,time_signature,midi_filename,audio_filename,duration,split\n"
)
TAKE = "drummer1/session1/1_funk_80_beat_4-4"


def groove_row(take=TAKE, audio=None, split="train", style="funk/groove1"):
    audio = f"{take}.wav" if audio is None else audio
    files = f"{take}.mid,{audio}"
    return f"drummer1,drummer1/session1,drummer1/session1/1,{style},80,beat,4-4,{files},86.7,{split}\n"


def groove(root, *rows, folder="groove"):
    write(root / folder / "info.csv", GROOVE_HEADER + "".join(rows))
    return root


def test_groove_takes_are_drums_with_their_scores_labels_and_splits(root):
    takes = [f"drummer1/session1/{number}_funk_80_beat_4-4" for number in (1, 2, 3)]
    groove(
        root, *(groove_row(t, split=s) for t, s in zip(takes, ["train", "validation", "test"], strict=True))
    )
    fill(root / "groove", *(f"{take}{suffix}" for take in takes for suffix in (".mid", ".wav")))
    found = scan(root)
    assert found.layout == "groove"
    assert [one.split for one in found.songs] == ["train", "heldout", "test"]
    one = song(found, f"groove/{TAKE}")
    assert one.stems == {"drums": [AudioSource(root / f"groove/{TAKE}.wav")]}
    assert one.scores == {"drums": root / f"groove/{TAKE}.mid"}
    assert one.labels == {"drummer": "drummer1", "style": "funk/groove1", "beat_type": "beat", "bpm": "80"}
    assert found.metadata == sorted(["groove/info.csv", *(f"groove/{take}.mid" for take in takes)])
    assert found.set_aside == []


def test_a_groove_take_without_audio_is_noted_with_its_score(root):
    groove(root, groove_row(), groove_row("drummer1/session1/2", audio=""), folder="")
    fill(root, f"{TAKE}.mid", f"{TAKE}.wav", "drummer1/session1/2.mid")
    found = scan(root)
    assert len(found.songs) == 1
    assert "info.csv:3: audio_filename is empty" in reasons_of(found)["drummer1/session1/2.mid"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (groove_row("gone"), "audio_filename 'gone.wav' is not there"),
        (groove_row("../secret"), "audio_filename '../secret.wav' is not there"),
        (groove_row(audio="/etc/passwd"), "audio_filename '/etc/passwd' is not there"),
        (groove_row("free", audio="info.csv"), "audio_filename 'info.csv' is of another kind"),
        (groove_row("gone", audio="free.wav"), "midi_filename 'gone.mid' is not there"),
        (groove_row("free", split="somewhere"), "split 'somewhere': expected train, heldout"),
        (groove_row(), "an earlier row names 1_funk_80_beat_4-4.wav too"),
        ("a,b,c\n", "has 3 values under 11 columns"),
        (groove_row("free", style="caf\xe9").encode("latin-1"), "is not valid UTF-8"),
        (groove_row("free", style="x" * 200_000), "cannot be read as CSV"),
        (groove_row("a\0b"), "is not there"),
    ],
)
def test_a_groove_row_that_lies_is_set_aside_and_the_others_are_used(root, row, reason):
    fill(root.parent, "secret.wav", "secret.mid")
    fill(root, f"{TAKE}.mid", f"{TAKE}.wav", "free.wav", "free.mid", "last.wav", "last.mid")
    rows = [
        text if isinstance(text, bytes) else text.encode() for text in (groove_row(), row, groove_row("last"))
    ]
    write(root / "info.csv", GROOVE_HEADER.encode() + b"".join(rows))
    found = scan(root)
    assert sorted(one.name for one in found.songs) == [TAKE, "last"]
    assert reason in reasons_of(found)["info.csv:3"]
    assert "free.wav" in reasons_of(found)


def test_a_file_named_info_csv_of_another_kind_makes_no_groove(root):
    fill(root, "a.wav")
    write(root / "info.csv", "artist,title\nme,mine\n")
    found = scan(root)
    assert found.layout == "album"
    assert reasons_of(found) == {"info.csv": f"{NOT_AUDIO} (.csv)"}


def test_columns_that_are_missing_are_named(root):
    fill(root, "a.wav")
    write(root / "info.csv", "drummer,style\nme,rock\n")
    with pytest.raises(
        NoAudioError, match="has no column audio_filename, beat_type, bpm, midi_filename, split"
    ):
        scan(root, "groove")


# GTZAN

GENRES = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"]


@pytest.mark.parametrize(("folder", "suffix"), [("genres", "au"), ("Data/genres_original", "wav")])
def test_gtzan_clips_are_labelled_with_their_genre(root, folder, suffix):
    fill(root, *(f"{folder}/{genre}/{genre}.{n:05}.{suffix}" for genre in GENRES for n in (0, 99)))
    fill(root, "Data/features_30_sec.csv", "Data/images_original/blues/blues00000.png")
    found = scan(root)
    assert found.layout == "gtzan"
    assert Counter(one.labels["genre"] for one in found.songs) == dict.fromkeys(GENRES, 2)
    one = song(found, f"{folder}/jazz/jazz.00099")
    assert one.stems == {"mix": [AudioSource(root / f"{folder}/jazz/jazz.00099.{suffix}")]}
    assert one.split is None
    assert set(reasons_of(found)) == {"Data/features_30_sec.csv", "Data/images_original/blues/blues00000.png"}


def test_some_genres_are_gtzan_only_where_that_is_said(root):
    fill(root, "genres/blues/blues.00000.wav", "genres/blues/jazz.00001.wav", "genres/blues/x.wav")
    assert scan(root).layout == "album"
    found = scan(root, "gtzan")
    assert [one.name for one in found.songs] == ["genres/blues/blues.00000"]
    assert set(reasons_of(found)) == {"genres/blues/jazz.00001.wav", "genres/blues/x.wav"}


# Free Spoken Digit Dataset


def test_spoken_digits_are_speech_labelled_and_split_by_their_number(root):
    fill(
        root,
        *(f"recordings/{d}_{who}_{n}.wav" for d in range(10) for who in ("jackson", "theo") for n in (4, 5)),
    )
    fill(root, "README.md", "metadata.py")
    found = scan(root)
    assert found.layout == "spoken_digit"
    assert len(found.songs) == 40
    one = song(found, "recordings/7_theo_4")
    assert one.stems == {"speech": [AudioSource(root / "recordings/7_theo_4.wav")]}
    assert one.labels == {"digit": "7", "speaker": "theo"}
    assert one.split == "heldout"
    assert song(found, "recordings/7_theo_5").split == "train"


def test_recordings_of_other_names_are_an_album(root):
    fill(root, "recordings/7_theo_4.wav", "recordings/rehearsal.wav")
    assert scan(root).layout == "album"


# NSynth


def nsynth_note(family="guitar", **differences):
    return {
        "note": 1,
        "note_str": "x",
        "sample_rate": 16000,
        "instrument": 3,
        "instrument_str": f"{family}_acoustic_010",
        "instrument_family": 3,
        "instrument_family_str": family,
        "instrument_source": 0,
        "instrument_source_str": "acoustic",
        "pitch": 66,
        "velocity": 100,
        "qualities": [0] * 10,
        "qualities_str": ["dark"],
        **differences,
    }


def nsynth(root, part="train", **notes):
    folder = root / f"nsynth-{part}"
    write(folder / "examples.json", json.dumps(notes))
    fill(folder / "audio", *(f"{note}.wav" for note in notes if "/" not in note))
    return root


def test_nsynth_notes_are_stems_of_their_family(root):
    nsynth(root, "train", **{"guitar_acoustic_010-066-100": nsynth_note()})
    nsynth(root, "valid", **{"synth_lead_synthetic_001-050-075": nsynth_note("synth_lead")})
    nsynth(root, "test", **{"bass_electronic_018-022-100": nsynth_note("bass")})
    found = scan(root)
    assert found.layout == "nsynth"
    assert {tuple(one.stems): one.split for one in found.songs} == {
        ("guitar",): "train",
        ("synth_lead",): "heldout",
        ("bass",): "test",
    }
    one = song(found, "nsynth-train/guitar_acoustic_010-066-100")
    path = root / "nsynth-train/audio/guitar_acoustic_010-066-100.wav"
    assert one.stems == {"guitar": [AudioSource(path)]}
    assert one.labels == {
        "instrument_family": "guitar",
        "instrument_source": "acoustic",
        "instrument": "guitar_acoustic_010",
        "pitch": "66",
        "velocity": "100",
    }
    assert found.metadata == [f"nsynth-{part}/examples.json" for part in ("test", "train", "valid")]


def test_one_part_of_nsynth_alone_keeps_its_split(root):
    nsynth(root, "valid", note=nsynth_note())
    (one,) = scan(root / "nsynth-valid").songs
    assert (one.name, one.split) == ("note", "heldout")


def test_nsynth_examples_that_lie_are_set_aside(root):
    nsynth(
        root,
        good=nsynth_note(),
        wrong_type=nsynth_note(instrument_family_str=[7]),
        no_object=7,
        unsaid=nsynth_note(pitch=None),
        unnamed=nsynth_note("..."),
        **{"../../secret": nsynth_note(), "/etc/passwd": nsynth_note()},
    )
    fill(root, "secret.wav", "nsynth-train/audio/foreign.wav")
    found = scan(root, "nsynth")
    assert [one.name for one in found.songs] == ["nsynth-train/good"]
    reasons = reasons_of(found)
    audio = "nsynth-train/audio"
    assert "instrument_family_str" in reasons[f"{audio}/wrong_type.wav"]
    assert "found a int" in reasons[f"{audio}/no_object.wav"]
    assert "pitch" in reasons[f"{audio}/unsaid.wav"]
    assert "no letter" in reasons[f"{audio}/unnamed.wav"]
    assert reasons[f"{audio}/foreign.wav"] == "no examples.json names it"
    assert "is not there" in reasons["nsynth-train/examples.json:../../secret"]
    assert "is not there" in reasons["nsynth-train/examples.json:/etc/passwd"]
    assert "secret.wav" in reasons


@pytest.mark.parametrize("text", ["", "[]", '{"a": ', "[" * 100_000, b"\xff\xfe", '{"good": NaN}'])
def test_damaged_nsynth_examples_are_told_of(root, text):
    nsynth(root, good=nsynth_note())
    write(root / "nsynth-train/examples.json", text)
    with pytest.raises(NoAudioError, match=r"examples\.json"):
        scan(root)


def test_notes_that_are_named_in_bytes_of_no_text_are_not_there(root):
    nsynth(root, good=nsynth_note())
    text = json.dumps({"good": nsynth_note(), "\udce9": nsynth_note(), "label": nsynth_note()})
    write(root / "nsynth-train/examples.json", text)
    assert [one.name for one in scan(root).songs] == ["nsynth-train/good"]


# What all have in common

NAMES = st.sampled_from(
    ["a.wav", "b.wav", "../secret.wav", "/etc/passwd", "", "a.mid", "a\0b", "\udce9", "x" * 300]
)
VALUES = st.one_of(
    NAMES, st.text(max_size=5), st.integers(), st.none(), st.booleans(), st.lists(st.none(), max_size=1)
)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(NAMES, NAMES, st.sampled_from(["train", "test", "?", ""])), max_size=6), st.randoms()
)
def test_no_table_leads_outside_or_breaks_a_scan(rows, random):
    text = GROOVE_HEADER + "".join(
        ",".join(["me", "s", "1", "rock", "120", "beat", "4-4", midi, audio, "1", split]) + "\n"
        for midi, audio, split in rows
    )
    damaged = bytearray(text.encode("utf-8", "surrogateescape"))
    for _ in range(random.randrange(3)):
        damaged[random.randrange(len(damaged))] = random.randrange(256)
    check_scan_stays_inside("groove", "info.csv", bytes(damaged))


@settings(max_examples=100)
@given(st.dictionaries(st.one_of(st.text(max_size=4), st.sampled_from(["a", "b"])), st.one_of(
    VALUES, st.dictionaries(st.sampled_from(sorted(nsynth_note())), VALUES), st.just(nsynth_note())
), max_size=4))  # fmt: skip
def test_no_examples_lead_outside_or_break_a_scan(examples):
    check_scan_stays_inside("nsynth", "examples.json", json.dumps(examples).encode())


@settings(max_examples=100)
@given(st.dictionaries(st.one_of(st.integers(), NAMES, st.sampled_from(["S00", "S01"])), st.one_of(
    VALUES, st.dictionaries(st.sampled_from(["inst_class", "is_drum", "audio_rendered"]), VALUES)
), max_size=4))  # fmt: skip
def test_no_slakh_metadata_leads_outside_or_breaks_a_scan(stems):
    text = yaml.safe_dump({"stems": stems}, allow_unicode=False)
    check_scan_stays_inside("slakh", "Track00001/metadata.yaml", text.encode("utf-8", "replace"))


def check_scan_stays_inside(layout, file, text):
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "music"
        fill(root, "a.wav", "b.wav", "a.mid", "audio/a.wav", "audio/b.wav", "../secret.wav")
        fill(root, "Track00001/stems/S00.flac", "Track00001/stems/S01.flac", "Track00001/MIDI/S00.mid")
        write(root / file, text)
        try:
            found = scan(root, layout)
        except WavebandError as error:
            str(error).encode("utf-8", "surrogateescape")
            return
        assert all(path.is_relative_to(root) and ".." not in path.parts for path in files_of(found))
        assert all(path.is_file() for path in files_of(found))


def test_tables_may_have_semicolons_a_mark_of_bytes_and_blank_lines():
    text = "path;split\n\na.wav;train\n\nb.wav;test\n"
    rows = tables.read_csv("x.csv", text, {"path"})
    assert [(row.line, row.values["path"]) for row in rows] == [(3, "a.wav"), (5, "b.wav")]


def test_a_column_named_twice_is_refused():
    with pytest.raises(MetadataError, match="names the column a twice"):
        tables.read_csv("x.csv", "path,a,a\n", {"path"})


def test_the_rows_after_an_endless_value_are_read():
    rows = tables.read_csv("x.csv", 'path\na.wav\n"' + "x" * 150_000 + "\nb.wav\n", {"path"})
    assert [row.values.get("path") for row in rows] == ["a.wav", None, "b.wav"]


@pytest.mark.parametrize(("word", "split"), [("Train", "train"), (" validation ", "heldout"), ("", None)])
def test_words_for_splits(word, split):
    assert tables.read_split(word) == split


def test_every_layout_of_the_configuration_can_be_read():
    from typing import get_args

    from wavenet.config import Layout

    assert {"auto", *LAYOUTS} == set(get_args(Layout))
