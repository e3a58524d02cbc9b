"""One HTML file to hear and judge a band by: the mix, every stem beside real audio, and the numbers.

Knows nothing of models, shards or how the clips were made. The invariants: the page needs no other file
and no network, whatever comes from names or files is escaped, and the same page gives the same bytes.
"""

import base64
import io
import math
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np

from wavenet.audio.io import read_audio
from wavenet.evaluation.baselines import Baselines
from wavenet.files import write_text

TEMPLATE = Path(__file__).with_name("listening_page.html.j2")
UNKNOWN = "\N{EN DASH}"


class TakeTable(NamedTuple):
    """Scores of takes: plain text, every row as long as the head; the first row has the ranges."""

    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class StemSection:
    """What is shown of one stem. Bits are per sample; lengths are of audio, in seconds."""

    stem: str
    heldout_bits: float
    baselines: Baselines
    quantization_snr_db: float | None  # of the held-out audio; None where there is none
    train_seconds: float
    heldout_seconds: float
    steps: int
    num_parameters: int
    receptive_field_seconds: float
    take: Path  # wav, generated
    take_mel: Path  # png
    take_onsets: Path  # png
    reference: Path | None  # wav: real held-out audio as its codes sound, the codec's ceiling
    reference_mel: Path | None  # png
    reference_onsets: Path | None  # png
    loss_curve: Path  # png
    gain_db: float = 0.0  # in the mix; heard when all stems play together
    on_the_way: Sequence[tuple[int, Path, Path]] = ()  # step, wav, png of takes while it learned
    scores: TakeTable | None = None


@dataclass(frozen=True)
class ListeningPage:
    """All that the page shows."""

    title: str
    mix: Path  # wav
    mix_mel: Path  # png
    mix_loudness_lufs: float | None
    sample_rate: int
    seconds: float
    clip_mode: str
    stems: list[StemSection]
    tracks: list[tuple[str, str]]  # name, one line about it
    set_aside: list[tuple[str, str]]  # path, reason
    notes: list[str]
    config_yaml: str


def write_listening_page(page: ListeningPage, path: Path) -> None:
    """Write the page as one HTML file, whole or not at all.

    Clips are embedded as 16-bit WAV, which every browser plays. Raises AudioDecodeError for a clip that
    cannot be read.
    """
    environment = make_environment(audio_uri, image_uri, format_number, format_share, format_seconds)
    html = environment.get_template(TEMPLATE.name).render(page=page)
    write_text(path, html.encode("utf-8", "backslashreplace").decode())  # names may hold stray bytes


def audio_uri(path: Path) -> str:
    """A WAV file as a data: URI of 16-bit WAV; what exceeds full scale is clipped."""
    waveform, sample_rate = read_audio(path)
    codes = np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:  # soundfile would call back, where Ctrl-C is lost
        file.setparams((codes.shape[1], 2, sample_rate, len(codes), "NONE", ""))
        file.writeframesraw(codes.astype("<i2").tobytes())
    return _data_uri("audio/wav", stream.getvalue())


def image_uri(path: Path) -> str:
    """A PNG file as a data: URI."""
    return _data_uri("image/png", path.read_bytes())


def format_number(value: float | None, digits: int = 0, signed: bool = False) -> str:
    """1234.5 as 1,234.5 with a true minus sign; a dash for what is unknown or not finite."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    text = f"{value:{'+' if signed else '-'}z,.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def format_share(bits: float, baseline_bits: float) -> str:
    """How far bits lie below (−) or above (+) a baseline, in percent of it."""
    change = bits / baseline_bits - 1 if baseline_bits else math.nan
    return f"{format_number(100 * change, signed=True)}%" if math.isfinite(change) else UNKNOWN


def format_seconds(seconds: float) -> str:
    """A length of audio in words: 128 ms, 10.0 s, 24 min 10 s, 8 h 0 min."""
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _data_uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def make_environment(*filters: Callable) -> jinja2.Environment:
    """What renders a page: everything is escaped, nothing may be missing; filters go by their names."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    for function in filters:
        environment.filters[function.__name__] = function
    return environment
