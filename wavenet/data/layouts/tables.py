"""Metadata as rows: CSV, JSON, YAML, and what they say of a split, from files that nobody vouches for.

Knows nothing of what the values mean. The invariant: whatever a file holds, a reader yields values of the
types it names or raises MetadataError; a row that is damaged is told of by its line, and the rest is read.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from wavenet.data.folders import is_text
from wavenet.data.splits import Split
from wavenet.errors import MetadataError

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "heldout": "heldout",
    "validation": "heldout",
    "valid": "heldout",
    "val": "heldout",
    "dev": "heldout",
    "test": "test",
}
DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Row:
    """A row of a table by its first line. values: by column; damage: why there are none."""

    line: int
    values: dict[str, Any]
    damage: str | None = None


def read_csv(name: str, text: str, required: set[str]) -> list[Row]:
    """The rows of a CSV file below its header, comma, semicolon or tab between values; blank ones left out.

    Raises MetadataError where the header lacks a required column or names one twice.
    """
    reader, columns = _open_csv(text, required)
    if missing := required - set(columns):
        found = ", ".join(columns)[:200] or "nothing"
        raise MetadataError(
            f"{name}: has no column {', '.join(sorted(missing))} (found {found}); "
            "expected the names of the columns in its first line"
        )
    if not is_text("".join(columns)):
        raise MetadataError(f"{name}: its first line is not valid UTF-8; save the file as UTF-8")
    if twice := {column for column in columns if columns.count(column) > 1}:
        raise MetadataError(f"{name}: names the column {', '.join(sorted(twice))} twice; expected each once")
    return list(_read_rows(reader, columns))


def columns_of(text: str) -> set[str]:
    """The columns that the first line of a CSV file names."""
    return set(_open_csv(text, set())[1])


def read_json_lines(text: str) -> list[Row]:
    """The rows of a JSON Lines file, an object each; blank ones left out."""
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(Row(number, read_json_object(f"line {number}", line)))
            except MetadataError as error:
                rows.append(Row(number, {}, str(error).partition(": ")[2]))
    return rows


def read_json_object(name: str, text: str) -> dict[str, Any]:
    """A JSON object. Raises MetadataError."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"{name}: cannot be read as JSON ({error})") from None
    return _expect_object(name, value)


def read_yaml_object(name: str, text: str) -> dict[str, Any]:
    """A YAML mapping of plain values, read by the safe loader. Raises MetadataError."""
    try:
        value = yaml.safe_load(text)  # not libyaml's loader: deep nesting kills the process there
    except Exception as error:  # its constructors raise nearly anything on values such as '!!int x'
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise MetadataError(f"{name}: cannot be read as YAML ({first_line})") from None
    return _expect_object(name, value)


def read_split(text: str) -> Split | None:
    """The split that a word names; validation sets are held out. None for no word. Raises MetadataError."""
    word = text.strip().casefold()
    if word and word not in SPLIT_NAMES:
        raise MetadataError(f"split '{text}': expected train, heldout (or validation) or test")
    return SPLIT_NAMES.get(word)


def as_label(value: object) -> str | None:
    """A plain value as a label's text; None for what is no plain value or no valid text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    return value if isinstance(value, str) and is_text(value) else None


def _open_csv(text: str, required: set[str]) -> tuple[Iterator[list[str]], list[str]]:
    """A reader below the header, and the header's columns, with the delimiter that makes most of them."""
    best: tuple[Iterator[list[str]], list[str]] | None = None
    for delimiter in DELIMITERS:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            columns = [column.strip() for column in next(reader, [])]
        except csv.Error:
            columns = []
        if required and required <= set(columns):
            return reader, columns
        if best is None or len(columns) > len(best[1]):
            best = reader, columns
    assert best is not None
    return best


def _read_rows(reader: Any, columns: list[str]) -> Iterator[Row]:
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # such as an endless value; the next line is read afresh
            yield Row(line, {}, f"cannot be read as CSV ({error})")
            continue
        if not values:
            continue
        if len(values) != len(columns):
            yield Row(line, {}, f"has {len(values)} values under {len(columns)} columns")
        elif not is_text("".join(values)):
            yield Row(line, {}, "is not valid UTF-8; save the file as UTF-8")
        else:
            yield Row(line, dict(zip(columns, values, strict=True)))


def _expect_object(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MetadataError(f"{name}: found a {type(value).__name__}, expected names with values")
    return value
