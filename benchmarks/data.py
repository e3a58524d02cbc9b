"""From audio files to training windows: rates, sizes, memory, each beside the plainest way to do it."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from benchmarks.harness import (
    Result,
    Setting,
    compare_rates,
    measure_in_turn,
    pinned_pool,
    run_apart,
    run_pinned,
)
from benchmarks.music import gather_music, write_in_blocks
from wavenet.audio.decoding import AudioSource
from wavenet.audio.mulaw import encode_mu_law
from wavenet.audio.quantization import Quantizer
from wavenet.data.dataset import CodeRun, WindowSampler, load_runs
from wavenet.data.shards.format import ROWS_A_GROUP
from wavenet.data.shards.reader import read_codes, read_parquet
from wavenet.data.shards.sources import ShardFormat, StemSource
from wavenet.data.shards.split_writer import SplitWriter
from wavenet.data.shards.writer import write_shards
from wavenet.data.tracks import StemAudio, WorkingFormat, decode_stem
from wavenet.training.memory import peak_memory

WORKING_RATE = 16000
LEVELS = 256
SEGMENT_LENGTH = WORKING_RATE
RECEPTIVE_FIELD, SCORED_LENGTH = 2047, 4096
DECODED_FRAMES = 1 << 16


def measure(setting: Setting) -> Iterator[Result]:
    """All cases, the shortest first."""
    files = gather_music(setting)
    yield from run_pinned(measure_mu_law, files[0], setting.repeats)
    yield run_pinned(measure_one_core, files[:1], setting.folder / "one", setting.repeats)
    yield from measure_two_cores(files[: 2 if setting.quick else 4], setting.folder / "two", setting.repeats)
    shards = write_large_set(files, setting)
    yield from run_pinned(measure_parquet, shards, setting.folder, setting.repeats)
    yield from run_pinned(measure_windows, shards, setting.folder, setting.repeats)
    yield run_apart(measure_loading, shards, setting.repeats)
    shutil.rmtree(shards)
    yield from measure_memory(files[0], setting)


# mu-law


def measure_mu_law(file: Path, repeats: int) -> list[Result]:
    """encode_mu_law beside torchaudio's, on one core and the float32 samples of one song.

    A song as a whole, as it comes from a file, and a block that fits into a cache, where torchaudio's
    temporaries cost least.
    """
    waveform = soundfile.read(file, dtype="float32", always_2d=True)[0].mean(axis=1)
    block = waveform[: 1 << 20]
    return [
        _compare_mu_law(f"data/mu-law/{LEVELS}", waveform, LEVELS, repeats, at_least=10),
        _compare_mu_law(f"data/mu-law/{LEVELS}/block-of-{len(block)}", block, LEVELS, 5 * repeats),
        _compare_mu_law("data/mu-law/64", waveform, 64, repeats),
        _compare_mu_law("data/mu-law/1024", waveform, 1024, repeats),
        _count_equal_codes(f"data/mu-law/{LEVELS}/equal-codes", waveform),
    ]


def _compare_mu_law(
    case: str, waveform: NDArray[np.float32], levels: int, repeats: int, at_least: float | None = None
) -> Result:
    encode, baseline = partial(encode_mu_law, waveform, levels), _torchaudio(waveform, levels)
    name = "torchaudio mu_law_encoding"
    return compare_rates(case, "samples/s", len(waveform), encode, (name, baseline), repeats, at_least)


def _count_equal_codes(case: str, waveform: NDArray[np.float32]) -> Result:
    equal = np.mean(encode_mu_law(waveform, LEVELS) == _torchaudio(waveform, LEVELS)().numpy())
    return Result(case, "share of samples", float(equal), "torchaudio mu_law_encoding", 1.0, at_least=1.0)


def _torchaudio(waveform: NDArray[np.float32], levels: int) -> Callable:
    import torch
    import torchaudio.functional

    torch.set_num_threads(1)
    return partial(torchaudio.functional.mu_law_encoding, torch.from_numpy(waveform), levels)


# From files to codes


def measure_one_core(files: Sequence[Path], folder: Path, repeats: int) -> Result:
    """The pipeline beside the decoder and the resampler alone, on one core."""
    folder.mkdir()
    num_codes = sum(prepare_file(file, folder) for file in files)
    result = compare_rates(
        f"data/{_kind(files[0])}-to-codes/one-core",
        "codes/s",
        num_codes,
        lambda: [prepare_file(file, folder) for file in files],
        ("soundfile, downmix, soxr HQ", lambda: [decode_plainly(file) for file in files]),
        repeats,
        at_least=0.9,
    )
    shutil.rmtree(folder)
    return result


def measure_two_cores(files: Sequence[Path], folder: Path, repeats: int) -> list[Result]:
    """The same work by two processes and by one, each with a core of its own.

    Beside it what the machine gives two processes that only decode: cores share caches, and neighbours.
    """
    folder.mkdir()
    case, name = f"data/{_kind(files[0])}-to-codes/two-cores", "one process"
    with pinned_pool(1) as one, pinned_pool(2) as two:
        rates = _compare_pools(partial(prepare_file, parent=folder), files, two, one, repeats)
        limits = _compare_pools(decode_plainly, files, two, one, repeats)
    shutil.rmtree(folder)
    return [
        Result(case, "codes/s", rates[0], name, rates[1], at_least=1.8),
        Result(f"{case}/limit", "samples/s", limits[0], name, limits[1]),
    ]


def _compare_pools(
    work: Callable[[Path], int],
    files: Sequence[Path],
    pool: ProcessPoolExecutor,
    baseline: ProcessPoolExecutor,
    repeats: int,
) -> list[float]:
    """How many samples a second come out of work on files, by either pool."""
    count = sum(baseline.map(work, files))
    seconds = measure_in_turn(
        lambda: list(pool.map(work, files)), lambda: list(baseline.map(work, files)), repeats
    )
    return [count / each for each in seconds]


def prepare_file(file: Path, parent: Path) -> int:
    """Decode a file into working audio and write its shards, as tasks do. Returns the number of codes."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    (folder / "shards").mkdir()
    audio = decode_stem("mix", [AudioSource(file)], folder, WorkingFormat(WORKING_RATE))
    manifest = write_shards([_source(audio, folder, 0)], folder / "shards", _shard_format())
    return manifest.num_samples("train")


