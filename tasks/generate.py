"""Generation: from a stem's model to a take."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.caching import cached_task
from tasks.progress import Progress
from tasks.records import ModelRecord, Prime, ShardsRecord, TakeRecord
from tasks.workspace import Workspace
from wavenet.audio.io import write_audio
from wavenet.audio.mulaw import Codes
from wavenet.audio.quantization import Quantizer
from wavenet.config import GenerationConfig, num_generated_samples
from wavenet.data.primes import Place, choose_places, context_and_continuation
from wavenet.evaluation.plots import plot_mel, plot_onsets
from wavenet.files import digest_folder, write_json

if TYPE_CHECKING:
    from wavenet.generation.engine import Player
    from wavenet.model.conditioning import Condition
    from wavenet.model.wavenet import WaveNet

TAKE, REFERENCE = "take.wav", "reference.wav"
MEL, ONSETS = ".png", "-onsets.png"
"""Endings of the pictures beside a sound."""
CARD = "take.json"
NUM_WINDOWS, SCORED_LENGTH = 8, 2000
"""Of held-out audio, on which precisions are compared."""


def choose_primes(
    workspace: Workspace, shards: dict[str, ShardsRecord], receptive_field: int, num_samples: int
) -> dict[str, Prime | None]:
    """The place in held-out audio where each stem's take begins, the same for all where it can be."""
    folders = {stem: workspace.path(record.folder) for stem, record in shards.items()}
    places = choose_places(folders, receptive_field, num_samples)
    return {
        stem: Prime(track_id=place.track_id, start_sample=place.start_sample) if place else None
        for stem, place in places.items()
    }


@cached_task(version="3", run_name="generate-{stem}")
def generate(
    workspace: Workspace,
    stem: str,
    model: ModelRecord,
    shards: ShardsRecord,
    prime: Prime | None,
    config: GenerationConfig,
) -> TakeRecord:
    """Generate a stem from its model: float32 WAV, going on from held-out audio, which is cut off.

    Beside it lies what the record itself plays from there, through the same codec: the reference.
    """
    from wavenet.generation.engine import generate_blocks  # torch takes seconds to import
    from wavenet.model.saved import load_model

    network, card = load_model(workspace.path(model.folder))
    num_samples = num_generated_samples(config, card.sample_rate)
    quantizer = Quantizer(card.law, card.quantization_channels)
    context, reference = _prime(workspace, shards, prime, network.receptive_field, num_samples, quantizer)
    condition = _condition(workspace, shards, prime, network, num_samples)
    progress = Progress(f"generate {stem}", num_samples)
    blocks = []
    player = choose_player(workspace.path(shards.folder), network, config, progress.say)
    for block in generate_blocks(
        network, context[None], num_samples, condition=condition, seed=config.seed, player=player
    ):
        blocks.append(block[0])
        progress.done += block.shape[1]  # the text tells the rate up to here
        faster = progress.rate / card.sample_rate
        progress.update(progress.done, f"{faster:.2g} times as fast as it plays")
    with workspace.new_folder("takes") as folder:
        files = {TAKE: np.concatenate(blocks), REFERENCE: reference}
        for name, codes in files.items():
            if len(codes):
                waveform = quantizer.decode(codes)
                write_audio(folder / name, waveform, card.sample_rate)
                plot_mel(waveform, card.sample_rate, picture_of(folder / name, MEL))
                plot_onsets(waveform, card.sample_rate, picture_of(folder / name, ONSETS))
        write_json(
            folder / CARD,
            {
                "stem": stem,
                "model": model.digest,
                "generation": config.model_dump(),
                "precision": player.precision,
                "prime": prime.model_dump() if prime else None,
            },
        )
        digest = digest_folder(folder, [TAKE, CARD])
        return TakeRecord(
            digest=digest,
            folder=workspace.publish(folder, digest, stem),
            stem=stem,
            sample_rate=card.sample_rate,
            num_samples=num_samples,
            has_reference=len(reference) > 0,
        )


def choose_player(
    shards: Path, network: "WaveNet", config: GenerationConfig, tell: Callable[[str], None]
) -> "Player":
    """How a network is played: as configured, in the fastest numbers that its held-out loss allows."""
    from wavenet.generation import processor
    from wavenet.generation.engine import Player
    from wavenet.generation.precision import choose_precision
    from wavenet.generation.sampling import Choice
    from wavenet.training.windows import HeldoutWindows

    player = Player(Choice(config.temperature, config.top_k, config.top_p), config.guidance, config.backend)
    if config.backend == "reference":
        return player
    heldout = HeldoutWindows(shards, network.receptive_field, SCORED_LENGTH, network.form)
    windows = next(heldout.batches(NUM_WINDOWS, NUM_WINDOWS))
    chosen = choose_precision(network, windows.codes.numpy(), windows.condition, config.precision)
    moved = ", ".join(
        f"{name} moves the held-out loss by {nats:+.4f} nats" for name, nats in chosen.moved.items()
    )
    tell(f"{chosen.name}, {processor.describe()}{f'; {moved}' if moved else ''}")
    return replace(player, precision=chosen.name)


def picture_of(sound: Path, ending: str) -> Path:
    """Where a picture of a sound lies: beside it."""
    return sound.with_name(sound.stem + ending)


def _condition(
    workspace: Workspace, shards: ShardsRecord, prime: Prime | None, network: "WaveNet", num_samples: int
) -> "Condition | None":
    """What the held-out track does from its prime on, for a network that is told such things."""
    from wavenet.training.windows import continuation_condition

    if prime is None:
        return None
    place = Place(prime.track_id, prime.start_sample)
    folder = workspace.path(shards.folder)
    return continuation_condition(folder, network.form, place, network.receptive_field, num_samples)


def _prime(
    workspace: Workspace,
    shards: ShardsRecord,
    prime: Prime | None,
    context_length: int,
    num_samples: int,
    quantizer: Quantizer,
) -> tuple[Codes, Codes]:
    """Codes to go on from, and those of the true continuation; silence and nothing without a prime."""
    if prime is None:
        silence = np.full(context_length, quantizer.silence_code, quantizer.dtype)
        return silence, np.zeros(0, quantizer.dtype)
    place = Place(prime.track_id, prime.start_sample)
    return context_and_continuation(workspace.path(shards.folder), place, context_length, num_samples)
