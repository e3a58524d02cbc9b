"""What a deployment can be given, as forms: each setting once, described, checked when a run is submitted.

`Changes` is `wavenet.config.Config` with every key optional: what is left out stays as the configs have it. A
view of that model, and of nothing else.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from wavenet.config import Config, Section

NO_MODEL = ConfigDict(extra="forbid", protected_namespaces=())


def make_optional(section: type[BaseModel], name: str) -> type[BaseModel]:
    """A model of the same keys and bounds, all of them None unless given; sections within are made so too."""
    fields: dict[str, Any] = {}
    for key, field in section.model_fields.items():
        annotation: Any = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            inner = make_optional(annotation, annotation.__name__.replace("Config", "Changes"))
            fields[key] = (inner, inner())
        else:
            bounded = Annotated[annotation, *field.metadata] if field.metadata else annotation
            fields[key] = (bounded | None, Field(None, description=describe_field(field)))
    summary = (section.__doc__ or "").partition("\n")[0]
    config = NO_MODEL | ConfigDict(title=name.removesuffix("Changes") or name)
    return create_model(name, __config__=config, __doc__=summary, **fields)


def describe_field(field: FieldInfo) -> str:
    """What a key means, and its value where no config gives it another."""
    default = field.get_default(call_default_factory=True)
    told = f" ({default} if no config says otherwise)" if default not in (None, [], {}) else ""
    return f"{field.description}{told}"


Changes = make_optional(Config, "Changes")
"""Sections of settings that differ from those of the configs."""


def given(changes: BaseModel) -> dict[str, Any]:
    """The keys that were given a value, by section."""
    return _without_empty(changes.model_dump(mode="json", exclude_none=True))


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    pruned = {
        key: _without_empty(value) if isinstance(value, dict) else value for key, value in values.items()
    }
    return {key: value for key, value in pruned.items() if value != {}}
