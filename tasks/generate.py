"""Generation: from a stem's model to its takes."""

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tasks.caching import OCCASION, cached_task
from tasks.playing import (
    Performance,
    choose_guard,
    choose_player,
    describe_take,
    record_takes,
    tell_heldout,
    tell_nothing_but,
)
from tasks.progress import Progress
from tasks.ranges import load_judge
from tasks.records import (
    LikelihoodRecord,
    ModelRecord,
    Prime,
    PrintsRecord,
    RangesRecord,
    ShardsRecord,
    TakeRecord,
)
from tasks.scoring import rank_takes
from tasks.stem_pictures import show_take
from tasks.workspace import Workspace
from wavenet.audio.io import read_audio, write_audio
from wavenet.audio.mulaw import Codes
from wavenet.audio.quantization import Quantizer
from wavenet.config import GenerationConfig, num_generated_samples
from wavenet.data.primes import Place, choose_places, context_and_continuation
from wavenet.errors import WavebandError
from wavenet.evaluation.plots import plot_mel, plot_onsets
from wavenet.evaluation.take_scores import SCORES, write_scores
from wavenet.files import digest_bytes, digest_folder, write_json

if TYPE_CHECKING:
    from wavenet.generation.recording import Recording

TAKE, REFERENCE = "take.wav", "reference.wav"
MEL, ONSETS = ".png", "-onsets.png"
"""Endings of the pictures beside a sound."""
CARD = "take.json"


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


@cached_task(version="6", run_name="generate-{stem}")
def generate(
    workspace: Workspace,
    scratch: Path,
    stem: str,
    model: ModelRecord,
    shards: ShardsRecord,
    prime: Prime | None,
    config: GenerationConfig,
    ranges: RangesRecord,
    prints: PrintsRecord,
    likelihood: LikelihoodRecord,
) -> TakeRecord:
    """Generate a stem from its model: float32 WAV, going on from held-out audio, which is cut off.

    ranges, prints, likelihood: what takes are scored against. Of several takes the best is the stem's, and
    others that are kept lie beside it, with the scores of all. So does what the record itself plays from
    there, through the same codec: the reference. An interrupted run of the same key is gone on with.
    """
    from wavenet.generation.recording import names_of  # torch takes seconds to import
    from wavenet.model.saved import load_model

    network, card = load_model(workspace.path(model.folder))
    num_samples = num_generated_samples(config, card.sample_rate)
    quantizer = Quantizer(card.law, card.quantization_channels)
    context, reference = _prime(workspace, shards, prime, network.receptive_field, num_samples, quantizer)
    here, label = workspace.path(shards.folder), f"generate {stem}"
    say = Progress(label, 1).say
    performance = Performance(
        network=network,
        player=choose_player(here, network, config, say),
        guard=choose_guard(config.guards, quantizer, card.sample_rate, here),
        tell=tell_heldout(here, network, prime, {}) if prime else tell_nothing_but(network, {}),
        context=context,
        num_samples=num_samples,
        seed=config.seed,
    )
    recording = _open_recording(scratch, performance, config, quantizer, card.sample_rate)
    takes = record_takes(label, performance, recording)
    names = [path.name for path in names_of(Path(TAKE), config.keep)]
    make_judge = partial(load_judge, workspace, shards, ranges, prints, likelihood)
    ranking = rank_takes(stem, takes, performance, recording, names, make_judge)
    takes, scores = ranking.takes, ranking.scores
    if ranking.unscored:
        say(f"ranked by the guards alone, scoring failed: {ranking.unscored}")
    with workspace.new_folder("takes") as folder:
        for take, name in zip(takes, names, strict=False):
            shutil.copyfile(recording.paths[take.number], folder / name)
        _picture(folder / TAKE, card.sample_rate, read_audio(folder / TAKE)[0][:, 0])
        if len(reference):
            waveform = quantizer.decode(reference)
            write_audio(folder / REFERENCE, waveform, card.sample_rate)
            _picture(folder / REFERENCE, card.sample_rate, waveform)
        write_json(
            folder / CARD,
            {
                "stem": stem,
                "model": model.digest,
                "generation": config.model_dump(),
                "precision": performance.player.precision,
                "prime": prime.model_dump() if prime else None,
                "takes": [
                    {"file": name, **describe_take(take)} for take, name in zip(takes, names, strict=False)
                ],
            },
        )
        if scores is not None:
            write_scores(folder / SCORES, scores)
        digest = digest_folder(folder, [*names, CARD, *([SCORES] if scores else [])])
        record = TakeRecord(
            digest=digest,
            folder=workspace.publish(folder, digest, stem),
            stem=stem,
            sample_rate=card.sample_rate,
            num_samples=num_samples,
            has_reference=len(reference) > 0,
            badness=scores.takes[0].badness if scores else None,
        )
    place = workspace.path(record.folder)
    mels = [picture_of(place / sound, MEL) for sound in (TAKE, REFERENCE)][: 1 + record.has_reference]
    show_take(record, place / TAKE, *mels)
    return record


def _open_recording(
    scratch: Path, performance: Performance, config: GenerationConfig, quantizer: Quantizer, sample_rate: int
) -> "Recording":
    """Of all takes; an earlier run's is gone on with."""
    from wavenet.generation.recording import Recording, paths_under_way, state_of

    scratch.mkdir(parents=True, exist_ok=True)
    paths, state = paths_under_way(scratch / TAKE, config.takes), state_of(scratch / TAKE)
    settings = {"precision": performance.player.precision, "context": digest_bytes(performance.context)}
    recording = Recording(state, settings, paths, quantizer, sample_rate)
    try:
        return recording.resume()
    except WavebandError:  # there is none, or it was left by another machine: the key holds the rest
        for path in scratch.iterdir():
            if path.name != OCCASION:
                path.unlink()
        return recording.begin(performance.context)


def _picture(sound: Path, sample_rate: int, waveform: NDArray[np.float32]) -> None:
    plot_mel(waveform, sample_rate, picture_of(sound, MEL))
    plot_onsets(waveform, sample_rate, picture_of(sound, ONSETS))


def picture_of(sound: Path, ending: str) -> Path:
    """Where a picture of a sound lies: beside it."""
    return sound.with_name(sound.stem + ending)


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
