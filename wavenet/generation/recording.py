"""Takes on their way into files, and beside them what is needed to go on: JSON, no pickle.

Knows nothing of networks. The invariants: audio is on disk before the state that counts it; so from
whatever state is read the files hold what it says and maybe more, which is cut off; and the state goes by the
settings it was made with, never by others.
"""

import base64
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from wavenet.audio.growing import FRAME_LENGTH, GrowingFile, Mark, count_waiting, grow_audio
from wavenet.audio.mulaw import Codes
from wavenet.audio.quantization import Quantizer
from wavenet.errors import ConfigError
from wavenet.files import read_json, write_json
from wavenet.generation.guarded import Incident, Take

SECONDS_BETWEEN = 1.0
"""From one state to the next: so much is played again at most."""
LEAST_KEPT = FRAME_LENGTH
"""Codes of a take that a state holds at least, for those that wait to be a whole frame."""


class SavedTake(BaseModel):
    """A take and how far its file is. recent: its codes in base64."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    final: int
    draws: int
    place: int
    attempt: int
    watched: bool
    incidents: list[Incident]
    recent: str
    num_samples: int
    num_bytes: int


class SavedTakes(BaseModel):
    """What is beside takes under way. names: of finished ones, what their files are to be called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["waveband-takes"] = "waveband-takes"
    version: Literal[1] = 1
    settings: dict[str, Any]
    takes: list[SavedTake]
    names: dict[int, str] | None = None


def read_state(path: Path, settings: Mapping[str, Any]) -> SavedTakes:
    """The state at a path. Raises ConfigError where there is none, or it is of other settings."""
    if not path.is_file():
        raise ConfigError(f"{path}: there is nothing to resume; leave --resume out to begin")
    try:
        saved = SavedTakes.model_validate(read_json(path))
    except (OSError, ValueError, ValidationError) as error:
        raise ConfigError(
            f"{path}: cannot be read as the state of takes ({error}); delete it and what lies beside it, and "
            "begin anew"
        ) from None
    changed = [
        f"{name} was {saved.settings.get(name)} and is {settings.get(name)}"
        for name in sorted({*saved.settings, *settings})
        if saved.settings.get(name) != settings.get(name)
    ]
    if changed:
        raise ConfigError(
            f"{path}: is of other settings: {'; '.join(changed)}; set them as they were, or name "
            "another output"
        )
    return saved