def decode_files(files: Sequence[Path], folder: Path) -> list[StemAudio]:
    """Working audio of each file, one after the other."""
    form = WorkingFormat(WORKING_RATE)
    return [decode_stem(f"{number}", [AudioSource(file)], folder, form) for number, file in enumerate(files)]


def decode_plainly(file: Path) -> int:
    """Decode, mix down and resample block by block, and nothing else. Returns the number of samples."""
    num_samples = 0
    with soundfile.SoundFile(file) as sound:
        weights = np.full((sound.channels, 1), 1 / sound.channels, np.float32)
        stream = soxr.ResampleStream(sound.samplerate, WORKING_RATE, 1, dtype="float32", quality="HQ")
        for block in sound.blocks(DECODED_FRAMES, dtype="float32", always_2d=True):
            num_samples += len(stream.resample_chunk(block @ weights))
        num_samples += len(stream.resample_chunk(np.zeros((0, 1), np.float32), last=True))
    return num_samples


def _kind(file: Path) -> str:
    return file.suffix.lower().removeprefix(".")


def _shard_format() -> ShardFormat:
    return ShardFormat(
        stem="mix",
        sample_rate=WORKING_RATE,
        quantizer=Quantizer("mu-law", LEVELS),
        segment_length=SEGMENT_LENGTH,
        heldout_share=0.1,
        hop_length=WORKING_RATE // 100,
    )


def _source(audio: StemAudio, folder: Path, number: int) -> StemSource:
    return StemSource(
        path=folder / audio.file,
        num_samples=audio.num_samples,
        track_id=f"{number:032x}",
        track=f"track {number}",
        split="train",
    )


# Shards


