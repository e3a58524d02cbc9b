"""What a run is asked for, and what the last one of a workspace was: a stem is retrained by its name alone.

Knows nothing of how the work is done. The invariant: a request that was kept means the same from another
folder and on another day, since what it names by a path is named from the root.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.workspace import Workspace
from wavenet.config import Config, is_config_path, load_config, merge_settings
from wavenet.data.demo_album import write_demo_album
from wavenet.data.shards.storage import is_url
from wavenet.errors import ConfigError

DEMO = "demo"
"""An input of that name, where there is no such folder, is the album that Waveband synthesizes."""
FILE = "request.json"


class Request(BaseModel):
    """An input and settings. changes: sections of settings, over those of the configs; overrides: `key=value`
    over both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str
    config: list[str]
    changes: dict[str, Any] = {}
    overrides: list[str] = []

    def settings(self) -> Config:
        """The configuration that it stands for. Raises ConfigError."""
        return load_config(self.config, self.overrides, self.changes)

    @property
    def told_changes(self) -> list[str]:
        """All that differs from the configs, as text: what distinguishes it from others of its input."""
        return [*_as_overrides(self.changes), *self.overrides]

    def updated(self, changes: Mapping[str, Any], overrides: Sequence[str]) -> "Request":
        """The same with changes and overrides on top."""
        return self.model_copy(
            update={
                "changes": merge_settings(self.changes, changes),
                "overrides": [*self.overrides, *overrides],
            }
        )

    def rooted(self) -> "Request":
        """The same with every path from the root."""
        return self.model_copy(
            update={
                "input": self.input if is_url(self.input) else _from_root(self.input),
                "config": [_from_root(one) if is_config_path(one) else one for one in self.config],
            }
        )


def _as_overrides(sections: Mapping[str, Any], prefix: str = "") -> list[str]:
    told = []
    for key, value in sections.items():
        inside = _as_overrides(value, f"{prefix}{key}.") if isinstance(value, dict) else None
        told += [f"{prefix}{key}={json.dumps(value)}"] if inside is None else inside
    return told


def usual_config(input: str) -> list[str]:
    """Where none is named: `album`, and `demo` for the demo album."""
    return ["demo" if _is_demo(input) else "album"]


def find_input(place: Workspace, asked: str) -> str:
    """The input that is meant: a demo album, made in the workspace, or what is asked for as it is."""
    if _is_demo(asked):
        return str(write_demo_album(place.root / "demo-album"))
    return asked


def _is_demo(input: str) -> bool:
    return input == DEMO and not Path(DEMO).exists()


def remember_request(place: Workspace, request: Request) -> None:
    """Keep what was asked for, for who asks for one stem of it."""
    place.write(FILE, request.rooted().model_dump())


def last_request(place: Workspace, input: str | None = None, config: Sequence[str] = ()) -> Request:
    """What the last run of the workspace was asked for, which is told; or another input or config, if given.

    Raises ConfigError where there was none and input is not given.
    """
    if input is not None and config:
        return Request(input=input, config=list(config))
    last = _read(place)
    configs = ", ".join(config or last.config)
    print(f"as the last run here: input {input or last.input}, config {configs}", file=sys.stderr, flush=True)
    return last.model_copy(update={"input": input or last.input, "config": list(config) or last.config})


def _read(place: Workspace) -> Request:
    try:
        return Request.model_validate(place.read(FILE))
    except FileNotFoundError:
        raise ConfigError(
            f"{place.root}: there was no run of build-and-train in this workspace yet; start one, or give "
            "input and config"
        ) from None
    except (OSError, ValueError, ValidationError) as error:
        raise ConfigError(f"{place.root / FILE}: cannot be read ({error}); give input and config") from None


def _from_root(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