class Recording:
    """Some takes, each on its way into a file of its own.

    Left by an error or Ctrl-C, what was made is in the files, what is still held back too, and the state
    says how to go on; left in peace, files are finished, and the state stays until `name_files`.
    """

    def __init__(
        self,
        state: Path,
        settings: Mapping[str, Any],
        paths: Mapping[int, Path],
        quantizer: Quantizer,
        sample_rate: int,
        num_leading: int = 0,
    ) -> None:
        """paths: of the file of each take, by its number. settings: JSON-able, all that decides the takes.

        num_leading: codes of the context, its last, that come first in each file.
        """
        self.state, self.settings, self.paths = state, dict(settings), dict(paths)
        self.quantizer, self.sample_rate, self.num_leading = quantizer, sample_rate, num_leading
        self.takes: dict[int, Take] = {}
        self.files: dict[int, GrowingFile] = {}
        self.names: dict[int, str] | None = None
        self.saved = time.monotonic()

    def begin(self, context: Codes) -> Self:
        """Begin all takes after context, (receptive_field,) codes or more.

        Raises ConfigError where something is there already.
        """
        check_free([self.state, *self.paths.values()])
        self.takes = {number: Take(number, context) for number in self.paths}
        self._save()
        for number in self.paths:
            self._open(number, Mark(0, 0))
        return self

    def resume(self) -> Self:
        """Go on from the state. Raises as `read_state`."""
        saved = read_state(self.state, self.settings)
        if [take.number for take in saved.takes] != list(self.paths):
            raise ConfigError(f"{self.state}: is of {len(saved.takes)} takes, not of {len(self.paths)}")
        self.names = saved.names
        for one in saved.takes:
            self.takes[one.number] = self._restore(one)
            if self.names is None:
                self._open(one.number, Mark(one.num_samples, one.num_bytes))
        return self

    def take_in(self, take: Take, codes: Codes) -> None:
        """Append what has become final of a take; the state follows now and then."""
        if len(codes):
            self.files[take.number].write(self.quantizer.decode(codes))
        if time.monotonic() - self.saved > SECONDS_BETWEEN:
            self._save()

    def name_files(self, names: Mapping[int, Path]) -> None:
        """Give takes their names, beside the state, and drop the others; then nothing is left to resume.

        Ended amid it, a `resume` finds `names` set and is to be followed by this with those.
        """
        self.names = {number: path.name for number, path in names.items()}
        self._save()
        for number, path in self.paths.items():
            if number not in names:
                path.unlink(missing_ok=True)
            elif path.exists():  # or it has its name since before we were ended
                os.replace(path, names[number])
        self.state.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self.names is None:
                self._save()
                self._finish()
            elif kind is not None:
                with suppress(OSError):  # there is an error already, and it may be this one
                    self._finish()
        finally:
            for file in self.files.values():
                file.close()

    def _finish(self) -> None:
        """Nothing waits in memory, not even what is not judged yet, where it goes on from what is written.

        The state is that of before: an interruption may have come amid a change of it, and what is too much
        in a file is cut off by a resume.
        """
        for number, file in self.files.items():
            take = self.takes[number]
            if file.num_samples == self.num_leading + take.final:
                file.write(self.quantizer.decode(take.held))
            file.finish()

    def _open(self, number: int, mark: Mark) -> None:
        path, recent = self.paths[number], self.takes[number].recent
        count = count_waiting(path, mark.num_samples)
        waiting = self.quantizer.decode(recent[len(recent) - count :])
        self.files[number] = grow_audio(path, self.sample_rate, mark, waiting)
        if mark.num_samples == 0 and self.num_leading:
            self.files[number].write(self.quantizer.decode(recent[len(recent) - self.num_leading :]))

    def _restore(self, saved: SavedTake) -> Take:
        recent = np.frombuffer(base64.b64decode(saved.recent), self.quantizer.dtype)
        facts = saved.model_dump(exclude={"recent", "num_samples", "num_bytes", "incidents"})
        return Take(**facts, recent=recent, incidents=list(saved.incidents))

    def _save(self) -> None:
        takes = [self._describe(take) for take in self.takes.values()]
        saved = SavedTakes(settings=self.settings, takes=takes, names=self.names)
        write_json(self.state, saved.model_dump(mode="json"))
        self.saved = time.monotonic()

    def _describe(self, take: Take) -> SavedTake:
        file = self.files.get(take.number)
        mark = file.mark() if file else Mark(0, 0)
        return SavedTake(
            **{
                name: getattr(take, name)
                for name in ("number", "final", "draws", "place", "attempt", "watched")
            },
            incidents=take.incidents,
            recent=base64.b64encode(take.recent.tobytes()).decode("ascii"),
            num_samples=mark.num_samples,
            num_bytes=mark.num_bytes,
        )


def names_of(output: Path, count: int) -> list[Path]:
    """What kept takes are called, the best first: drums.wav, drums-2.wav ..."""
    return [output, *(output.with_name(f"{output.stem}-{i}{output.suffix}") for i in range(2, count + 1))]


def paths_under_way(output: Path, count: int) -> dict[int, Path]:
    """Where takes lie while they are made, by number: one under its own name already."""
    if count == 1:
        return {0: output}
    return {i: output.with_name(f"{output.stem}.take-{i + 1}{output.suffix}") for i in range(count)}


def state_of(output: Path) -> Path:
    """Where the state of takes lies: beside them."""
    return output.with_name(f"{output.name}.resume.json")


def check_free(outputs: Sequence[Path]) -> None:
    """Raises ConfigError where there is something under one of these names."""
    for path in outputs:
        if path.exists():
            raise ConfigError(f"{path}: is there already; name another output, or delete it")
