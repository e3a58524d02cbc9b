"""A folder of damaged files: each is kept or set aside with a reason, whatever is wrong with it.

Every format that can be written here, cut off, hit by stray bits, lied about in its header, zeroed, with
garbage behind it or under another's suffix. Run with -s to see what became of each format.
"""

import io
import json
import re
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from flows.doctor import examine_input
from tasks import ingest
from tasks.pool import run_apart
from wavenet.audio.quantization import Quantizer
from wavenet.data.scan import WORKSPACE_MARK
from wavenet.data.shards.checker import verify_shards
from wavenet.data.shards.format import read_manifest
from wavenet.data.shards.reader import read_codes
from wavenet.data.splits import ALL_SPLITS

RATE, SECONDS, SEED = 16000, 0.6, 0
TIME_LIMIT = 120
FIELDS_A_FORMAT, LIES_A_FIELD = 6, 2
CONFIG = """
ingest: {sample_rate: 8000, workers: 2}
segmentation: {segment_seconds: 0.2, heldout_share: 0.3}
model: {dilation_cycle: 5, num_cycles: 1}
"""

Damage = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True)
class Field:
    """A number in a header: so many bytes, so far behind where a mark begins."""

    mark: bytes
    offset: int
    num_bytes: int


RIFF = [
    *(Field(b"fmt ", offset, size) for offset, size in ((8, 2), (10, 2), (12, 4), (20, 2), (22, 2))),
    Field(b"data", 4, 4),
    Field(b"RIFF", 4, 4),
]
MP4 = [
    *(Field(b"mdhd", offset, 4) for offset in (16, 20)),
    *(Field(b"mp4a", offset, 2) for offset in (20, 22, 28)),
    *(Field(b"stsz", offset, 4) for offset in (8, 12, 16)),
    Field(b"stco", 12, 4),
    Field(b"esds", 40, 2),
]
MATROSKA = [Field(b"\xb5\x88", 2, 8), Field(b"\x9f\x81", 2, 1), Field(b"\x44\x89\x88", 3, 8)]
OGG = [Field(b"OggS", 6, 8), Field(b"OggS", 26, 1)]


@dataclass(frozen=True)
class Format:
    """How a format is written, and the numbers in its header: rates, sizes, channels, lengths, depths."""

    suffix: str
    encode: Callable[[np.ndarray], bytes]
    fields: list[Field]


def by_soundfile(container: str, subtype: str) -> Callable[[np.ndarray], bytes]:
    def encode(waveform: np.ndarray) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, waveform, RATE, format=container, subtype=subtype)
        return file.getvalue()

    return encode


