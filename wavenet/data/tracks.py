"""Tracks: songs decoded once into working audio, one float32 WAV a stem, checked and measured.

Knows nothing of segments or codes. The invariants: levels are kept; a stem that cannot be used is
set aside with its reason and the others go on; a track's id depends on what is heard, never on
file names or containers.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np

from wavenet.audio.io import AudioStats, convert_audio, level_db, read_blocks
from wavenet.errors import AudioDecodeError
from wavenet.files import digest_bytes, digest_json

SAME_LENGTH_SECONDS = 0.05
"""Stems of a song that differ by no more than this are of one length."""


@dataclass(frozen=True, kw_only=True)
class StemAudio(AudioStats):
    """One stem of a track as working audio."""

    file: str  # in the track's folder


@dataclass(frozen=True)
class Track:
    """A song as working audio. `track_id` is the digest of what its files decode to."""

    track_id: str
    sample_rate: int
    num_channels: int
    stems: dict[str, StemAudio]
    set_aside: dict[str, str] = field(default_factory=dict)  # stem name: reason
    notes: list[str] = field(default_factory=list)
    residual_db: float | None = None  # mixture minus sum of stems, relative to the mixture


def decode_track(
    stems: Mapping[str, Path], mixture: Path | None, folder: Path, sample_rate: int, num_channels: int
) -> Track:
    """Decode every stem of a song into `folder` as float32 WAV at sample_rate.

    Never raises for a bad file: the track says why that stem is set aside.
    """
    good: dict[str, StemAudio] = {}
    bad: dict[str, str] = {}
    for stem, source in sorted(stems.items()):
        file = f"{digest_bytes(stem.encode())[:8]}.wav"  # a stem's name is never trusted as a path
        try:
            stats = convert_audio(source, folder / file, sample_rate, num_channels)
            good[stem] = StemAudio(file=file, **asdict(stats))
        except AudioDecodeError as error:
            (folder / file).unlink(missing_ok=True)
            # without the file's name: the same bytes may lie under others
            bad[stem] = str(error).removeprefix(f"{source.name}: ")
    notes, residual = _notes(good, sample_rate), None
    if mixture is not None and good and not bad:
        try:
            residual = _residual(folder, good, mixture, sample_rate, num_channels)
        except AudioDecodeError as error:
            notes.append(f"{error}; the stems are used without it")
    return Track(
        track_id=track_id(good),
        sample_rate=sample_rate,
        num_channels=num_channels,
        stems=good,
        set_aside=bad,
        notes=notes,
        residual_db=residual,
    )


def track_id(stems: Mapping[str, StemAudio]) -> str:
    """The digest of a track's decoded stems."""
    return digest_json({name: stem.source_digest for name, stem in stems.items()})


def _notes(stems: Mapping[str, StemAudio], sample_rate: int) -> list[str]:
    lengths = {name: stem.num_samples for name, stem in stems.items()}
    notes = []
    if lengths and max(lengths.values()) - min(lengths.values()) > SAME_LENGTH_SECONDS * sample_rate:
        each = ", ".join(f"{name} {n / sample_rate:.1f} s" for name, n in lengths.items())
        notes.append(f"stems differ in length ({each}); they are lined up at their start")
    notes += [
        f"{name}: {stem.clipped_share:.1%} of samples are at full scale"
        for name, stem in stems.items()
        if stem.clipped_share > 0.001
    ]
    return notes


def _residual(
    folder: Path,
    stems: Mapping[str, StemAudio],
    mixture: Path,
    sample_rate: int,
    num_channels: int,
) -> float | None:
    """What the stems do not explain of the mixture, see `residual_db`. Raises AudioDecodeError."""
    file = folder / "mixture.wav"
    try:
        convert_audio(mixture, file, sample_rate, num_channels)
        return residual_db(file, [folder / stem.file for stem in stems.values()])
    finally:
        file.unlink(missing_ok=True)


def residual_db(mixture: Path, stems: list[Path]) -> float | None:
    """Energy of mixture minus sum of stems, in dB of the mixture's; None for a silent mixture."""
    whole_energy = rest_energy = 0.0
    for blocks in zip_longest(*map(read_blocks, [mixture, *stems])):
        rest = np.zeros_like(max((b for b in blocks if b is not None), key=len), dtype=np.float64)
        for block, sign in zip(blocks, [1, *[-1] * len(stems)], strict=True):
            if block is not None:  # one that has ended is silent from there on
                rest[: len(block)] += sign * block
        rest_energy += float((rest**2).sum())
        if blocks[0] is not None:
            whole_energy += float(np.square(blocks[0], dtype=np.float64).sum())
    return level_db(rest_energy / whole_energy) if whole_energy > 0 else None
