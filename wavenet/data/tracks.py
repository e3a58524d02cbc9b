"""Tracks: songs decoded once into working audio, one float32 WAV a stem, checked and measured.

Knows nothing of segments or codes. The invariants: levels are kept; a stem that cannot be used is
set aside with its reason and the others go on; a track's id depends on what is heard, never on
file names or containers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.decoding import AudioSource
from wavenet.audio.io import AudioStats, convert_audio, level_db, read_blocks
from wavenet.errors import AudioDecodeError
from wavenet.files import digest_bytes, digest_json

SAME_LENGTH_SECONDS = 0.05
"""Stems of a song that differ by no more than this are of one length."""
CLIPPED_TO_TELL = 0.001
"""A file with a larger share of samples at full scale was clipped before it came here."""
AT_FULL_SCALE = "of samples are at full scale"
WITHOUT_MIXTURE = "the stems are used without it"
"""How a note ends where a mixture cannot be read."""
RESIDUAL_TO_TELL_DB = -12.0
"""Stems that leave more of a mixture are not those of it: true ones leave -68 dB and less, another song's at
least 0 dB, a missing stem -3 to -17 dB, 2.5 dB between the levels of both -12 dB."""
RESIDUAL = "residual.wav"
"""What the stems do not explain of a mixture, beside them."""


@dataclass(frozen=True)
class WorkingFormat:
    """How tracks are decoded. downmix and quality as in IngestConfig."""

    sample_rate: int
    num_channels: int = 1
    downmix: str = "mean"
    quality: str = "HQ"


@dataclass(frozen=True, kw_only=True)
class StemAudio(AudioStats):
    """One stem of a track as working audio, its envelope beside it."""

    file: str  # in the track's folder

    @property
    def envelope_file(self) -> str:
        """Mean squares of frames of ENVELOPE_SECONDS, float32 npy."""
        return f"{self.file}.npy"


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
    residual_file: str | None = None  # of separated tracks
    energy_shares: dict[str, float] = field(default_factory=dict)  # of separated stems: of all their energy
    bleed: dict[str, float] = field(default_factory=dict)  # of separated stems: share others predict


def decode_stem(stem: str, sources: Sequence[AudioSource], folder: Path, form: WorkingFormat) -> StemAudio:
    """Decode a stem's files, summed, into `folder` as float32 WAV. Raises AudioDecodeError."""
    file = f"{digest_bytes(stem.encode())[:8]}.wav"  # a stem's name is never trusted as a path
    stats, envelope = convert_audio(
        sources, folder / file, form.sample_rate, form.num_channels, form.downmix, form.quality
    )
    audio = StemAudio(file=file, **vars(stats))  # its facts still dataclasses
    save_envelope(folder / audio.envelope_file, envelope)
    return audio


def make_track(
    stems: Mapping[str, StemAudio],
    set_aside: Mapping[str, str],
    mixture: AudioSource | None,
    folder: Path,
    form: WorkingFormat,
) -> Track:
    """A track of decoded stems; what a mixture holds besides them is measured."""
    stems = dict(sorted(stems.items()))  # whichever was decoded first
    notes, residual = _notes(stems, form.sample_rate), None
    if mixture is not None and stems and not set_aside:
        try:
            residual = _residual(folder, stems, mixture, form)
        except AudioDecodeError as error:
            notes.append(f"{error}; {WITHOUT_MIXTURE}")
    return Track(
        track_id=track_id(stems),
        sample_rate=form.sample_rate,
        num_channels=form.num_channels,
        stems=stems,
        set_aside=dict(sorted(set_aside.items())),
        notes=notes,
        residual_db=residual,
    )


def mixture_note(name: str, residual_db: float | None) -> str | None:
    """What to tell of a mixture, by its name and what the stems leave of it; None if they sum to it."""
    if residual_db is None or residual_db <= RESIDUAL_TO_TELL_DB:
        return None
    return (
        f"{name} is not the sum of its stems: what they leave of it has {residual_db:+.0f} dB of its level, "
        f"expected below {RESIDUAL_TO_TELL_DB:.0f} dB; it may be another song's, shifted, or hold more stems"
    )


def track_id(stems: Mapping[str, StemAudio]) -> str:
    """The digest of a track's decoded stems."""
    return digest_json({name: stem.source_digest for name, stem in stems.items()})


def save_envelope(path: Path, envelope: NDArray[np.float32]) -> None:
    """Keep an envelope beside its audio."""
    np.save(path, envelope, allow_pickle=False)


def load_envelope(path: Path) -> NDArray[np.float32]:
    """An envelope as it was saved, (frames,) mean squares."""
    return np.load(path, allow_pickle=False)


def _notes(stems: Mapping[str, StemAudio], sample_rate: int) -> list[str]:
    lengths = {name: stem.num_samples for name, stem in stems.items()}
    notes = []
    if lengths and max(lengths.values()) - min(lengths.values()) > SAME_LENGTH_SECONDS * sample_rate:
        each = ", ".join(f"{name} {n / sample_rate:.1f} s" for name, n in lengths.items())
        notes.append(f"stems differ in length ({each}); they are lined up at their start")
    shares = {
        name: max((fact.clipped_share for fact in stem.facts), default=stem.clipped_share)
        for name, stem in stems.items()
    }
    notes += [
        f"{name}: {share:.1%} {AT_FULL_SCALE}" for name, share in shares.items() if share > CLIPPED_TO_TELL
    ]
    return notes


def _residual(
    folder: Path, stems: Mapping[str, StemAudio], mixture: AudioSource, form: WorkingFormat
) -> float | None:
    """What the stems do not explain of the mixture, see `residual_db`. Raises AudioDecodeError."""
    file = folder / "mixture.wav"
    try:
        convert_audio([mixture], file, form.sample_rate, form.num_channels, form.downmix, form.quality)
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
