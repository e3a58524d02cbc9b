"""Pictures of a training and of a sound, as PNG files.

Knows nothing of models, of pages or of pyplot's global state: any thread may draw. The invariant: the
same input gives the same bytes, written whole or not at all.

matplotlib and librosa's mel filters (which bring numba) take seconds to import, so each is imported
where it is used.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.onsets import find_onsets
from wavenet.files import new_folder, sync_file, sync_folder
from wavenet.training.metrics import FINAL_BITS, HELDOUT_BITS, STEP, TRAIN_BITS, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    Label = tuple[float, str, str]  # height, text, colour

SIZE_INCHES, DOTS_PER_INCH = (5.6, 2.4), 150  # small inches, many dots: readable on a phone
FONT_POINTS = 8
MUTED, FAINT = "#5c6068", "#d9dade"
TRAIN_COLOR, HELDOUT_COLOR = "#9a6a3c", "#1f4e79"
LOUDNESS_COLORS = ("#ffffff", "#cfdce8", "#7fa0c2", "#2f5688", "#0c1533")  # quiet is paper, loud is ink

WINDOW_SECONDS = 0.064
NUM_MELS, NUM_COLUMNS = 96, 480
FLOOR_DB = -90.0
ONSETS_TO_DB = 30.0
PITCHES_HZ = (250, 500, 1000, 2000, 4000, 8000, 16000)

LABEL_GAP = 0.09
"""Least distance between two labels at the edge of a plot, as a share of its height."""


def plot_loss(rows: Sequence[Row], baselines: Mapping[str, float], path: Path) -> None:
    """Draw bits per sample over steps as a PNG: training, held out, the final held-out value, baselines.

    rows: as `read_metrics` returns them; none is fine. baselines: name to bits per sample, a level line each.
    """
    figure, axes = _new_figure()
    labels = [_draw_baseline(axes, name, bits) for name, bits in baselines.items()]
    labels += _draw_curve(axes, "train", _series(rows, TRAIN_BITS), TRAIN_COLOR)
    final = _series(rows, FINAL_BITS)
    heldout = _draw_curve(axes, "held out", _series(rows, HELDOUT_BITS), HELDOUT_COLOR)
    labels += _mark_final(axes, final) if final else heldout
    _scale_steps(axes, has_steps=any(STEP in row for row in rows))
    axes.margins(y=0.1)
    axes.set_ylabel("bits per sample")
    if labels:
        _label_right_edge(axes, labels)
    else:
        axes.set_yticks([])
    _save_figure(figure, path)


def plot_comparison(curves: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Draw held-out bits per sample over steps of two trainings as a PNG, the one that matters first.

    curves: name to rows, as `read_metrics` returns them.
    """
    figure, axes = _new_figure()
    labels: list[Label] = []
    for (name, rows), color in zip(curves.items(), (HELDOUT_COLOR, TRAIN_COLOR), strict=True):
        labels += _draw_curve(axes, name, _series(rows, HELDOUT_BITS), color)
    _scale_steps(axes, has_steps=bool(labels))
    axes.margins(y=0.1)
    axes.set_ylabel("held-out bits per sample")
    _label_right_edge(axes, labels)
    _save_figure(figure, path)


def plot_mel(waveform: NDArray[np.floating], sample_rate: int, path: Path) -> None:
    """Draw a mel spectrogram as a PNG: seconds to the right, hertz upwards, louder is darker.

    waveform: (time,) float, full scale = 1, any length. The colours always span -90 to 0 dB of full
    scale, so that pictures can be compared and silence stays blank.
    """
    figure, axes = _new_figure()
    decibels, hop_length = _mel_decibels(waveform, sample_rate)
    half = hop_length / sample_rate / 2  # a column is centred on its time
    crowded = decibels.shape[1] > 1.1 * NUM_COLUMNS
    image = axes.imshow(
        decibels, origin="lower", aspect="auto", cmap=_loudness_colors(), vmin=FLOOR_DB, vmax=0.0,
        extent=(-half, (2 * decibels.shape[1] - 1) * half, 0, NUM_MELS),
        # averages what has no pixel of its own; nearest makes half the bytes
        interpolation="auto" if crowded else "nearest",
    )  # fmt: skip
    axes.set_xlim(0, max(len(waveform), 1) / sample_rate)
    axes.set_xlabel("seconds")
    _scale_pitch(axes, sample_rate)
    _add_scale(figure, axes, image)
    _save_figure(figure, path)


def plot_onsets(waveform: NDArray[np.floating], sample_rate: int, path: Path) -> None:
    """Draw as a PNG how sharply each moment begins, in dB, with a mark on each onset and their rate.

    waveform: (time,) float, full scale = 1, any length. The scale goes to 30 dB at least, so that pictures
    of quiet and of lively takes can be compared.
    """
    onsets = find_onsets(waveform, sample_rate)
    seconds = max(len(waveform), 1) / sample_rate
    figure, axes = _new_figure()
    axes.plot(np.arange(len(onsets.strength)) * onsets.frame_seconds, onsets.strength,
              color=HELDOUT_COLOR, linewidth=0.8)  # fmt: skip
    heights = onsets.strength[np.rint(onsets.seconds / onsets.frame_seconds).astype(int)]
    axes.plot(onsets.seconds, heights, color=TRAIN_COLOR, linestyle="", marker="v", markersize=3)
    axes.set_xlim(0, seconds)
    axes.set_ylim(0, max(ONSETS_TO_DB, 1.08 * float(onsets.strength.max(initial=0))))
    axes.set_xlabel(f"seconds; {len(onsets.seconds)} onsets, {len(onsets.seconds) / seconds:.1f} a second")
    axes.set_ylabel("rise in dB")
    _save_figure(figure, path)


