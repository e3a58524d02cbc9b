"""Takes by themselves: a model in, audio files that are valid at any time out; ended, and gone on with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ValidationError

from flows.ledger import DirectLedger
from flows.printing import name_some, printable
from tasks.generate import choose_primes
from tasks.models import FoundModel, find_model, find_shards
from tasks.playing import (
    Performance,
    choose_guard,
    choose_player,
    describe_take,
    record_takes,
    tell_heldout,
    tell_nothing_but,
)
from tasks.progress import Progress, clock
from tasks.ranges import likelihood, load_judge, prints, ranges
from tasks.records import Prime, ShardsRecord, WeightsRecord
from tasks.remote import workspace_at
from tasks.scoring import Ranking, order_takes, rank_again, rank_takes
from tasks.tracking import flatten
from tasks.workspace import Workspace
from wavenet.audio.excerpt import read_excerpt
from wavenet.audio.growing import check_suffix
from wavenet.audio.mulaw import Codes
from wavenet.audio.quantization import Quantizer
from wavenet.config import GenerationConfig, load_config, num_generated_samples
from wavenet.data.primes import Place, context_and_continuation
from wavenet.data.shards.format import read_manifest
from wavenet.errors import ConfigError, IncompatibleDataError
from wavenet.evaluation.take_judge import TakeJudge
from wavenet.evaluation.take_scores import Scores, read_scores, scores_of, write_scores
from wavenet.files import digest_bytes, write_json
from wavenet.model import CARD

if TYPE_CHECKING:
    from wavenet.generation.guarded import Take
    from wavenet.generation.recording import Recording
    from wavenet.model.saved import SavedModel
    from wavenet.model.wavenet import WaveNet

HELDOUT, SILENCE = "heldout", "silence"
NO_SHARDS = "the shards that the model was trained on are not at hand; name them with --shards"
ENDED_UNSCORED = "it failed before this was ended and gone on with"
"""Why takes have no scores."""


@dataclass(frozen=True)
class Asked:
    """What a person asks of takes, besides their settings.

    prime: a file, HELDOUT or SILENCE; where None, held-out audio if it is at hand. start: second of the file
    from which on it is heard; None: its end. keep_prime: the prime comes first in the files. shards: those
    that go with the model, if they are not to be looked for.
    """

    prime: str | None = None
    start: float | None = None
    keep_prime: bool = False
    labels: Mapping[str, str] | None = None
    shards: str | None = None


class KeptTake(BaseModel):
    """A take that was kept, what `describe_take` says of it, and how bad it is where that is known."""

    file: Path
    take: int
    incidents: list[dict[str, Any]]
    badness: float | None


class GeneratedOutput(BaseModel):
    """What `waveband generate` ends with, the best take first.

    scores: of all takes, kept or not, which lie in scores_file, too; unscored: why there are none.
    """

    stem: str
    model: Path
    sample_rate: int
    seconds: float
    precision: str
    prime: dict[str, Any]
    takes: list[KeptTake]
    scores: Scores | None
    scores_file: Path | None
    unscored: str | None


@dataclass(frozen=True)
class Context:
    """What a take goes on from. codes: as many as the network hears; num_heard: of them, the last, that are
    the prime's; told: how a file would name it; place: in held-out audio, and its track's name."""

    codes: Codes
    num_heard: int
    told: dict[str, Any]
    place: Prime | None = None
    track: str | None = None


def generate_takes(
    model: str,
    output: Path,
    config: list[str],
    overrides: list[str],
    workspace: str | Path,
    asked: Asked = Asked(),
    resume: bool = False,
    given: Mapping[str, Any] | None = None,
) -> GeneratedOutput:
    """Play takes of a model into files, without Prefect or MLflow.

    model: as `find_model`. output: what the best take is called, .wav or .flac; a JSON file beside each says
    how it was made. given: settings of generation, over all others. Raises ConfigError on what cannot be, and
    where something is there already.
    """
    from wavenet.generation.recording import Recording, names_of, paths_under_way, state_of
    from wavenet.model.saved import load_model  # torch takes seconds

    check_suffix(output)
    place = workspace_at(workspace)
    found = find_model(place, model)
    network, card = load_model(found.folder)
    settings = choose_settings(config, overrides, given or {}, card.stem)
    shards = find_shards(place, found, asked.shards)
    label, quantizer = f"generate {card.stem}", Quantizer(card.law, card.quantization_channels)
    say = Progress(label, 1).say
    say(describe_model(found, shards))
    context = choose_context(place, card, network, shards, settings, asked, quantizer)
    say(f"goes on from {describe_context(context, card.sample_rate)}")
    performance = perform(network, card, shards, settings, context, asked, quantizer, label)
    recording = Recording(
        state_of(output),
        deciding_settings(found, settings, performance, context, asked),
        paths_under_way(output, settings.takes),
        quantizer,
        card.sample_rate,
        context.num_heard if asked.keep_prime else 0,
    )
    names = names_of(output, settings.keep)
    begin_or_resume(recording, context, names, resume)
    takes = record_takes(label, performance, recording)
    ranking = rank(takes, performance, recording, names, place, found, shards)
    takes, scores = ranking.takes, ranking.scores
    bad = {one.take: one.badness for one in scores.takes} if scores else {}
    made = GeneratedOutput(
        stem=card.stem,
        model=found.folder,
        sample_rate=card.sample_rate,
        seconds=performance.num_samples / card.sample_rate,
        precision=performance.player.precision,
        prime=context.told,
        takes=[
            KeptTake(file=path, **describe_take(take), badness=bad.get(take.number + 1))
            for take, path in zip(takes, names, strict=False)
        ],
        scores=scores,
        scores_file=scores_of(output) if scores else None,
        unscored=ranking.unscored,
    )
    leave_files(recording, takes, names, made, settings, found)
    return made


def choose_settings(
    config: list[str], overrides: list[str], given: Mapping[str, Any], stem: str
) -> GenerationConfig:
    """Those of a stem, and over them what was given. Raises ConfigError."""
    flags = [f"generation.{name}={value}" for name, value in given.items()]
    settings = load_config(config, [*overrides, *flags])
    chosen = {name: getattr(settings.generation, name) for name in given}
    try:
        return GenerationConfig.model_validate({**settings.for_stem(stem).generation.model_dump(), **chosen})
    except ValidationError as error:
        raise ConfigError(f"generation: {error.errors()[0]['msg']}") from None


def perform(
    network: "WaveNet",
    card: "SavedModel",
    shards: Any | None,
    settings: GenerationConfig,
    context: Context,
    asked: Asked,
    quantizer: Quantizer,
    label: str,
) -> Performance:
    """All that decides what is played."""
    labels = asked.labels or {}
    if context.place and shards:
        tell = tell_heldout(shards, network, context.place, labels)
    else:
        tell = tell_nothing_but(network, labels)
    return Performance(
        network=network,
        player=choose_player(shards, network, settings, Progress(label, 1).say),
        guard=choose_guard(settings.guards, quantizer, card.sample_rate, shards),
        tell=tell,
        context=context.codes,
        num_samples=num_generated_samples(settings, card.sample_rate),
        seed=settings.seed,
    )


def choose_context(
    workspace: Workspace,
    card: "SavedModel",
    network: "WaveNet",
    shards: Any | None,
    settings: GenerationConfig,
    asked: Asked,
    quantizer: Quantizer,
) -> Context:
    """What takes go on from. Raises ConfigError where held-out audio is asked for and there is none."""
    length = network.receptive_field
    if shards is not None:
        check_same_codes(card, shards)
    if asked.prime not in (None, HELDOUT, SILENCE):
        return read_prime(Path(asked.prime).expanduser(), card, length, asked.start, quantizer)
    if asked.start is not None:
        raise ConfigError("--prime-start is a second of a file; name one with --prime FILE")
    if asked.prime == HELDOUT and shards is None:
        raise ConfigError(f"--prime {HELDOUT}: {NO_SHARDS}")
    if shards is not None and asked.prime != SILENCE and (settings.prime or asked.prime == HELDOUT):
        num_samples = num_generated_samples(settings, card.sample_rate)
        record = ShardsRecord(digest=card.shards_digest, folder=str(shards), stem=card.stem)
        prime = choose_primes(workspace, {card.stem: record}, length, num_samples)[card.stem]
        if prime is not None:
            spot = Place(prime.track_id, prime.start_sample)
            codes, _ = context_and_continuation(shards, spot, length, 0)
            track = name_tracks(shards)[prime.track_id]
            return Context(codes, length, {"heldout": prime.model_dump()}, prime, track)
    silence = np.full(length, quantizer.silence_code, quantizer.dtype)
    return Context(silence, 0, {SILENCE: True})


def read_prime(
    path: Path, card: "SavedModel", length: int, start: float | None, quantizer: Quantizer
) -> Context:
    """The last of a file, or what comes from a second on, as far as the network hears; silence before it."""
    if not path.is_file():
        raise ConfigError(f"--prime {path}: no such file; name one, or {HELDOUT} or {SILENCE}")
    waveform = read_excerpt(path, card.sample_rate, length, start)
    heard = quantizer.encode(waveform, 0)
    silence = np.full(length - len(heard), quantizer.silence_code, quantizer.dtype)
    told = {"file": path.name, "start": start, "digest": digest_bytes(heard.tobytes())}
    return Context(np.concatenate([silence, heard]), len(heard), told)


def name_tracks(shards: Any) -> dict[str, str]:
    """What the tracks of a shard set are called, by id."""
    return {one.track_id: one.track for one in read_manifest(shards).tracks}


def check_same_codes(card: "SavedModel", shards: Any) -> None:
    """Raises IncompatibleDataError where shards are of other codes than a model's."""
    manifest = read_manifest(shards)
    for name in ("sample_rate", "quantization_channels", "law"):
        if getattr(manifest, name) != getattr(card, name):
            raise IncompatibleDataError(
                f"{shards}: has {name} {getattr(manifest, name)}, the model {getattr(card, name)}; name the "
                "shards that it was trained on"
            )


