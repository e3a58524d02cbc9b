"""Takes to listen to while a network learns: the same place and the same seeds at every step.

They are kept by step, so that step 5,000 and step 50,000 can be heard side by side. The invariant: a
folder `samples/step-...` is whole, and the training goes on as if nobody had listened.
"""

import copy
from pathlib import Path

import numpy as np

from wavenet.audio.io import write_audio
from wavenet.audio.quantization import Quantizer
from wavenet.config import TrainingConfig
from wavenet.data.primes import choose_places, context_and_continuation
from wavenet.data.shards.format import Manifest
from wavenet.evaluation.plots import plot_mel
from wavenet.files import new_folder, publish_folder, write_json
from wavenet.generation.engine import generate
from wavenet.model.wavenet import WaveNet
from wavenet.session.job import SAMPLES
from wavenet.training.windows import continuation_condition

SEEDS = (0, 1)
"""Two takes: one may be unlucky."""


class TakeWriter:
    """Writes what a network plays after held-out audio into `samples/step-...`: WAV, mel picture, JSON."""

    def __init__(self, shards: Path, manifest: Manifest, folder: Path, config: TrainingConfig) -> None:
        self.shards, self.manifest, self.folder = shards, manifest, folder / SAMPLES
        self.quantizer = Quantizer(manifest.law, manifest.quantization_channels)
        self.num_samples = round(config.sample_seconds * manifest.sample_rate)

    def __call__(self, step: int, model: WaveNet) -> None:
        """Leave the takes of a step. model: on any device; it is not changed."""
        here = copy.deepcopy(model).cpu().eval()
        name = f"step-{step:08d}"
        with new_folder(self.folder, name) as folder:
            for seed in SEEDS:
                self._write_take(here, seed, step, folder)
            publish_folder(folder, self.folder / name)

    def _write_take(self, model: WaveNet, seed: int, step: int, folder: Path) -> None:
        place = choose_places({"stem": self.shards}, model.receptive_field, self.num_samples)["stem"]
        condition = None
        if place is None:
            context = np.full(model.receptive_field, self.quantizer.silence_code, self.quantizer.dtype)
        else:
            asked = (place, model.receptive_field, self.num_samples)
            context, _ = context_and_continuation(self.shards, *asked)
            condition = continuation_condition(self.shards, model.form, *asked)
        (codes,) = generate(model, context[None], self.num_samples, condition=condition, seed=seed)
        waveform = self.quantizer.decode(codes)
        wav = folder / f"seed-{seed}.wav"
        write_audio(wav, waveform, self.manifest.sample_rate)
        plot_mel(waveform, self.manifest.sample_rate, wav.with_suffix(".png"))
        facts = {
            "step": step,
            "seed": seed,
            "sample_rate": self.manifest.sample_rate,
            "num_samples": self.num_samples,
            "peak": float(np.abs(waveform).max()),
            "rms": float(np.sqrt(np.square(waveform, dtype=np.float64).mean())),
            "after": {"track_id": place.track_id, "start_sample": place.start_sample} if place else None,
        }
        write_json(wav.with_suffix(".json"), facts)
