"""The format itself: columns, manifest, names. Knows nothing of how rows are made or used.

The invariant: what the manifest states of rows and bytes is in the files, and its digest stands for
all of it.
"""

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from wavenet.audio.features import FEATURE_DIMS
from wavenet.audio.mulaw import Codes, code_dtype
from wavenet.audio.quantization import MAX_LEVELS, MIN_LEVELS
from wavenet.data.scores import ROLL_COLUMNS
from wavenet.data.splits import Split
from wavenet.errors import ShardFormatError
from wavenet.files import digest_json, read_json

MANIFEST, CARD = "manifest.json", "README.md"
LABEL_PREFIX = "label_"
ROWS_A_GROUP, SAMPLES_A_GROUP = 256, 4 << 20
"""Rows that are made and written at a time, fewer where they are long."""
SHARD_BYTES = 64 << 20

TEXT_COLUMNS = ["track_id", "track", "stem", "split"]
BASE_COLUMNS = [
    *((name, pa.string()) for name in TEXT_COLUMNS),
    ("start_sample", pa.int64()),
    ("num_samples", pa.int32()),
    ("codes", pa.binary()),  # uint8 up to 256 levels, little-endian uint16 above
    ("level_db", pa.float32()),  # RMS of the segment, dB of full scale
    ("clipped_share", pa.float32()),
]
NOTE_EVENT = pa.struct(
    [
        ("pitch", pa.uint8()),
        ("onset_seconds", pa.float32()),  # from the segment's start
        ("length_seconds", pa.float32()),
        ("velocity", pa.uint8()),
    ]
)
NOTES, NOTE_EVENTS = "notes", "note_events"
"""The feature whose rows are bytes, (frames, 256) uint8, and the exact notes beside it."""
DIMS = {**FEATURE_DIMS, NOTES: ROLL_COLUMNS}
"""Values a frame of each feature."""

Count = Annotated[int, Field(ge=0, lt=1 << 62)]
Size = Annotated[int, Field(ge=1, lt=1 << 31)]


class ManifestPart(BaseModel):
    """Base of what a manifest is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ShardFile(ManifestPart):
    """One Parquet file."""

    name: str = Field(pattern=r"^[a-z]+-[0-9]{5,}\.parquet$")  # never a path that leads elsewhere
    split: Split
    digest: str
    num_segments: Count
    num_samples: Count
    num_bytes: Count


class ShardTrack(ManifestPart):
    """One track's share in a set."""

    track_id: str
    track: str
    split: Split
    end_heldout: bool  # a training track whose last part is held out
    num_samples: Count  # in the shards
    total_samples: Count  # of the track: what is missing was silent
    licence: str
    sources: list[str] = []  # names of its files in the input, or addresses; no path of anyone's machine


class Feature(ManifestPart):
    """One feature column: (frames, dims), flattened; a frame is hop_length samples."""

    name: Literal["energy", "onset", "f0", "chroma", "notes", "context"]
    dims: Size


class Manifest(ManifestPart):
    """What a shard set holds. `digest` stands for all of it, file contents included."""

    format: Literal["waveband-shards"] = "waveband-shards"
    version: Literal[3] = 3
    stem: str
    sample_rate: Size
    quantization_channels: int = Field(ge=MIN_LEVELS, le=MAX_LEVELS)
    law: Literal["mu-law", "linear"] = "mu-law"
    dither: bool = False
    segment_length: Size
    hop_length: Size
    features: list[Feature] = []
    labels: dict[str, list[str]] = {}  # values of each label, sorted: an id is a place in the list
    quantization_snr_db: float | None  # signal to quantization noise: as good as it can sound
    files: list[ShardFile]
    tracks: list[ShardTrack]
    digest: str = ""

    def num_samples(self, split: Split) -> int:
        """Samples in a split."""
        return sum(file.num_samples for file in self.files if file.split == split)

    def num_segments(self, split: Split) -> int:
        """Rows in a split."""
        return sum(file.num_segments for file in self.files if file.split == split)

    def with_sources(self, sources: Mapping[str, list[str]]) -> "Manifest":
        """The same, told which files each track was made of. sources: names by track id."""
        tracks = [one.model_copy(update={"sources": sources.get(one.track_id, [])}) for one in self.tracks]
        return self.model_copy(update={"tracks": tracks}).sealed()

    def sealed(self) -> "Manifest":
        """The same with its digest."""
        return self.model_copy(update={"digest": self.content_digest()})

    def content_digest(self) -> str:
        """The digest of everything but the digest."""
        return digest_json(self.model_dump(exclude={"digest"}))


def make_schema(features: Iterable[Feature], labels: Iterable[str]) -> pa.Schema:
    """The columns of a set with these features and labels."""
    columns = [*BASE_COLUMNS, *((column, pa.string()) for column in label_columns(labels).values())]
    for feature in features:
        if feature.name == NOTES:
            columns += [(NOTES, pa.binary()), (NOTE_EVENTS, pa.list_(NOTE_EVENT))]
        else:
            columns.append((feature.name, pa.list_(pa.float32())))
    return pa.schema(columns)


def label_columns(labels: Iterable[str]) -> dict[str, str]:
    """The column of each label: its name made plain, numbered where another label's is the same."""
    columns: dict[str, str] = {}
    for label in sorted(labels):
        plain = LABEL_PREFIX + re.sub(r"\W+", "_", label.casefold()).strip("_")
        names = itertools.chain([plain], (f"{plain}_{number}" for number in itertools.count(2)))
        columns[label] = next(name for name in names if name not in columns.values())
    return columns


def manifest_text(manifest: Manifest) -> str:
    """A manifest as it is written, to the byte."""
    values = manifest.model_dump()
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a shard set. Raises ShardFormatError where it is missing or not readable."""
    try:
        return Manifest.model_validate(read_json(folder / MANIFEST))
    except (FileNotFoundError, NotADirectoryError):
        raise ShardFormatError(
            f"{folder}: no {MANIFEST}: not a shard set, or one whose writing was "
            "interrupted; prepare it again"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ShardFormatError(
            f"{folder / MANIFEST}: not a manifest this version can read ({error}); if it is of a shard set, "
            "delete the folder and prepare again"
        ) from None


def codes_of(row_codes: bytes, quantization_channels: int) -> Codes:
    """The codes of a row, (num_samples,), a read-only view of its bytes."""
    return np.frombuffer(row_codes, dtype=code_dtype(quantization_channels))
