"""What an MLflow run can be told, as lines of JSON.

Knows nothing of MLflow. The invariant: each entry says the same however often it is told; so whoever does
not know whether one has arrived tells it again.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

ROWS_AN_ENTRY = 100
Row = tuple[int, int, dict[str, float]]
"""When, in milliseconds; step; values by name."""


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Begin(Part):
    """There is such a run. parent: the label of the outbox of the run above it."""

    kind: Literal["begin"] = "begin"
    name: str
    tags: dict[str, str]
    parent: str | None
    when: int


class Params(Part):
    kind: Literal["params"] = "params"
    values: dict[str, str]


class Tags(Part):
    kind: Literal["tags"] = "tags"
    values: dict[str, str]


class Metrics(Part):
    kind: Literal["metrics"] = "metrics"
    rows: list[Row]


class Data(Part):
    """The data set of a training. source, schema_, profile: JSON."""

    kind: Literal["data"] = "data"
    name: str
    digest: str
    source: str
    form: str
    profile: str


class Files(Part):
    """A file or a folder's content as artifacts. path: in the workspace or absolute; less: names left out."""

    kind: Literal["files"] = "files"
    path: str
    to: str | None
    less: list[str] = []


class Text(Part):
    """A text as an artifact."""

    kind: Literal["text"] = "text"
    text: str
    to: str


class Model(Part):
    """The run's model: logged once, and a version of its stem's, whichever run made it.

    folder: in the workspace or absolute; files: those of it that are the model. facts: tags of the version.
    bits: held out. promote: make it the champion if it is better.
    """

    kind: Literal["model"] = "model"
    stem: str
    digest: str
    folder: str
    files: list[str]
    bits: float
    facts: dict[str, str]
    params: dict[str, str]
    promote: bool


class End(Part):
    kind: Literal["end"] = "end"
    status: Literal["FINISHED", "FAILED", "KILLED"]
    when: int


ARTIFACTS = (Files, Text, Model)
"""Kinds whose content goes to a store of artifacts, which may be away or closed where MLflow is not."""
Entry = Begin | Params | Tags | Metrics | Data | Files | Text | Model | End
ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])


def now() -> int:
    """Milliseconds, as MLflow counts."""
    return int(time.time() * 1000)


def metrics_of(rows: Sequence[Mapping[str, float]], step: str) -> Iterator[Metrics]:
    """Lines of metrics as entries. step: the name of the step among their values."""
    when = now()
    for first in range(0, len(rows), ROWS_AN_ENTRY):
        told = rows[first : first + ROWS_AN_ENTRY]
        yield Metrics(rows=[(when, int(row[step]), values_of(row, step)) for row in told])


def values_of(row: Mapping[str, float], step: str) -> dict[str, float]:
    """A line less its step."""
    return {name: float(value) for name, value in row.items() if name != step}


def figures(values: Mapping[str, float | None]) -> Metrics:
    """Figures of no step; what is not known is not told."""
    return Metrics(rows=[(now(), 0, {name: float(v) for name, v in values.items() if v is not None})])


def join_metrics(entries: Iterable[Metrics]) -> list[Row]:
    """All rows, in order."""
    return [row for entry in entries for row in entry.rows]
