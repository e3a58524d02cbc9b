"""From the file of a finished track to the files of its stems, gain-exact.

Knows nothing of tracks or records. The invariants: stems and residual sum to the mixture, within the
rounding of float32; memory does not grow with a track's length, and a track that is separated in pieces
gives the stems that it would give as a whole; all files are there, or none.
"""

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavenet.audio.bleed import measure_bleed
from wavenet.audio.io import (
    AudioSource,
    AudioStats,
    Meter,
    convert_audio,
    level_db,
    read_blocks,
)
from wavenet.audio.pieces import Overlap, cut_pieces, join_pieces
from wavenet.audio.separator import Level, Separator
from wavenet.audio.wav import WavWriter, open_wav
from wavenet.errors import SeparationError

SAMPLE_RATE, NUM_CHANNELS = 44100, 2
"""What Demucs' stock models take."""
PIECE_SECONDS = 300.0
"""What is separated at once: 0.1 GB a signal at 44.1 kHz, of which Demucs holds about twenty."""
FADE_SECONDS = 1.0
LEAST_DEVIATION = 1e-8
"""What Demucs adds to a standard deviation, for silence."""
BLOCK_FRAMES = 1 << 18
RESIDUAL = "residual"

Waveform = NDArray[np.float32]
Report = Callable[[float, float], None]
"""Is told how many seconds of a track are done, and how many there are."""


@dataclass(frozen=True)
class Separation:
    """The stems of a track, and how they relate to it and to each other."""

    stems: dict[str, tuple[AudioStats, Waveform]]  # stats and envelope, as `measure` returns them
    sample_rate: int
    residual_db: float | None  # energy of the residual over the mixture's; None where that is silent
    energy_shares: dict[str, float]  # of the energies of all stems; 0 where all are silent
    bleed: dict[str, float]  # see `measure_bleed`


def separate_file(
    separator: Separator, source: Path, folder: Path, report: Report | None = None
) -> Separation:
    """Write every stem of a track as `folder/STEM.wav` and the rest as `folder/residual.wav`, float32.

    source: working audio; at another rate than the model's it is resampled, and so is what is written. report
    is called after each of Demucs' segments. Raises SeparationError naming the file.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".separating-") as temporary:
        place = Path(temporary)
        mixture = _as_the_model_takes_it(separator, source, place / ".mixture")
        try:
            mixture_energy, outs = _write_signals(separator, mixture, place, report)
        except SeparationError as error:
            raise SeparationError(f"{source.name}: {error}") from error
        residual = outs.pop(RESIDUAL)
        separation = Separation(
            stems={stem: out.measures() for stem, out in outs.items()},
            sample_rate=separator.sample_rate,
            residual_db=level_db(residual.energy / mixture_energy) if mixture_energy > 0 else None,
            energy_shares=_shares({stem: out.energy for stem, out in outs.items()}),
            bleed=measure_bleed({stem: place / f"{stem}.wav" for stem in outs}),
        )
        for name in [*outs, RESIDUAL]:
            (place / f"{name}.wav").replace(folder / f"{name}.wav")
    return separation


def _as_the_model_takes_it(separator: Separator, source: Path, converted: Path) -> Path:
    """The track at the model's rate and number of channels: itself, or a copy."""
    info = soundfile.info(source)
    if (info.samplerate, info.channels) == (separator.sample_rate, separator.num_channels):
        return source
    convert_audio([AudioSource(source)], converted, separator.sample_rate, separator.num_channels)
    return converted


class _MeasuredOut:
    """A signal being written."""

    def __init__(self, out: WavWriter, sample_rate: int, num_channels: int) -> None:
        self._out, self._meter = out, Meter(sample_rate, num_channels)
        self.energy = 0.0

    def write(self, block: Waveform) -> None:
        """Append (time, channels). Raises SeparationError on NaN and infinity."""
        energy = _energy(block)
        if not math.isfinite(energy):
            raise SeparationError("Demucs gave NaN or infinite samples, expected sound; leave the track out")
        self.energy += energy
        block = np.ascontiguousarray(block)
        self._meter.add(block)
        self._out.write(block)

    def measures(self) -> tuple[AudioStats, Waveform]:
        """Stats and envelope."""
        return self._meter.stats(), self._meter.envelope()