def _mel_decibels(waveform: NDArray[np.floating], sample_rate: int) -> tuple[NDArray[np.floating], int]:
    """Power in mel bands in dB, where a full-scale sine is 0 dB, (bands, frames); and the hop length."""
    from librosa.feature import melspectrogram  # lazy: see the module

    window_length = 2 ** round(math.log2(WINDOW_SECONDS * sample_rate))
    hop_length = int(np.clip(len(waveform) // NUM_COLUMNS, window_length // 16, window_length // 2))
    padded = np.pad(waveform, (0, max(0, window_length - len(waveform)))).astype(np.float32)
    power = melspectrogram(
        y=padded, sr=sample_rate, n_fft=window_length, hop_length=hop_length, n_mels=NUM_MELS, norm=None
    )
    full_scale = (window_length / 4) ** 2  # of a sine's peak bin under a Hann window
    return 10 * np.log10(np.maximum(power / full_scale, 10 ** (FLOOR_DB / 10))), hop_length


def _series(rows: Sequence[Row], key: str) -> list[tuple[float, float]]:
    """(step, value) of every row that has a finite value of that name."""
    return [(row[STEP], row[key]) for row in rows if key in row and math.isfinite(row[key])]


def _draw_curve(axes: Axes, name: str, points: list[tuple[float, float]], color: str) -> list[Label]:
    """Draw points as a line, a single one as a dot. Returns the label of its end, if it has one."""
    if not points:
        return []
    axes.plot(*zip(*points, strict=True), color=color, linewidth=1.3, marker="." if len(points) == 1 else "")
    return [(points[-1][1], f"{name} {points[-1][1]:.2f}", color)]


def _mark_final(axes: Axes, final: list[tuple[float, float]]) -> list[Label]:
    """A dot on the value over all held-out samples. Returns its label."""
    step, bits = final[-1]
    axes.plot(step, bits, color=HELDOUT_COLOR, marker="o", markersize=4.5, clip_on=False, zorder=3)
    return [(bits, f"held out {bits:.2f}", HELDOUT_COLOR)]


def _draw_baseline(axes: Axes, name: str, bits: float) -> Label:
    """A dashed level line. Returns its label."""
    axes.axhline(bits, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    return bits, f"{name} {bits:.2f}", MUTED


def _scale_steps(axes: Axes, has_steps: bool) -> None:
    """Whole steps with thousands apart; an empty axis says that it is."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("steps" if has_steps else "no steps yet")
    if not has_steps:
        axes.set_xticks([])
        return
    axes.set_xlim(left=0)
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")


def _label_right_edge(axes: Axes, labels: list[Label]) -> None:
    """Write each label beside the height it belongs to, apart enough to be read."""
    low, high = axes.get_ylim()
    labels = sorted(labels)
    heights = _spread([(height - low) / (high - low) for height, _, _ in labels])
    for height, (_, text, color) in zip(heights, labels, strict=True):
        axes.text(1.015, height, text, color=color, transform=axes.transAxes, va="center",
                  fontsize=FONT_POINTS, parse_math=False)  # fmt: skip


def _spread(heights: list[float]) -> list[float]:
    """Ascending heights moved up, as little as it takes, until LABEL_GAP lies between neighbours."""
    spread: list[float] = []
    for height in heights:
        spread.append(max(height, spread[-1] + LABEL_GAP) if spread else height)
    return spread


def _scale_pitch(axes: Axes, sample_rate: int) -> None:
    """Mel bands named by their hertz."""
    import librosa  # lazy: see the module

    pitches = [hertz for hertz in PITCHES_HZ if hertz <= sample_rate / 2]
    bands = librosa.hz_to_mel(pitches) * NUM_MELS / librosa.hz_to_mel(sample_rate / 2)
    axes.set_yticks(bands, [_short(hertz) for hertz in pitches])
    axes.set_ylabel("Hz")


def _add_scale(figure: Figure, axes: Axes, image: AxesImage) -> None:
    """The key to the colours, thin, at the right."""
    bar = figure.colorbar(image, ax=axes, pad=0.015, aspect=30, ticks=[FLOOR_DB, -60, -30, 0])
    bar.set_label("dB", color=MUTED, fontsize=FONT_POINTS, labelpad=1)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=FONT_POINTS, labelcolor=MUTED)


def _loudness_colors() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ink", LOUDNESS_COLORS)


def _short(hertz: int) -> str:
    return f"{hertz // 1000}k" if hertz >= 1000 else str(hertz)


def _new_figure() -> tuple[Figure, Axes]:
    """A figure of one quiet pair of axes on white, on a canvas of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(SIZE_INCHES, DOTS_PER_INCH, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=MUTED, labelsize=FONT_POINTS)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=MUTED, fontsize=FONT_POINTS)
    return figure, axes


def _save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all, without the version of who wrote it."""
    with new_folder(path.parent, "plot") as folder:
        figure.savefig(folder / path.name, format="png", metadata={"Software": None})
        sync_file(folder / path.name)
        os.replace(folder / path.name, path)
    sync_folder(path.parent)
