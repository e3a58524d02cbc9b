"""What a run's page shows of a stem: its loss curve and its latest sample while it learns, then its take.

Knows nothing of training. The invariants: a training is not slowed, since all is drawn from its files by
another thread, seldom; and what is shown at the end is the picture that is kept.
"""

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tasks.artifact_board import Content
from tasks.artifact_words import code, escape, picture, table
from tasks.artifacts import artifact_key, run_artifact
from tasks.records import TakeRecord
from wavenet.data.choosing import choose_evenly
from wavenet.evaluation.baselines import Baselines
from wavenet.evaluation.plots import plot_loss
from wavenet.session.job import SAMPLES
from wavenet.training.metrics import FINAL_BITS, HELDOUT_BITS, METRICS, STEP, TRAIN_BITS, Row, read_metrics

SECONDS_BETWEEN = 15.0
MOST_POINTS = 500
"""Of each curve that is drawn while it grows."""


class LearningPictures:
    """A Reporter that shows a training in its folder as pictures."""

    def __init__(self, stem: str, baselines: Baselines, folder: Path) -> None:
        self.stem, self.baselines, self.folder = stem, baselines, folder
        self.loss = run_artifact("markdown", artifact_key("loss", stem), SECONDS_BETWEEN)
        self.sample = run_artifact("markdown", artifact_key("sample", stem), SECONDS_BETWEEN)

    def begin(self, rows: Sequence[Mapping[str, float]]) -> None:
        """What earlier sessions did is in the folder too."""
        if rows:
            self.report(rows[-1])

    def report(self, row: Mapping[str, float]) -> None:
        """Something is new in the folder; what, is looked at when it is time to."""
        self.loss.show(self._draw_loss)
        self.sample.show(self._show_sample)

    def tell(self, message: str) -> None:
        """Remarks are for the terminal."""

    def finish(self, model: Path, loss_curve: Path) -> None:
        """It is over, and all of it is kept in the model's folder, its curve too."""
        self.folder = model
        self.loss.show(partial(self._show_kept, loss_curve), soon=True)
        self.sample.show(self._show_sample, soon=True)

    def _show_kept(self, loss_curve: Path) -> Content:
        return describe_loss(self.stem, loss_curve.read_bytes(), self._rows(), self.baselines)

    def _rows(self) -> list[dict[str, float]]:
        return read_metrics(self.folder / METRICS)

    def _draw_loss(self) -> Content | None:
        rows = self._rows()
        if not rows:
            return None
        with tempfile.TemporaryDirectory() as place:
            drawn = Path(place) / "loss.png"
            plot_loss(thin_out(rows), self.baselines.models, drawn)
            return describe_loss(self.stem, drawn.read_bytes(), rows, self.baselines)

    def _show_sample(self) -> Content | None:
        """The first seed's take of the latest step that there is one of."""
        steps = sorted((self.folder / SAMPLES).glob("step-*"))
        mels = sorted(steps[-1].glob("*.png")) if steps else []
        if not mels:
            return None
        step = int(steps[-1].name.removeprefix("step-"))
        told = f"What {escape(self.stem)} plays after step {step:,}"
        body = f"To listen to, with those of other steps:\n\n{code(str(steps[-1].parent))}"
        with contextlib.suppress(FileNotFoundError):  # it was moved just now, and is shown from there
            return Content(body, f"{picture(mels[0], 'mel spectrogram')}\n\n{told}")
        return None


def thin_out(rows: Sequence[Row], most: int = MOST_POINTS) -> list[Row]:
    """Rows enough to draw: so many of each kind, the last among them."""
    kinds = {key: [row for row in rows if key in row] for key in (TRAIN_BITS, HELDOUT_BITS, FINAL_BITS)}
    kept = [row for alike in kinds.values() for row in [*choose_evenly(alike[:-1], most), *alike[-1:]]]
    return sorted(kept, key=lambda row: row[STEP])


def describe_loss(stem: str, png: bytes, rows: Sequence[Row], baselines: Baselines) -> Content:
    """A loss curve with its latest figures in words, and all of them as a table."""
    latest = {key: value for row in rows for key, value in row.items()}
    step = latest.pop(STEP, 0)
    names = {TRAIN_BITS: "train", HELDOUT_BITS: "held out", FINAL_BITS: "all that is held out"}
    bits = [f"{name} {latest[key]:.3f}" for key, name in names.items() if key in latest]
    name, best = baselines.best
    told = [
        f"{escape(stem)} at step {step:,.0f}, in bits per sample",
        *bits,
        f"best baseline, {name}: {best:.3f}",
    ]
    figures = table(["Latest figure", ""], [[escape(key), f"{value:,.4g}"] for key, value in latest.items()])
    return Content(figures, "\n\n".join([picture(png, "loss curve"), *told]))


def show_take(take: TakeRecord, sound: Path, mel: Path, reference_mel: Path | None = None) -> None:
    """Show a finished take: its spectrogram, and what the record itself plays from there."""
    made = partial(describe_take, take, sound, mel, reference_mel)
    run_artifact("markdown", artifact_key("take", take.stem)).show(made, soon=True)


def describe_take(take: TakeRecord, sound: Path, mel: Path, reference_mel: Path | None) -> Content:
    """What is shown of a take."""
    told = f"What {escape(take.stem)} plays"
    told += "" if take.badness is None else f"\n\nbadness {take.badness:.2f}, where 0 is best"
    body = f"To listen to:\n\n{code(str(sound))}"
    if reference_mel is not None:
        body += f"\n\nThe record itself, from the same place:\n\n{picture(reference_mel, 'mel spectrogram')}"
    return Content(body, f"{picture(mel, 'mel spectrogram')}\n\n{told}")
