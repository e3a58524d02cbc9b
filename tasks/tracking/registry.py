"""Versions of each stem's model in MLflow's registry, and the alias of the best one.

A model is logged once, as its safetensors and their card, and is a version of `waveband-STEM`, whichever runs
use it. No pickle. The invariants: one digest is one version; the first version is the champion, and from then
on only what `choose_champion` finds better, or what a person forces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.tracking.entries import Model
from tasks.tracking.promotion import Verdict, Version, choose_champion
from tasks.tracking.store import is_there, open_client, tracking_uri, unreachable
from tasks.tracking.words import VERSION_TAG, plain_key
from tasks.workspace import Workspace
from wavenet.data.stores import public_address
from wavenet.errors import ConfigError

PREFIX, CHAMPION = "waveband-", "champion"
MODEL_TYPE = "waveband-wavenet"
DIGEST, BITS, HELDOUT = "waveband.digest", "waveband.heldout_bits", "heldout_digest"
LOGGED = "waveband.logged_model"
"""The logged model of a version, which MLflow's own SQL registry does not give back."""
COMPARED = ("sample_rate", "quantization_channels", "law")


@dataclass(frozen=True)
class StemVerdict:
    """What came of a promotion."""

    stem: str
    verdict: Verdict


def registered_name(stem: str) -> str:
    """What a stem's model is called in the registry."""
    return f"{PREFIX}{plain_key(stem).replace('/', '_')}"


def register_model(client: Any, run_id: str, folder: Path, model: Model) -> None:
    """Make a run's model a version of its stem's, if it is none yet, and link the run to it."""
    name = registered_name(model.stem)
    known = next((one for one in _versions(client, name) if one.tags.get(DIGEST) == model.digest), None)
    if known is None:
        model_id = _log_model(client, run_id, folder, model)
        tags = {
            DIGEST: model.digest,
            BITS: repr(model.bits),
            LOGGED: model_id,
            "stem": model.stem,
            **model.facts,
        }
        source = client.get_logged_model(model_id).artifact_location
        known = client.create_model_version(name, source=source, run_id=run_id, tags=tags, model_id=model_id)
        _describe(client, name, known.version, model)
    else:
        model_id = known.tags.get(LOGGED)
    client.set_tag(run_id, VERSION_TAG, f"{name}/{known.version}")
    if model_id:
        _link(client, run_id, model_id)
    _crown_by_itself(client, name, model.promote)


def _link(client: Any, run_id: str, model_id: str) -> None:
    """Make a model an output of a run; MLflow fails where it is one already."""
    from mlflow.entities import LoggedModelOutput

    outputs = client.get_run(run_id).outputs
    if not outputs or all(one.model_id != model_id for one in outputs.model_outputs):
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])


def _log_model(client: Any, run_id: str, folder: Path, model: Model) -> str:
    """Log the weights and their card; the id. A logged model that was not finished is deleted: it is tried
    again, as another."""
    _make_name(client, registered_name(model.stem), model.stem)
    made = client.create_logged_model(
        client.get_run(run_id).info.experiment_id,
        name=registered_name(model.stem).replace(".", "_"),
        source_run_id=run_id,
        tags={DIGEST: model.digest, "stem": model.stem},
        params=model.params,
        model_type=MODEL_TYPE,
    )
    try:
        for file in model.files:
            client.log_model_artifact(made.model_id, str(folder / file))
    except Exception:
        client.delete_logged_model(made.model_id)
        raise
    client.finalize_logged_model(made.model_id, "READY")
    return made.model_id


def _make_name(client: Any, name: str, stem: str) -> None:
    try:
        client.create_registered_model(
            name, tags={"stem": stem}, description=f"WaveNets that play {stem}: safetensors and their card."
        )
    except Exception as error:
        if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
            raise


def _describe(client: Any, name: str, version: str, model: Model) -> None:
    facts = model.facts
    words = (
        f"{model.bits:.3f} bits per sample of held-out audio, {facts['sample_rate']} Hz, "
        f"{facts['quantization_channels']} levels. `waveband generate models:/{name}/{version}` plays it."
    )
    client.update_model_version(name, version, words)


def _crown_by_itself(client: Any, name: str, promote: bool) -> None:
    """The first version is the champion; a better one becomes it by itself only where that is asked for."""
    before = _champion(client, name)
    if before is None or promote:
        _crown(client, name, choose_champion(_all(client, name), before))


def promote_stems(workspace: Workspace, stems: Sequence[str], force: bool = False) -> list[StemVerdict]:
    """Make the best version of each stem its champion; of all stems that have one, where none is named.

    Raises ConfigError where MLflow cannot be reached, or knows no model of a stem.
    """
    uri = tracking_uri(workspace)
    where = public_address(uri)
    asked = f"promote {' '.join(stems)}".strip()
    if not is_there(uri):
        raise ConfigError(f"{asked}: there are no models yet in MLflow at {where}; `waveband run` makes them")
    try:
        client = open_client(uri)
        known = registered_stems(client)
    except Exception as error:
        raise unreachable(asked, uri, error) from error
    if missing := sorted(set(stems) - set(known)):
        raise ConfigError(
            f"{asked}: no model of {', '.join(missing)} is registered in MLflow at {where}; there are: "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    return [StemVerdict(stem, _promote(client, known[stem], force)) for stem in stems or sorted(known)]


def registered_stems(client: Any) -> dict[str, str]:
    """Names of registered models by their stem."""
    found = client.search_registered_models(filter_string=f"name LIKE '{PREFIX}%'")
    return {one.tags.get("stem", one.name.removeprefix(PREFIX)): one.name for one in found}


def champion_digests(client: Any) -> dict[str, str]:
    """The digest of each stem's champion, of those that have one."""
    found = {stem: _champion(client, name) for stem, name in registered_stems(client).items()}
    return {stem: one.digest for stem, one in found.items() if one is not None}


def _promote(client: Any, name: str, force: bool) -> Verdict:
    verdict = choose_champion(_all(client, name), _champion(client, name), force)
    _crown(client, name, verdict)
    return verdict


def _crown(client: Any, name: str, verdict: Verdict) -> None:
    if verdict.changed and verdict.champion:
        client.set_registered_model_alias(name, CHAMPION, str(verdict.champion.number))


def _versions(client: Any, name: str) -> list[Any]:
    return list(client.search_model_versions(f"name = '{name}'"))


def _all(client: Any, name: str) -> list[Version]:
    found = (_as_version(one) for one in _versions(client, name))
    return [one for one in found if one is not None]


def _champion(client: Any, name: str) -> Version | None:
    """The version that the alias names; None where there is none, or it is none of ours."""
    try:
        return _as_version(client.get_model_version_by_alias(name, CHAMPION))
    except Exception as error:
        if getattr(error, "error_code", None) in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise


def _as_version(one: Any) -> Version | None:
    """A version that was registered here; others have no bits to go by."""
    try:
        return Version(
            number=int(one.version),
            digest=one.tags[DIGEST],
            bits=float(one.tags[BITS]),
            heldout_digest=one.tags[HELDOUT],
            facts=tuple((name, one.tags.get(name, "")) for name in COMPARED),
        )
    except (KeyError, ValueError):
        return None
