"""What a process is told to train or to try, and what it says: a JSON file in, a JSON line a message out.

Knows nothing of networks. The invariant: whoever starts a session can read every line of it as a
`Message`, the last of which is `done` or `error`.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from wavenet.config import StemConfig

RESULT = "result.json"
"""Lies beside the model that a finished session leaves in `TRAINED`."""
SAMPLES = "samples"
"""Folder, in the job's, of what was played on the way."""


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Job(Part):
    """One stem's training. folder: where it keeps checkpoints and metrics; init: weights to begin with."""

    stem: str
    shards: str  # a path or an address
    shards_digest: str
    folder: Path
    config: StemConfig
    init: Path | None = None


class Trial(Part):
    """Some seconds of training on random codes. labels: known values of each; hop_length: samples a frame.

    folder: where a `TrialResult` is left, as `RESULT`.
    """

    stem: str
    folder: Path
    config: StemConfig
    quantization_channels: int
    labels: dict[str, list[str]]
    hop_length: int
    seconds: float


class Result(Part):
    """What a training ends with; bits per sample of held-out audio."""

    heldout_bits: float
    free_bits: float | None
    num_parameters: int
    steps: int
    seconds: float
    transfer: dict | None


class Begun(Part):
    """Lines of metrics of earlier sessions."""

    kind: Literal["begun"] = "begun"
    rows: list[dict[str, float]]


class Reported(Part):
    """One line of metrics."""

    kind: Literal["row"] = "row"
    row: dict[str, float]


class Told(Part):
    """A remark for people."""

    kind: Literal["told"] = "told"
    message: str


class Done(Part):
    """The session is over and has left its result."""

    kind: Literal["done"] = "done"


class Failed(Part):
    """The session is over. error: a class of `wavenet.errors`, or the name of what was not expected."""

    kind: Literal["error"] = "error"
    error: str
    message: str


JOB: TypeAdapter[Job | Trial] = TypeAdapter(Job | Trial)
"""What a process can be told to do; the fields tell which."""

Message = Annotated[Begun | Reported | Told | Done | Failed, Field(discriminator="kind")]
MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)
