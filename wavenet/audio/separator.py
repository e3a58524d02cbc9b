"""Demucs in memory: a model with its settings, and the stems of one waveform.

Knows nothing of files but where weights lie. The invariants: nothing is downloaded; stems are float32 as
Demucs computes them, never rescaled one by one; and the same waveform gives the same stems.
"""

import math
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavenet.audio.weights import HUB, find_weights
from wavenet.config import SeparationConfig
from wavenet.errors import SeparationError

Waveform = NDArray[np.float32]
Progress = Callable[[float], None]
"""Is told the share of the work that is done, 0 to 1."""

_demucs_at_work = threading.Lock()  # names in modules that are not ours are changed for a while


@dataclass(frozen=True)
class Level:
    """What Demucs normalizes a track by: mean and standard deviation of the mean of its channels."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Separator:
    """A Demucs model, and the settings it runs with."""

    demucs: Any  # demucs.api.Separator
    config: SeparationConfig

    @property
    def stems(self) -> list[str]:
        """Their names, in the model's order."""
        return list(self.demucs.model.sources)

    @property
    def sample_rate(self) -> int:
        """Hz; that of the stock models is 44100."""
        return int(self.demucs.samplerate)

    @property
    def num_channels(self) -> int:
        """Two for the stock models."""
        return int(self.demucs.audio_channels)

    @property
    def segment_length(self) -> int:
        """Samples that a model is given at once; the longest where those of a bag differ."""
        segments = [model.segment for model in _models_of(self.demucs)]
        return int(self.sample_rate * (self.config.segment or max(segments)))

    @property
    def stride(self) -> int:
        """Samples from one segment to the next."""
        return max(1, int((1 - self.config.overlap) * self.segment_length))

    def separate(self, waveform: Waveform, level: Level, progress: Progress) -> Waveform:
        """The stems of a track or of a piece of it, (stems, time, channels).

        waveform: (time, channels) at the model's rate. level: of the whole track, so that pieces are given
        to the model as the whole would be; else this is `demucs.api.Separator.separate_tensor`. progress is
        told after each segment, by one thread at a time. Raises SeparationError.
        """
        import torch
        from demucs.apply import apply_model

        normalized = torch.from_numpy(waveform.T.copy()).sub_(level.mean).div_(level.deviation)
        try:
            with _demucs_at_work, _random_numbers_of_our_own():
                stems = apply_model(
                    self.demucs.model,
                    normalized[None],
                    shifts=self.config.shifts,
                    overlap=self.config.overlap,
                    segment=self.config.segment,
                    num_workers=self.config.jobs,
                    device=find_device(self.config.device),
                    callback=_SegmentCounter(self, progress),
                    callback_arg={"audio_length": len(waveform)},
                )[0]
        except Exception as error:
            raise SeparationError(
                f"Demucs failed ({error}); try another separation.segment (seconds at once) or "
                "separation.device=cpu"
            ) from error
        return stems.mul_(level.deviation).add_(level.mean).permute(0, 2, 1).numpy()


def check_separator(config: SeparationConfig) -> None:
    """Raise SeparationError if Demucs, its weights or the device are not there. Loads no weights."""
    find_weights(config)
    find_device(config.device)


def load_separator(config: SeparationConfig) -> Separator:
    """Demucs, with weights from the local hub cache or a local repository.

    Raises SeparationError naming what is missing and how to get it.
    """
    check_separator(config)
    from demucs.api import Separator as DemucsSeparator

    name = config.model
    if config.repo is None and not name.startswith(HUB):
        name = HUB + name  # else Demucs goes on to pickled weights from its older server
    try:
        with _demucs_at_work, _only_the_hub_cache():
            demucs = DemucsSeparator(model=name, repo=config.repo, device=find_device(config.device))
    except (Exception, SystemExit) as error:
        raise SeparationError(
            f"Demucs model '{config.model}' cannot be loaded ({error}); its files may be damaged, or of "
            "another version of Demucs: fetch them again"
        ) from None
    _refuse_long_segment(demucs, config)
    return Separator(demucs, config)


def find_device(name: str) -> str:
    """The torch device that is meant; `auto` is a GPU if there is one. Raises SeparationError."""
    import torch  # takes seconds

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SeparationError(
            f"separation.device: '{name}' is no device; expected auto, cpu, cuda or cuda:1"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SeparationError(
            f"separation.device: there is no {name}, for this machine has {torch.cuda.device_count()} GPUs "
            "that torch can use; expected auto or cpu"
        )
    return name


def _models_of(demucs: Any) -> list[Any]:
    """The networks of a bag, or the one that there is."""
    return list(getattr(demucs.model, "models", [demucs.model]))


def _refuse_long_segment(demucs: Any, config: SeparationConfig) -> None:
    """Transformers take no more than they were trained on, and would fail at the first segment."""
    from demucs.htdemucs import HTDemucs

    trained_on = [float(model.segment) for model in _models_of(demucs) if isinstance(model, HTDemucs)]
    longest = min(trained_on, default=math.inf)
    if config.segment is not None and config.segment > longest:
        raise SeparationError(
            f"separation.segment: found {config.segment:g}, expected at most {longest:g}, the seconds that "
            f"'{config.model}' was trained on; leave it out to use those"
        )


@dataclass
class _SegmentCounter:
    """Makes shares of the work of Demucs' events: a bag's models, each as often as there are shifts."""

    separator: Separator
    progress: Progress
    done: float = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        if event["state"] != "end":
            return
        shifts = max(1, self.separator.config.shifts)
        passes = event["model_idx_in_bag"] * shifts + event["shift_idx"]
        share = min(1.0, (event["segment_offset"] + self.separator.stride) / event["audio_length"])
        # with jobs, segments do not end in their order
        self.done = max(self.done, (passes + share) / (event["models"] * shifts))
        self.progress(self.done)


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """A name in somebody else's module, changed for a while."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextmanager
def _only_the_hub_cache() -> Iterator[None]:
    """What Demucs asks the hub for is taken from the cache, whatever HF_HUB_OFFLINE said at import."""
    import huggingface_hub

    download = partial(huggingface_hub.hf_hub_download, local_files_only=True)
    with _replaced(huggingface_hub, "hf_hub_download", download):
        yield


@contextmanager
def _random_numbers_of_our_own() -> Iterator[None]:
    """Demucs draws shifts from Python's global generator, which other threads may draw from as well."""
    import demucs.apply
    import demucs.transformer

    shifts, positions = random.Random(0), random.Random(0)  # noqa: S311
    # apart, so that shifts do not depend on how many segments there were before
    with _replaced(demucs.apply, "random", shifts), _replaced(demucs.transformer, "random", positions):
        yield
