"""Content decides what runs: keys, stored results, and the task decorator that uses them.

A key is a task's name, its declared version and the content of its inputs: digests of records, its
own config sections; never a path, never a time. The invariant: one key is computed once, however
many runs ask for it at once; and a stored result is used only while its files are there.

Prefect's own cache policies are not used: see docs/decisions.md.
"""

import functools
import inspect
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, get_type_hints

from prefect import Task, task
from prefect.context import TaskRunContext
from prefect.states import Completed
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tasks.records import Record, StoredRecord
from tasks.workspace import Workspace
from wavenet.config import NO_CONTENT
from wavenet.disk import full_disk_told
from wavenet.errors import NotMadeError, UnreadableError
from wavenet.files import digest_json, read_json, sizes_of_files

CACHED, OCCASION = "Cached", "occasion"


def content_key(name: str, version: str, inputs: dict[str, Any]) -> str:
    """The key of a task's result: its name and a digest. Raises TypeError for what has no content."""
    return f"{name}-{digest_json([name, version, describe(inputs)])}"


def describe(value: Any) -> Any:
    """The content of an input as JSON: a record is its digest, a config section its values."""
    if isinstance(value, Record):
        return {"record": type(value).__name__, "digest": value.digest}
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {name: describe(getattr(value, name)) for name, field in fields.items() if has_content(field)}
    if isinstance(value, dict):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"a {type(value).__name__} may not cross a task border; pass a record")


def has_content(field: FieldInfo) -> bool:
    """Whether a setting is part of a key; some decide only where or how often something is done."""
    return field.json_schema_extra != NO_CONTENT


def read_result(
    workspace: Workspace, key: str, record_type: type[StoredRecord], occasion: str | None = None
) -> StoredRecord | None:
    """The stored record of a key, or None where there is none or its files are gone.

    occasion: that it has to be made on; None where any will do.
    Raises UnreadableError where the disk does not say: what takes days is not to be made again for that.
    """
    try:
        stored = workspace.read(f"results/{key}.json")
        record = record_type.model_validate(stored["record"])
        if occasion not in {None, stored.get(OCCASION)}:
            return None
        return record if workspace.holds(record.folder, stored["files"]) else None
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, ValidationError):
        return None
    except OSError as error:
        raise UnreadableError(
            f"{workspace.root}: whether {key} was made cannot be read now ({error}); nothing is lost: run "
            "again once the disk answers and may be read"
        ) from error


def write_result(workspace: Workspace, key: str, record: StoredRecord, occasion: str | None = None) -> None:
    """Store the record of a key, the sizes of the files it stands for, and on which occasion it was made."""
    files = sizes_of_files(workspace.path(record.folder))
    made = {OCCASION: occasion} if occasion else {}
    result = {"record": record.model_dump(mode="json"), "files": files, **made}
    workspace.write(f"results/{key}.json", result)


def cached_task(*, version: str, run_name: str, ignore: Collection[str] = ()) -> Callable[[Callable], Task]:
    """Make a function a Prefect task that is computed once for each content of its inputs.

    The function takes a `workspace` and returns a StoredRecord, as annotated. Parameters in `ignore` are not
    part of the key. If it takes `scratch`, it gets a folder of that key's own, kept until its result is
    stored, so that an interrupted run can go on. The task takes two parameters more: `occasion`, reuse a
    result only if it was made on that, and `only_reuse`, raise NotMadeError if there is none. A task run that
    reuses a result ends in the state `Cached`.
    """

    def decorate(function: Callable) -> Task:
        signature = inspect.signature(function)
        record_type = get_type_hints(function)["return"]
        name = function.__name__.replace("_", "-")

        @functools.wraps(function)
        def run(
            *, workspace: Workspace, occasion: str | None = None, only_reuse: bool = False, **inputs: Any
        ) -> Any:
            _tag_task_run(name, inputs.get("stem"))
            kept = {key: value for key, value in inputs.items() if key not in ignore}
            key = content_key(function.__name__, version, kept)
            record = read_result(workspace, key, record_type, occasion)
            if record is not None:  # which needs no lock: it is whole
                return Completed(name=CACHED, message=f"reused {key}", data=record)
            with workspace.lock(key), full_disk_told(workspace.root):
                record = read_result(workspace, key, record_type, occasion)
                if record is not None:  # another run has made it meanwhile
                    return Completed(name=CACHED, message=f"reused {key}", data=record)
                if only_reuse:
                    raise NotMadeError(
                        f"{run_name.format(**inputs)}: this was not made yet with these settings"
                    )
                scratch = {}
                if "scratch" in signature.parameters:
                    scratch = {"scratch": _open_scratch(workspace, key, record_type, occasion)}
                record = function(workspace=workspace, **scratch, **inputs)
                if record.lasts:
                    write_result(workspace, key, record, occasion)
                if scratch:
                    workspace.forget_work(key)
                return record

        run.__signature__ = _public(signature)  # type: ignore[attr-defined]
        return task(run, name=name, version=version, task_run_name=run_name, persist_result=False)

    return decorate


def _open_scratch(
    workspace: Workspace, key: str, record_type: type[StoredRecord], occasion: str | None
) -> Path:
    """A task's own folder, as a run left it that was ended on this occasion, or before there was a result.

    Of another occasion, where there is a result, it is emptied: it was left by who had finished and was
    killed before it was removed, or by who wanted something else; neither is a beginning of this.
    """
    scratch, name = workspace.work(key), f"work/{key}/{OCCASION}"
    here = _read_occasion(lambda: read_json(scratch / OCCASION)) if scratch.exists() else occasion
    there = _read_occasion(lambda: workspace.read(name), occasion)
    if {here, there} != {occasion} and read_result(workspace, key, record_type):
        if there != occasion:
            workspace.forget_work(key)
        else:  # but not what another machine has begun on this one
            shutil.rmtree(scratch, ignore_errors=True)
    workspace.write(name, {OCCASION: occasion})
    return scratch


def _read_occasion(read: Callable[[], Any], none: str | None = None) -> str | None:
    """none: what stands for one that is not told."""
    try:
        return read()[OCCASION]
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return none


def _tag_task_run(*tags: str | None) -> None:
    """Have this task run tagged with its stage, and with its stem where it has one: the UI filters by either.

    Here and not by `prefect.tags`: for each task run that begins with tags, Prefect asks its server for the
    limits of those tags, which takes up to seconds on SQLite. So they are seen once the task run has ended.
    """
    if context := TaskRunContext.get():
        context.task_run.tags = sorted({*context.task_run.tags, *filter(None, tags)})


def _public(signature: inspect.Signature) -> inspect.Signature:
    """What the task takes: the function's parameters by keyword, less scratch, and what decides on reuse."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [p.replace(kind=keyword) for p in signature.parameters.values() if p.name != "scratch"]
    decisions = [
        inspect.Parameter("occasion", keyword, default=None, annotation=str | None),
        inspect.Parameter("only_reuse", keyword, default=False, annotation=bool),
    ]
    return signature.replace(parameters=[*parameters, *decisions])
