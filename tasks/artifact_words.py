"""What artifacts are written in: markdown that shows any text as it is, and pictures inside it.

Knows nothing of runs. The invariant: whatever a file or a stem is called, it is read as that and as nothing
else, no markup, no link, no picture from elsewhere; in both of Prefect's UIs, one of which reads cells of a
table artifact as markdown and the other as they are.
"""

import base64
import re
from collections.abc import Sequence
from pathlib import Path

SPECIAL = re.compile(r"([\\`*_\[\]<>|~#!&])")
NOTHING = "\N{ZERO WIDTH SPACE}"
"""Between two signs that would be markup together."""


def escape(text: str) -> str:
    """Any text as markdown, on one line. Not to begin a line with, where a number or a dash means a list."""
    return SPECIAL.sub(r"\\\1", one_line(text)).replace("://", f":{NOTHING}//")


def code(text: str) -> str:
    """A path or a command as markdown, to be copied."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{one_line(text)}{pad}{fence}"


def link(text: str, address: str) -> str:
    """A link as markdown."""
    quoted = re.sub(r"[\s()<>\\]", lambda sign: f"%{ord(sign[0]):02X}", address)
    return f"[{escape(text)}]({quoted})"


def picture(png: bytes | Path, name: str) -> str:
    """A PNG inside of markdown. In place of an image artifact, which shows its whole address beside it."""
    content = png.read_bytes() if isinstance(png, Path) else png
    return f"![{escape(name)}](data:image/png;base64,{base64.b64encode(content).decode('ascii')})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as markdown; cells are markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """Text in a cell of a table artifact: nothing in it is a tag, a link or a picture."""
    return re.sub(r"(?<=<)|(?<=\])(?=[(\[])", NOTHING, one_line(text))


def one_line(text: str) -> str:
    """Text without line breaks and control signs; bytes of a name that are no text, as escapes."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    return " ".join(re.sub(r"[\x00-\x1f\x7f\u2028\u2029]", " ", plain).split(" ")).strip()