def by_ffmpeg(container: str, codec: str) -> Callable[[np.ndarray], bytes]:
    def encode(waveform: np.ndarray) -> bytes:
        file = io.BytesIO()
        with av.open(file, "w", format=container) as out:
            stream = out.add_stream(codec, rate=RATE, layout="stereo")
            stream.bit_rate = 48000
            for at in range(0, len(waveform), 1024):
                columns = np.ascontiguousarray(waveform[at : at + 1024].T, np.float32)
                frame = av.AudioFrame.from_ndarray(columns, format="fltp", layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        return file.getvalue()

    return encode


FORMATS = {
    "wav-16": Format("wav", by_soundfile("WAV", "PCM_16"), RIFF),
    "wav-24": Format("wav", by_soundfile("WAV", "PCM_24"), RIFF),
    "wav-float": Format("wav", by_soundfile("WAV", "FLOAT"), RIFF),
    "wav-extensible": Format(
        "wav",
        by_soundfile("WAVEX", "PCM_16"),
        [*RIFF, Field(b"fmt ", 26, 2), Field(b"fmt ", 28, 4), Field(b"fmt ", 32, 2)],
    ),
    "rf64": Format(
        "rf64", by_soundfile("RF64", "PCM_16"), [*RIFF, *(Field(b"ds64", at, 8) for at in (8, 16, 24))]
    ),
    "aiff": Format(
        "aiff",
        by_soundfile("AIFF", "PCM_16"),
        [
            *(Field(b"COMM", offset, size) for offset, size in ((8, 2), (10, 4), (14, 2), (16, 4))),
            *(Field(b"SSND", offset, 4) for offset in (4, 8)),
        ],
    ),
    "au": Format("au", by_soundfile("AU", "PCM_16"), [Field(b".snd", at, 4) for at in range(4, 24, 4)]),
    "caf": Format(
        "caf",
        by_soundfile("CAF", "PCM_16"),
        [Field(b"desc", 12, 8), *(Field(b"desc", at, 4) for at in range(20, 44, 4)), Field(b"data", 4, 8)],
    ),
    "flac": Format(
        "flac",
        by_soundfile("FLAC", "PCM_16"),
        [
            Field(b"fLaC", offset, size)
            for offset, size in ((5, 3), (8, 2), (10, 2), (18, 3), (18, 8), (21, 5))
        ],
    ),
    "ogg": Format(
        "ogg",
        by_soundfile("OGG", "VORBIS"),
        [*OGG, *(Field(b"\x01vorbis", at, size) for at, size in ((7, 4), (11, 1), (12, 4), (28, 1)))],
    ),
    "opus": Format(
        "opus",
        by_soundfile("OGG", "OPUS"),
        [
            *OGG,
            *(Field(b"OpusHead", at, n) for at, n in ((8, 1), (9, 1), (10, 2), (12, 4), (16, 2), (18, 1))),
        ],
    ),
    "mp3": Format(
        "mp3",
        by_soundfile("MP3", "MPEG_LAYER_III"),
        [*(Field(mark, at, 4) for mark in (b"Xing", b"Info") for at in (4, 8, 12)), Field(b"\xff\xf3", 2, 2)],
    ),
    "m4a": Format("m4a", by_ffmpeg("ipod", "aac"), MP4),
    "mp4": Format("mp4", by_ffmpeg("mp4", "aac"), MP4),
    "aac": Format("aac", by_ffmpeg("adts", "aac"), [Field(b"\xff\xf1", at, 2) for at in (2, 3, 4)]),
    "wma": Format(
        "wma",
        by_ffmpeg("asf", "wmav2"),
        [Field(b"\x61\x01\x02\x00", at, size) for at, size in ((0, 2), (2, 2), (4, 4), (8, 4), (12, 2))]
        + [Field(b"\xa1\xdc\xab\x8c", at, size) for at, size in ((40, 8), (64, 8), (92, 4), (96, 4))],
    ),
    "webm": Format("webm", by_ffmpeg("webm", "libopus"), MATROSKA),
    "mkv": Format("mkv", by_ffmpeg("matroska", "pcm_s16le"), [*MATROSKA, Field(b"\x62\x64\x81", 3, 1)]),
}


def truncate_header(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(1, 60))]


def truncate_middle(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content) // 4, 3 * len(content) // 4))]