def describe_model(found: FoundModel, shards: Any | None) -> str:
    """For people, who may have asked for no more than a stem: of when it is, of which songs, and where."""
    trained = datetime.fromtimestamp((found.folder / CARD).stat().st_mtime)
    songs = f" on {name_some(list(name_tracks(shards).values()))}" if shards is not None else ""
    return f"the model trained{songs} ({trained:%Y-%m-%d %H:%M}): {printable(str(found.folder))}"


def describe_context(context: Context, sample_rate: int) -> str:
    """For people, with what had to be added."""
    if not context.num_heard:
        return "silence"
    seconds = context.num_heard / sample_rate
    padded = context.num_heard < len(context.codes)
    short = (
        f", silence before it: the network hears {len(context.codes) / sample_rate:.2f} s" if padded else ""
    )
    if context.place is not None:
        second = clock(context.place.start_sample / sample_rate)
        return f"{seconds:.2f} s of held-out audio, up to {second} of {printable(context.track or '')}"
    return f"{seconds:.2f} s of {context.told['file']}{short}"


def deciding_settings(
    found: FoundModel, settings: GenerationConfig, performance: Performance, context: Context, asked: Asked
) -> dict[str, Any]:
    """All that decides what the files hold, by the names that a person sets it by."""
    return {
        "model": found.digest,
        **flatten({"generation": settings.model_dump(mode="json")}),
        "precision": performance.player.precision,
        "limits": str(performance.guard.limits) if performance.guard else None,
        "prime": context.told,
        "context": digest_bytes(context.codes.tobytes()),
        "--keep-prime": asked.keep_prime,
        "--label": dict(asked.labels or {}),
    }