def write_large_set(files: Sequence[Path], setting: Setting) -> Path:
    """A shard set of the files, repeated until it holds more codes than a processor's cache."""
    least = (16 if setting.quick else 64) << 20
    folder, tracks = setting.folder / "large", setting.folder / "tracks"
    folder.mkdir()
    tracks.mkdir()
    stems = decode_files(files, tracks)
    repeats = -(-least // sum(stem.num_samples for stem in stems))
    sources = [_source(stem, tracks, number) for number, stem in enumerate(stems * repeats)]
    write_shards(sources, folder, _shard_format())
    shutil.rmtree(tracks)
    return folder


def measure_parquet(shards: Path, folder: Path, repeats: int) -> list[Result]:
    """Size, writing and reading of the shards beside the same codes as lists of numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(shards.glob("*.parquet"))
    table = pa.concat_tables([read_parquet(file) for file in files]).combine_chunks()
    _, codes = read_codes(shards, "train")
    lengths = table.column("num_samples").to_numpy()
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    place = table.schema.get_field_index("codes")
    lists = table.set_column(place, "codes", pa.ListArray.from_arrays(offsets, pa.array(codes)))
    path = folder / "lists.parquet"

    def write_lists() -> None:
        pq.write_table(lists, path, compression="none", use_dictionary=["track_id", "track", "stem", "split"])

    def read_lists() -> NDArray:
        return pq.read_table(path).column("codes").combine_chunks().values.to_numpy()

    write_lists()
    assert np.array_equal(read_lists(), codes)
    size = sum(file.stat().st_size for file in files)
    baseline, unit = "the same codes as list<uint8>", "codes/s"
    write = partial(_write_table, table, folder / "written", lengths)
    read = partial(read_codes, shards, "train")
    return [
        Result("data/parquet/size", "bytes/code", size / len(codes), "a byte a code", 1.0, at_most=1.05),
        compare_rates("data/parquet/write", unit, len(codes), write, (baseline, write_lists), repeats, 5),
        compare_rates("data/parquet/read", unit, len(codes), read, (baseline, read_lists), repeats, 5),
    ]


def _write_table(table, folder: Path, lengths: NDArray[np.integer]) -> None:  # type: ignore[no-untyped-def]
    """Write rows as `write_shards` does, quantization left out."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    writer = SplitWriter(folder, "train", table.schema)
    for start in range(0, len(table), ROWS_A_GROUP):
        rows = table.slice(start, ROWS_A_GROUP)
        writer.add(rows, np.ones(len(rows), bool), lengths[start : start + ROWS_A_GROUP])
    writer.close()


# Training windows


def measure_windows(shards: Path, folder: Path, repeats: int) -> list[Result]:
    """WindowSampler beside a memory map of the same codes that is indexed once a batch."""
    runs = load_runs(shards, "train")
    np.concatenate([run.codes for run in runs]).tofile(folder / "codes.bin")
    mapped = np.memmap(folder / "codes.bin", np.uint8, "r")
    return [_compare_windows(runs, mapped, batch_size, repeats) for batch_size in (4, 32)]


def _compare_windows(runs: list[CodeRun], mapped: np.memmap, batch_size: int, repeats: int) -> Result:
    sampler = WindowSampler(runs, RECEPTIVE_FIELD, SCORED_LENGTH, batch_size, seed=0)
    windows = sliding_window_view(mapped, sampler.window_length)
    rng = np.random.default_rng(0)
    steps = 4000 // batch_size

    def sample() -> None:
        for step in range(steps):
            sampler.batch(step)

    def index() -> None:
        for _ in range(steps):
            windows[rng.integers(len(windows), size=batch_size)]

    case, count = f"data/windows/batch-{batch_size}", steps * batch_size
    baseline = ("memory map, one NumPy call a batch", index)
    return compare_rates(case, "windows/s", count, sample, baseline, repeats, at_least=0.3)


def measure_loading(shards: Path, repeats: int) -> Result:
    """Windows as tensors, made in the process itself beside those that two DataLoader workers send."""
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)
    batch_size, steps = 32, 500
    sampler = WindowSampler(load_runs(shards, "train"), RECEPTIVE_FIELD, SCORED_LENGTH, batch_size, seed=0)
    sent = iter(DataLoader(_Batches(sampler), batch_size=None, num_workers=2))

    def load() -> None:
        for step in range(steps):
            torch.from_numpy(sampler.batch(step))

    def receive() -> None:
        for _ in range(steps):
            next(sent)

    baseline = ("DataLoader, two workers", receive)
    return compare_rates("data/loading", "windows/s", steps * batch_size, load, baseline, repeats, at_least=1)


class _Batches:
    """A sampler as a torch data set without end, of which each worker sends the next step."""

    def __init__(self, sampler: WindowSampler) -> None:
        self.sampler = sampler

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, step: int) -> NDArray[np.integer]:
        return self.sampler.batch(step)


# Memory


def measure_memory(file: Path, setting: Setting) -> Iterator[Result]:
    """The most that one process takes to prepare many hours, in many files and in one."""
    share = 0.025 if setting.quick else 1
    many, one = 8 * share, 3 * share
    seconds = soundfile.info(file).duration
    peak = run_pinned(prepare_hours, [file] * round(many * 3600 / seconds), setting.folder / "hours")
    yield Result(f"data/memory/{many:g}-hours", "bytes", peak, "1.5 GB", 1.5e9, at_most=1)
    long = write_long_file(file, one, setting.folder / "long.wav")
    peak = run_pinned(prepare_hours, [long], setting.folder / "long")
    yield Result(f"data/memory/{one:g}-hours-in-one-file", "bytes", peak, "1 GB", 1e9, at_most=1)


def prepare_hours(files: Sequence[Path], folder: Path) -> int:
    """Decode files and write their shards. Returns the peak memory of this process in bytes."""
    (folder / "shards").mkdir(parents=True)
    stems = decode_files(files, folder)
    sources = [_source(stem, folder, number) for number, stem in enumerate(stems)]
    write_shards(sources, folder / "shards", _shard_format())
    shutil.rmtree(folder)
    return peak_memory()


def write_long_file(file: Path, hours: float, path: Path) -> Path:
    """One 16-bit file of so many hours: the first seconds of another, over and over."""
    with soundfile.SoundFile(file) as sound:
        waveform = sound.read(10 * sound.samplerate, dtype="float32", always_2d=True)
        repeats = round(hours * 3600 * sound.samplerate / len(waveform))
        write_in_blocks(path, waveform, repeats, sound.samplerate)
    return path
