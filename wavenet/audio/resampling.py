"""From any rate and number of channels to the working format, block by block.

Knows nothing of files. The invariant: what comes out does not depend on how the audio was cut into
blocks, beyond the rounding of float32.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

import numpy as np
import soxr
from numpy.typing import NDArray

Waveform = NDArray[np.float32]
Blocks = Iterable[Waveform]

SUMMED_FRAMES = 1 << 16


def mix_down(block: Waveform, num_channels: int, downmix: str = "mean") -> Waveform:
    """(frames, any channels) to (frames, num_channels), 1 or 2 of them.

    As many channels as wanted stay as they are. Otherwise they become one, by `downmix` (mean of all, left:
    the first, right: the second), and that one is doubled where two are wanted.
    """
    if block.shape[1] == num_channels:
        return block
    mono = block if block.shape[1] == 1 else _to_mono(block, downmix)
    return mono if num_channels == 1 else np.repeat(mono, num_channels, axis=1)


def _to_mono(block: Waveform, downmix: str) -> Waveform:
    if downmix == "mean":
        from wavenet.audio.loops import average_channels  # numba takes its time to load

        mono = np.empty(len(block), np.float32)
        average_channels(block, mono)
        return mono[:, None]
    channel = {"left": 0, "right": 1}[downmix]
    return np.ascontiguousarray(block[:, channel : channel + 1])


def resample_blocks(
    blocks: Blocks, source_rate: int, sample_rate: int, num_channels: int, quality: str = "HQ"
) -> Iterator[Waveform]:
    """Resample a stream of (frames, channels) blocks with soxr. quality: QQ, LQ, MQ, HQ or VHQ."""
    if source_rate == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(source_rate, sample_rate, num_channels, dtype="float32", quality=quality)
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros((0, num_channels), np.float32), last=True)


def sum_blocks(streams: Sequence[Blocks]) -> Iterator[Waveform]:
    """The sum of streams of one rate and number of channels, as blocks; one that has ended is silent."""
    if len(streams) == 1:
        yield from streams[0]
        return
    for blocks in zip_longest(*(regroup_blocks(stream, SUMMED_FRAMES) for stream in streams)):
        present = [block for block in blocks if block is not None]
        total = np.zeros_like(max(present, key=len))
        for block in present:
            total[: len(block)] += block
        yield total


def regroup_blocks(blocks: Blocks, num_frames: int) -> Iterator[Waveform]:
    """The same samples in blocks of num_frames each; the last may be shorter."""
    waiting: list[Waveform] = []
    num_waiting = 0
    for block in blocks:
        waiting.append(block)
        num_waiting += len(block)
        if num_waiting >= num_frames:
            joined = np.concatenate(waiting)
            whole = num_waiting // num_frames * num_frames
            yield from np.split(joined[:whole], whole // num_frames)
            waiting, num_waiting = [joined[whole:]], num_waiting - whole
    if num_waiting:
        yield np.concatenate(waiting)
