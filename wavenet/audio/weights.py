"""Where the weights of a Demucs model lie: in a folder of models, or in the local cache of the hub.

Knows Demucs' names for models and files, and loads nothing. The invariant: either every file that Demucs
will open is there, or SeparationError says at once which are missing, where to fetch them and where to put
them. Nothing is downloaded.
"""

from importlib.util import find_spec
from pathlib import Path

import yaml

from wavenet.config import SeparationConfig
from wavenet.errors import SeparationError
from wavenet.files import digest_file, digest_json

HUB = "hf://"
"""Demucs' prefix for what comes from the Hugging Face hub and from nowhere else."""
INSTALL = "pip install 'waveband[separate]'"
STOCK = "htdemucs, htdemucs_ft, htdemucs_6s"


def find_weights(config: SeparationConfig) -> list[Path]:
    """The files that make up `config.model`: its definition, if it has one, then its weights in order.

    Raises SeparationError naming what is missing and what to do about it.
    """
    if find_spec("demucs") is None:
        raise SeparationError(f"separation.enabled needs Demucs, which is not installed: {INSTALL}")
    return _find_in_hub(config.model) if config.repo is None else _find_in_folder(config.repo, config.model)


def digest_weights(config: SeparationConfig) -> str:
    """The digest of what `find_weights` finds: of the content, wherever it lies. Raises SeparationError."""
    return digest_json([digest_file(path) for path in find_weights(config)])


def _find_in_hub(model: str) -> list[Path]:
    from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name

    namespace, _, name = model.removeprefix(HUB).rpartition("/")
    repository = f"{namespace or DEFAULT_NAMESPACE}/{hf_repo_name(name)}"
    definition = _cached(repository, f"{name}.yaml", model)
    signatures = _signatures(definition or _definition_of_stock(name))
    files = [f"{name}.yaml", *(f"{signature}.safetensors" for signature in signatures)]
    found = {file: _cached(repository, file, model) for file in files}
    if missing := [file for file, path in found.items() if path is None]:
        missing += [] if signatures else ["the .safetensors files that it names"]
        raise SeparationError(_how_to_fetch(model, repository, missing))
    return [path for path in found.values() if path is not None]


def _cached(repository: str, file: str, model: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    try:
        path = try_to_load_from_cache(repository, file)
    except ValueError:  # not even a possible name
        raise SeparationError(
            f"separation.model: '{model}' is no name of a Demucs model; expected one such as {STOCK}"
        ) from None
    return Path(path) if isinstance(path, str) else None


def _how_to_fetch(model: str, repository: str, missing: list[str]) -> str:
    from huggingface_hub import constants

    cache, folder = constants.HF_HUB_CACHE, f"models--{repository.replace('/', '--')}"
    return (
        f"Demucs model '{model}': its weights are not in the hub cache {cache}; missing are "
        f"{', '.join(missing)} of the hub's repository {repository}. Waveband downloads nothing by itself: "
        f"run, once and online, hf download {repository} --cache-dir '{cache}', or run it on another machine "
        f"and bring the folder {folder} into that cache; or let HF_HUB_CACHE name a cache that has it, or "
        f"separation.repo a folder of Demucs models. Stock models are {STOCK}"
    )


def _definition_of_stock(name: str) -> Path | None:
    """Demucs' own copy of a stock model's definition: it tells the names of the weights' files."""
    spec = find_spec("demucs")
    (package,) = spec.submodule_search_locations if spec and spec.submodule_search_locations else [""]
    path = Path(package) / "remote" / f"{name}.yaml"
    return path if path.is_file() else None


def _find_in_folder(folder: Path, model: str) -> list[Path]:
    from demucs.repo import BagOnlyRepo, LocalRepo, ModelLoadingError

    if not folder.is_dir():
        raise SeparationError(f"separation.repo: {folder} is no folder; expected one of Demucs models")
    try:
        weights = LocalRepo(folder)
        models, definitions = weights.list_model(), BagOnlyRepo(folder, weights).list_model()
    except ModelLoadingError as error:
        raise SeparationError(f"separation.repo: {folder}: {error}") from None
    if model in models:
        return [Path(models[model])]
    if model not in definitions:
        known = ", ".join(sorted({*models, *definitions})) or "none"
        raise SeparationError(
            f"separation.repo: expected {model}.yaml or {model}.th, as Demucs keeps them, in {folder}; "
            f"models there: {known}"
        )
    signatures = _signatures(Path(definitions[model]))
    if missing := [signature for signature in signatures if signature not in models]:
        raise SeparationError(
            f"separation.repo: {model}.yaml names models that are not there; expected "
            f"{', '.join(f'{signature}.th' for signature in missing)} in {folder}"
        )
    return [Path(definitions[model]), *(Path(models[signature]) for signature in signatures)]


def _signatures(definition: Path | None) -> list[str]:
    """What a definition calls the files of its weights; nothing is known without one."""
    if definition is None:
        return []
    try:
        return [str(signature) for signature in yaml.safe_load(definition.read_text())["models"]]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        raise SeparationError(
            f"{definition}: is no definition of a Demucs model, expected YAML with a list 'models'; "
            "fetch it again"
        ) from None
