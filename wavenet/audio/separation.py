"""Demucs: from a finished track to stems, gain-exact.

Knows files and Demucs; nothing of tracks or records. The invariant: stems are float32 as Demucs
computed them, never rescaled one by one, so that mixture - sum of stems is a true residual.
"""

import os
import random
from pathlib import Path
from typing import Any

import torch

from wavenet.audio.io import AudioStats, level_db, measure, read_audio, write_audio
from wavenet.config import SeparationConfig
from wavenet.errors import SeparationError

SAMPLE_RATE, NUM_CHANNELS = 44100, 2
"""What Demucs' stock models take."""

HUB = "hf://"
"""Demucs' prefix for what comes from the Hugging Face hub and from nowhere else."""
INSTALL = "pip install 'waveband[separate]'"


def load_separator(config: SeparationConfig) -> Any:
    """A `demucs.api.Separator`. Weights come from the local hub cache; nothing is downloaded.

    Raises SeparationError naming what is missing and how to get it.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # else a lookup of 23 s before the same error
    try:
        from demucs.api import Separator
    except ImportError:
        raise SeparationError(f"separation.enabled needs Demucs, which is not installed: {INSTALL}") from None
    if config.repo is not None and not config.repo.is_dir():
        raise SeparationError(f"separation.repo: {config.repo} is no folder; expected one of Demucs models")
    device = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    options = {
        "shifts": config.shifts,
        "overlap": config.overlap,
        "segment": config.segment,
        "jobs": config.jobs,
        "device": device,
    }
    name = config.model
    if config.repo is None and not name.startswith(HUB):
        name = HUB + name  # else Demucs goes on to pickled weights from its older server
    try:
        return Separator(model=name, repo=config.repo, **options)
    except (Exception, SystemExit) as error:
        raise SeparationError(
            f"Demucs model '{config.model}' cannot be loaded ({error}). {_remedy(config.repo, name)}"
        ) from None


def _remedy(repo: Path | None, name: str) -> str:
    if repo is not None:
        return f"separation.repo: expected {name}.yaml or {name}.th, as Demucs keeps them, in {repo}"
    return (
        "Waveband downloads nothing by itself: run once, online, HF_HUB_OFFLINE=0 python -c "
        f"\"from demucs.api import Separator; Separator('{name}')\", or point separation.repo to a folder "
        "of models"
    )


def separate_file(
    separator: Any, source: Path, folder: Path
) -> tuple[dict[str, AudioStats], int, float | None]:
    """Write every stem of a track as `folder/STEM.wav`, float32.

    source: (time, channels) audio as the model takes it, see SAMPLE_RATE and NUM_CHANNELS. Returns
    the stems' stats, their sample rate, and the energy of mixture - sum of stems in dB of the mixture's,
    None where that is silent. The same track gives the same stems. Raises SeparationError.
    """
    waveform, sample_rate = read_audio(source)
    state = random.getstate()
    random.seed(0)  # Demucs draws its shifts from the global generator
    try:
        mixture, stems = separator.separate_tensor(torch.from_numpy(waveform.T.copy()), sample_rate)
    except Exception as error:
        raise SeparationError(
            f"{source.name}: Demucs failed ({error}); try another separation.segment (seconds a chunk) "
            "or separation.device=cpu"
        ) from error
    finally:
        random.setstate(state)
    stats = {}
    for stem, sound in stems.items():
        samples = sound.T.numpy()
        write_audio(folder / f"{stem}.wav", samples, separator.samplerate)
        stats[stem] = measure(samples)
    residual = mixture.double() - sum(sound.double() for sound in stems.values())
    power = float(mixture.double().square().mean())
    rest_db = level_db(float(residual.square().mean()) / power) if power > 0 else None
    return stats, int(separator.samplerate), rest_db
