"""Every setting as a config file: its value, and beside it what it means and which values it may have.

A view of the models in `wavenet/config.py` and of nothing else. What it gives is a config that loads.
"""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from wavenet.config import Config
from wavenet.errors import ConfigError

BOUNDS = {"ge": "from {}", "gt": "above {}", "le": "up to {}", "lt": "below {}"}


def describe_settings(settings: Config, sections: Iterable[str] = ()) -> str:
    """The settings as commented YAML: those sections, or all. Raises ConfigError for one there is not."""
    known = list(Config.model_fields)
    for section in sections:
        if section not in known:
            close = difflib.get_close_matches(section, known, n=1)
            hint = f" (did you mean '{close[0]}'?)" if close else ""
            raise ConfigError(f"no section is named '{section}'{hint}; there are: {', '.join(known)}")
    return "\n".join(_describe(settings, list(sections) or known))


def _describe(section: BaseModel, names: Iterable[str], indent: str = "") -> Iterator[str]:
    """A line a key; a section within has its own line before it."""
    for name in names:
        field, value = type(section).model_fields[name], getattr(section, name)
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:  # {_first_line(type(value))}"
            yield from _describe(value, type(value).model_fields, indent + "  ")
        else:
            told = _tell(field)
            plain = section.model_dump(mode="json", include={name})[name]
            yield f"{indent}{name}: {_as_yaml(plain)}{f'  # {told}' if told else ''}"


def _tell(field: FieldInfo) -> str:
    """What a key means, and what it may be."""
    parts = [field.description or next(map(_first_line, _models_in(field.annotation)), "")]
    if choices := list(_choices_in(field.annotation)):
        parts.append(f"{'any' if get_origin(field.annotation) is list else 'one'} of {', '.join(choices)}")
    bounds = [
        text.format(getattr(limit, sign))
        for limit in field.metadata
        for sign, text in BOUNDS.items()
        if hasattr(limit, sign)
    ]
    return "; ".join(part for part in (*parts, " ".join(bounds)) if part)


def _choices_in(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from map(str, get_args(annotation))
    else:
        for part in get_args(annotation):
            yield from _choices_in(part)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    return (part for part in get_args(annotation) if isinstance(part, type) and issubclass(part, BaseModel))


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").partition("\n")[0]


def _as_yaml(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6)
    return text.removesuffix("...\n").strip()