def _write_signals(
    separator: Separator, mixture: Path, folder: Path, report: Report | None
) -> tuple[float, dict[str, _MeasuredOut]]:
    """Write stems and residual, block by block. Returns the mixture's energy, and what was measured."""
    form = separator.sample_rate, separator.num_channels
    mixture_energy = 0.0
    with ExitStack() as files:
        outs = {
            name: _MeasuredOut(files.enter_context(open_wav(folder / f"{name}.wav", *form)), *form)
            for name in [*separator.stems, RESIDUAL]
        }
        reader = files.enter_context(soundfile.SoundFile(mixture))
        for stems in _separate_blocks(separator, mixture, report):
            whole = reader.read(stems.shape[1], dtype="float32", always_2d=True)
            mixture_energy += _energy(whole)
            rest = (whole - stems.sum(axis=0, dtype=np.float64)).astype(np.float32)
            for out, block in zip(outs.values(), [*stems, rest], strict=True):
                out.write(block)
    return mixture_energy, outs


def _separate_blocks(separator: Separator, mixture: Path, report: Report | None) -> Iterator[Waveform]:
    """The stems of a track from start to end, (stems, time, channels) at a time."""
    info = soundfile.info(mixture)
    overlap = Overlap(separator.segment_length, round(FADE_SECONDS * info.samplerate))
    pieces = cut_pieces(info.frames, _hop_length(separator, overlap), overlap)
    level = _measure_level(mixture)
    work = sum(map(len, pieces))  # overlaps count twice

    def separate_pieces() -> Iterator[Waveform]:
        done = 0
        for piece in pieces:
            part = {"start": piece.start, "stop": piece.stop}
            waveform, _ = soundfile.read(mixture, **part, dtype="float32", always_2d=True)

            def progress(share: float, before: int = done, weight: int = len(piece)) -> None:
                if report:
                    report(info.duration * (before + share * weight) / work, info.duration)

            yield separator.separate(waveform, level, progress)
            done += len(piece)

    for part in join_pieces(separate_pieces(), overlap):
        for start in range(0, part.shape[1], BLOCK_FRAMES):
            yield part[:, start : start + BLOCK_FRAMES].copy()
        del part  # or it would be held while Demucs makes the next


def _hop_length(separator: Separator, overlap: Overlap) -> int:
    """Samples from piece to piece: whole strides, so that segments lie where they do in the whole track.

    A model is then given the very same, but for what reaches over a piece's end, and that is in the margins.
    """
    shortest = math.ceil((overlap.margin + overlap.fade) / separator.stride)
    return separator.stride * max(shortest, int(PIECE_SECONDS * separator.sample_rate / separator.stride))


def _measure_level(mixture: Path) -> Level:
    total = squares = 0.0
    num_samples = 0
    for block in read_blocks(mixture):
        mono = block.mean(axis=1, dtype=np.float64)
        total, squares, num_samples = total + mono.sum(), squares + (mono**2).sum(), num_samples + len(mono)
    mean = total / num_samples
    variance = (squares - num_samples * mean**2) / max(1, num_samples - 1)
    return Level(float(mean), math.sqrt(max(0.0, variance)) + LEAST_DEVIATION)


def _energy(waveform: Waveform) -> float:
    return float(np.square(waveform, dtype=np.float64).sum())


def _shares(energies: dict[str, float]) -> dict[str, float]:
    whole = sum(energies.values())
    return {name: energy / whole if whole > 0 else 0.0 for name, energy in energies.items()}
