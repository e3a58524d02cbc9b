"""What crosses task borders: small records that name files and the digest of what is in them.

A record's `digest` is its identity: two records with one digest are the same input to whatever
comes next, whatever their names and places. Knows nothing of Prefect.
"""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from wavenet.data.examination import Examination
from wavenet.data.floors import Floor
from wavenet.data.songs import Song
from wavenet.data.tracks import Track
from wavenet.evaluation.baselines import Baselines
from wavenet.evaluation.ranges import Ranges, Spread


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str


class StoredRecord(Record):
    """A record of a folder in the workspace's store: what tasks return."""

    folder: str

    @property
    def lasts(self) -> bool:
        """Whether the same inputs would lead to it again: only then is it reused."""
        return True


class SongRecord(Record):
    """The files of one song as they were found; its digest is of their bytes and stem names."""

    song: Song

    @property
    def name(self) -> str:
        return self.song.name


class ScoreRecord(Record):
    """A .mid file; the digest is of its bytes. whole: it is the score of all stems of a song."""

    path: Path
    whole: bool


class TrackRecord(StoredRecord):
    """A decoded song: working audio in a folder of the store."""

    name: str
    track: Track
    lost: list[str] = []  # stems that are missing because their process died; they are tried again

    @property
    def lasts(self) -> bool:
        return not self.lost

    def named(self, name: str) -> Self:
        """The same track under the name it has now."""
        return self.model_copy(update={"name": name})


class ExaminationRecord(StoredRecord):
    """What was heard in a track: loudness of its files and stems, and fingerprints."""

    examination: Examination

    @property
    def lasts(self) -> bool:
        """Not where a file could not be read a second time: then something was wrong meanwhile."""
        return all(file is not None for files in self.examination.files.values() for file in files)


class FloorRecord(StoredRecord):
    """How good each setting can sound on one stem: figures, and the clips in the folder."""

    floors: list[Floor]


class ShardsRecord(StoredRecord):
    """One stem's shard set; the digest is its manifest's."""

    stem: str


class BaselinesRecord(StoredRecord):
    """What the simplest models of a stem reach."""

    bits: Baselines


class RangesRecord(StoredRecord):
    """How a stem's training audio sounds."""

    ranges: Ranges


class PrintsRecord(StoredRecord):
    """Fingerprints of a stem's training audio."""

    num_stretches: int


class LikelihoodRecord(StoredRecord):
    """How likely a stem's network finds its held-out audio."""

    nats: Spread


class EvaluationRecord(StoredRecord):
    """Bits per sample of a network on each split of a stem's shards, told all that is known and told nothing.

    heldout, train and, where there is such a split, test; the same with `_told_nothing` of a network that can
    be told something. train is of windows spread evenly.
    """

    bits: dict[str, float]


class WeightsRecord(StoredRecord):
    """A network by itself, wherever it came from; the digest is of weights and card."""


class ModelRecord(StoredRecord):
    """One stem's trained network, its metrics and figures; the digest is of weights and card."""

    stem: str
    heldout_bits: float
    free_bits: float | None  # told nothing, of a network that can be told something
    num_parameters: int
    seconds: float  # of training, over all sessions

    @property
    def weights(self) -> WeightsRecord:
        """The network alone."""
        return WeightsRecord(digest=self.digest, folder=self.folder)


class Prime(BaseModel):
    """The place in held-out audio that a take goes on from."""

    model_config = ConfigDict(frozen=True)

    track_id: str
    start_sample: int


class TakeRecord(StoredRecord):
    """One generated stem. badness: of its best take, as `TakeScore`; None where it could not be scored."""

    stem: str
    sample_rate: int
    num_samples: int
    has_reference: bool
    badness: float | None

    @property
    def lasts(self) -> bool:
        """Not where something kept it from being scored: that is tried again."""
        return self.badness is not None


class MixRecord(StoredRecord):
    """The sum of takes."""

    loudness_lufs: float | None
    peak: float