def truncate_end(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: -int(rng.integers(1, max(2, len(content) // 50)))]


def flip_header(content: bytes, rng: np.random.Generator) -> bytes:
    return flip_bits(content, rng.integers(0, min(64, len(content)), 3), rng)


def flip_middle(content: bytes, rng: np.random.Generator) -> bytes:
    return flip_bits(content, rng.integers(len(content) // 3, 2 * len(content) // 3, 8), rng)


def flip_everywhere(content: bytes, rng: np.random.Generator) -> bytes:
    return flip_bits(content, rng.integers(0, len(content), len(content) // 100), rng)


def flip_bits(content: bytes, places: np.ndarray, rng: np.random.Generator) -> bytes:
    flipped = np.frombuffer(content, np.uint8).copy()
    flipped[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    return flipped.tobytes()


def append_garbage(content: bytes, rng: np.random.Generator) -> bytes:
    return content + rng.bytes(3000)


def zero_middle(content: bytes, rng: np.random.Generator) -> bytes:
    start, end = len(content) // 3, len(content) // 2
    return content[:start] + bytes(end - start) + content[end:]


def zero_all_but_header(content: bytes, rng: np.random.Generator) -> bytes:
    return content[:100] + bytes(len(content) - 100)


def swap_halves(content: bytes, rng: np.random.Generator) -> bytes:
    return content[len(content) // 2 :] + content[: len(content) // 2]


DAMAGES: list[Damage] = [
    truncate_header, truncate_middle, truncate_end, flip_header, flip_middle, flip_everywhere,
    append_garbage, zero_middle, zero_all_but_header, swap_halves,
]  # fmt: skip


def lie_about(content: bytes, field: Field, rng: np.random.Generator) -> bytes:
    """A header with another number in a field: none, the least, the most, half of it, or one that is near."""
    place = content.find(field.mark)
    start, end = place + field.offset, place + field.offset + field.num_bytes
    truth, size = content[start:end], field.num_bytes
    near = bytes(byte ^ 3 if byte else 0 for byte in truth)
    lies = [bytes(size), b"\1".rjust(size, b"\0"), b"\1".ljust(size, b"\0"), b"\xff" * size,
            b"\x7f".ljust(size, b"\xff"), b"\x7f".rjust(size, b"\xff"), near]  # fmt: skip
    return content[:start] + lies[int(rng.integers(len(lies)))] + content[end:]


def restore_checksums(content: bytes) -> bytes:
    """Ogg pages with the checksums of what is in them (RFC 3533, 6): the lie is all that is wrong."""
    pages = bytearray(content)
    for start in [match.start() for match in re.finditer(b"OggS", content)]:
        num_segments = pages[start + 26]
        end = start + 27 + num_segments + sum(pages[start + 27 : start + 27 + num_segments])
        pages[start + 22 : start + 26] = bytes(4)
        pages[start + 22 : start + 26] = struct.pack("<I", ogg_checksum(bytes(pages[start:end])))
    return bytes(pages)


def ogg_checksum(page: bytes) -> int:
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum & 0x80000000 else 0)) & 0xFFFFFFFF
    return checksum


def make_clip(seed: int) -> np.ndarray:
    """A plucked chord over quiet noise in two channels, another for each seed: (time, 2)."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(SECONDS * RATE)) / RATE
    chord = sum(np.sin(2 * np.pi * frequency * time) for frequency in rng.uniform(80, 2000, 5))
    plucked = 0.1 * chord * np.exp(-6 * (time % 0.2))
    return np.stack([plucked, 0.7 * plucked], axis=1) + rng.normal(0, 0.01, (len(time), 2))


def variants(name: str, seed: int) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of everything that is done to a format; each has a clip of its own."""
    one, rng = FORMATS[name], np.random.default_rng(seed)

    def encode() -> bytes:
        return one.encode(make_clip(int(rng.integers(1 << 30))))

    for damage in DAMAGES:
        yield f"{name} {damage.__name__}.{one.suffix}", damage(encode(), rng)
    yield f"{name} swapped.{'mp3' if one.suffix != 'mp3' else 'wav'}", encode()
    fields = [field for field in one.fields if encode().find(field.mark) >= 0]
    for number in rng.permutation(len(fields))[:FIELDS_A_FORMAT]:
        for lie in range(LIES_A_FIELD):
            content = lie_about(encode(), fields[number], rng)
            repaired = restore_checksums(content) if name in {"ogg", "opus"} else content
            yield f"{name} field {number} lie {lie}.{one.suffix}", repaired


def write_variants(folder: Path, seed: int) -> None:
    """A folder of everything that is done to all formats, and two files that nothing is done to."""
    folder.mkdir()
    for number in range(2):
        soundfile.write(folder / f"good {number}.wav", make_clip(number), RATE)
    for number, name in enumerate(FORMATS):
        for file_name, content in variants(name, seed + number):
            assert not (folder / file_name).exists()
            (folder / file_name).write_bytes(content)


@dataclass(frozen=True)
class Outcome:
    """What the commands made of the folder. shards: where each stem's set lies; told: standard error."""

    folder: Path
    workspace: Path
    rows: list[dict]
    shards: dict[str, str]
    told: str


@pytest.fixture(scope="module")
def outcome(tmp_path_factory, start_waveband) -> Outcome:
    """The folder, through `waveband doctor` and `waveband prepare`; both end well, and soon."""
    root = tmp_path_factory.mktemp("fuzz")
    write_variants(root / "damaged", SEED)
    (root / "fuzz.yaml").write_text(CONFIG)
    answers, told = {}, ""
    for command in ("doctor", "prepare"):
        process = start_waveband(root, command, "damaged", "--config", "fuzz.yaml", "--json")
        try:
            out, err = process.communicate(timeout=TIME_LIMIT)
        finally:
            process.kill()
        assert process.returncode == 0, err
        answers |= json.loads(out.splitlines()[-1])
        told += err
    return Outcome(root / "damaged", root / "workspace", answers["files"], answers["shards"], told)


def test_every_file_has_one_row_with_a_verdict_and_a_reason(outcome):
    names = sorted(path.name for path in outcome.folder.iterdir())
    assert len(names) > 220 + 2
    assert [row["path"] for row in outcome.rows] == names
    assert {row["verdict"] for row in outcome.rows} <= {"kept", "partial", "dropped"}
    assert [row["path"] for row in outcome.rows if not row["reason"].strip()] == []


def test_each_format_has_files_that_are_kept_and_files_that_are_dropped(outcome):
    """An undamaged file under a wrong suffix is kept, one without its header dropped."""
    counts = {name: Counter() for name in FORMATS}
    for row in outcome.rows:
        if (name := row["path"].split()[0]) in counts:
            counts[name][row["verdict"]] += 1
    for name, of in counts.items():
        print(f"{name:<16} {of.total():>3} files: {of['kept']:>2} kept, {of['dropped']:>2} dropped")
        assert of["kept"] > 0 < of["dropped"]
    verdicts = {row["path"]: row["verdict"] for row in outcome.rows}
    assert {verdicts[f"good {number}.wav"] for number in range(2)} == {"kept"}
    assert {verdict for path, verdict in verdicts.items() if " swapped." in path} == {"kept"}
    assert {verdict for path, verdict in verdicts.items() if " truncate_header." in path} == {"dropped"}


def test_reasons_are_words_for_a_person_and_name_no_place_of_this_machine(outcome):
    reasons = {row["reason"] for row in outcome.rows}
    code = re.compile(r"Traceback|Errno|\w+Error\b|0x[0-9a-f]{6}|<[\w.]+ |fd:")
    place = re.compile(r"/(tmp|home|work|proc|dev|usr|var)\b")
    assert [reason for reason in reasons if code.search(reason) or place.search(reason)] == []
    assert [reason for reason in reasons if not reason.isprintable()] == []


def test_nothing_but_progress_is_told_on_the_way(outcome):
    progress = re.compile(r"(ingest|examine|floors|shards) +\d+/\d+  .*")
    assert [line for line in outcome.told.splitlines() if not progress.fullmatch(line)] == []


def test_nothing_half_written_is_left(outcome):
    everything = [path.relative_to(outcome.workspace) for path in outcome.workspace.rglob("*")]
    hidden = [path for path in everything if any(part.startswith(".") for part in path.parts)]
    assert [str(path) for path in hidden] == [WORKSPACE_MARK]
    assert list(outcome.workspace.glob("work/*")) == []
    decoded = [row for row in outcome.rows if row["seconds"] is not None]
    assert len(list(outcome.workspace.glob("store/tracks/*/*.wav"))) == len(decoded)
    assert len(list(outcome.workspace.glob("store/tracks/*/*.npy"))) == len(decoded)


def test_what_is_published_is_whole_and_finite(outcome):
    sets = {path.parent for path in outcome.workspace.glob("store/shards/*/manifest.json")}
    assert sets == {Path(place) for place in outcome.shards.values()}
    for folder in sets:
        assert verify_shards(folder) == []
        manifest = read_manifest(folder)
        quantizer = Quantizer(manifest.law, manifest.quantization_channels)
        for split in ALL_SPLITS:
            rows, codes = read_codes(folder, split)
            assert len(codes) == rows["num_samples"].sum()
            assert np.isfinite(quantizer.decode(codes)).all()


def test_what_the_doctor_keeps_is_what_the_shards_hold(outcome):
    (place,) = outcome.shards.values()
    manifest = read_manifest(Path(place))
    held = {track.track: (track.split, track.num_samples / manifest.sample_rate) for track in manifest.tracks}
    used = [row for row in outcome.rows if row["verdict"] != "dropped"]
    assert len({track.track_id for track in manifest.tracks}) == len(held) == len(used)
    for row in used:
        seconds = pytest.approx(row["kept_seconds"], abs=1 / manifest.sample_rate)
        assert held[row["track"]] == (row["split"], seconds)


def test_a_file_that_kills_or_hangs_its_worker_is_told_so_and_the_others_go_on(tmp_path, monkeypatch):
    """And it is tried again the next time: it may have been the machine that had no memory or no time."""
    for number, name in enumerate(["good", "fine", "killer", "sleeper"]):
        (tmp_path / "album").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "album" / f"{name}.wav", make_clip(number), RATE)
    (tmp_path / "fuzz.yaml").write_text(CONFIG)
    decode = ingest._decode_apart

    def decode_badly(stem, sources, *rest):
        what = sources[0].path.name
        if what == "killer.wav":
            return run_apart(exec, "import os; os._exit(9)", timeout=60, what=what, workers=2)
        if what == "sleeper.wav":
            return run_apart(time.sleep, 600, timeout=1, what=what, workers=2)
        return decode(stem, sources, *rest)

    def examine():
        output = examine_input(str(tmp_path / "album"), [str(tmp_path / "fuzz.yaml")], [], tmp_path / "work")
        return {row.path: (row.verdict, row.reason) for row in output.report.files}

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "_decode_apart", decode_badly)
        rows = examine()
    assert [rows[f"{name}.wav"][0] for name in ("good", "fine", "killer", "sleeper")] == [
        "kept", "kept", "dropped", "dropped"
    ]  # fmt: skip
    assert rows["killer.wav"][1].startswith("the process that read it broke down twice (exit status 9)")
    assert rows["sleeper.wav"][1].startswith("reading it took longer than 1 s and was given up")
    assert {verdict for verdict, _ in examine().values()} == {"kept"}