def begin_or_resume(recording: "Recording", context: Context, names: list[Path], resume: bool) -> None:
    """Open the files. Raises ConfigError where something would be lost, or nothing is there to resume."""
    from wavenet.generation.recording import check_free

    if resume:
        recording.resume()
        return
    if recording.state.exists():
        raise ConfigError(
            f"{names[0]}: holds unfinished takes; go on with them by --resume, or delete "
            f"{recording.state.name} and what lies beside it"
        )
    check_free([*names, *map(card_of, names), scores_of(names[0])])
    names[0].parent.mkdir(parents=True, exist_ok=True)
    recording.begin(context.codes)


def rank(
    takes: "list[Take]",
    performance: Performance,
    recording: "Recording",
    names: list[Path],
    workspace: Workspace,
    found: FoundModel,
    shards: Any | None,
) -> Ranking:
    """Takes by their scores, where shards are at hand; as it was, where some have their names already."""
    if recording.names is not None and (scores := read_scores(scores_of(names[0]))):
        return rank_again(takes, scores)
    if recording.names is not None or shards is None:
        return Ranking(order_takes(takes), None, NO_SHARDS if shards is None else ENDED_UNSCORED)
    files = [path.name for path in names]
    judge = partial(make_judge, workspace, found, shards)
    return rank_takes(found.stem, takes, performance, recording, files, judge)


def make_judge(workspace: Workspace, found: FoundModel, shards: Any) -> TakeJudge:
    """What takes of a model are scored against, measured once and kept in the workspace."""
    ledger = DirectLedger()
    record = ShardsRecord(digest=read_manifest(shards).digest, folder=str(shards), stem=found.stem)
    inputs = {"workspace": workspace, "stem": found.stem, "shards": record}
    weights = WeightsRecord(digest=found.digest, folder=str(found.folder))
    return load_judge(
        workspace,
        record,
        ledger.call(ranges, **inputs),
        ledger.call(prints, **inputs),
        ledger.call(likelihood, **inputs, model=weights),
    )


def leave_files(
    recording: "Recording",
    takes: "list[Take]",
    names: list[Path],
    made: GeneratedOutput,
    settings: GenerationConfig,
    found: FoundModel,
) -> None:
    """Say beside takes how they were made and how they score, and give those that are kept their names."""
    facts = {
        **made.model_dump(mode="json", include={"stem", "sample_rate", "seconds", "precision", "prime"}),
        "model": found.digest,
        "generation": settings.model_dump(mode="json"),
    }
    if made.scores:
        write_scores(scores_of(names[0]), made.scores)
    else:  # there may be those of an attempt that was ended before files had their names
        scores_of(names[0]).unlink(missing_ok=True)
    for one in made.takes:
        write_json(card_of(one.file), {**facts, **one.model_dump(mode="json"), "file": one.file.name})
    recording.name_files({take.number: path for take, path in zip(takes, names, strict=False)})


def card_of(take: Path) -> Path:
    """What says how a take was made: beside it."""
    return take.with_name(f"{take.name}.json")
