"""What MLflow shows of a run: its name, tags, params and description, in words that read side by side.

Pure. The invariants: what is told fits into MLflow's limits and keeps to its letters; two values that differ
are told as two that differ.
"""

import getpass
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.progress import clock
from tasks.records import BaselinesRecord, ModelRecord
from wavenet.data.shards.format import Manifest
from wavenet.files import digest_bytes, digest_json

MOST_CHANGES, LONGEST_CHANGE = 3, 32
LONGEST_PARAM, LONGEST_KEY, LONGEST_TAG = 500, 250, 5000
"""Characters: MLflow takes longer ones, but nobody reads them, and tables break."""
STEM_KEY = re.compile(r"stems\.(?P<stem>[^.=]+)\.(?P<key>.+)")
NOTE, ID_TAG, STEM_TAG = "mlflow.note.content", "waveband.id", "stem"
VERSION_TAG = "waveband.version"
MODEL_TAG, REUSED_TAG, HELDOUT_TAG = "waveband.model_digest", "waveband.reused", "waveband.heldout_digest"
BEST_SIMPLE = {
    "order4": "what follows the last 4 samples",
    "order2": "what follows the last 2 samples",
    "unigram": "how often each level occurs",
    "uniform": "nothing",
}


def name_with_changes(name: str, overrides: Sequence[str]) -> str:
    """What a pipeline run is called: its input and configs, and what distinguishes it from others."""
    told = changes(overrides)
    return f"{name} ({told})" if told else name


def name_of_stem(stem: str, name: str, overrides: Sequence[str]) -> str:
    """What a stem's run is called. name: of the pipeline run.

    MLflow's tables show the beginning: so first what it plays, then what is its own, last what it belongs to.
    """
    found = [(text, STEM_KEY.match(text)) for text in overrides if is_heard(text)]
    mine = [other["key"] if other else text for text, other in found if not other or other["stem"] == stem]
    told = changes(mine)
    return f"{stem}, {told} ({name})" if told else f"{stem} ({name})"


def is_heard(override: str) -> bool:
    """Whether a setting of a run makes a difference to one stem; the mix's does not."""
    return not override.startswith("mix.")


def changes(overrides: Sequence[str]) -> str:
    """Overrides in few words, `steps=800, drums.seed=1`: the last ones, as what is tried comes at the end."""
    told = [_short(text) for text in overrides]
    more = f" and {len(told) - MOST_CHANGES} more" if len(told) > MOST_CHANGES else ""
    return ", ".join(told[-MOST_CHANGES:]) + more


def _short(override: str) -> str:
    key, _, value = override.partition("=")
    found = STEM_KEY.match(key)
    named = key.split(".")[-1]
    told = f"{found['stem']}.{named}={value}" if found else f"{named}={value}"
    return told if len(told) <= LONGEST_CHANGE else f"{told[: LONGEST_CHANGE - 1]}…"


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `section.key`, comparable side by side in MLflow."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def params_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Settings as MLflow takes them."""
    return {plain_key(key): plain_value(value) for key, value in values.items()}


def plain_key(key: str) -> str:
    """The name of a param or a metric in the letters that MLflow takes, and not too long."""
    plain = "/".join(re.sub(r"[^\w. -]", "_", part) for part in key.split("/"))
    return (
        plain if len(plain) <= LONGEST_KEY else f"{plain[: LONGEST_KEY - 9]}-{digest_bytes(key.encode())[:8]}"
    )


def plain_value(value: Any) -> str:
    """A value as text. A long one is cut, and the digest of the whole told, so that another stays another."""
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    if len(text) <= LONGEST_PARAM:
        return text
    return f"{text[: LONGEST_PARAM - 24]}… (whole: {digest_bytes(text.encode())[:8]})"


def run_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags of any run, and who has made it."""
    own = {"mlflow.user": user_name(), "mlflow.source.name": "waveband"}
    return {name: value[:LONGEST_TAG] for name, value in {**own, **tags}.items()}


def user_name() -> str:
    """Who runs this; a container may have no name for its user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def stem_tags(stem: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Tags of a stem's run. tags: more of them, as `prefect_tags`."""
    return run_tags({STEM_TAG: stem, **tags})


def prefect_tags(kind: str, run_id: object, url: str | None = None) -> dict[str, str]:
    """Tags that lead back to a run of Prefect. kind: `flow_run` or `task_run`; url: its page."""
    tags = {f"prefect.{kind}_id": str(run_id)}
    return {**tags, f"prefect.{kind}_url": url} if url else tags


def links(tags: Mapping[str, str]) -> list[str]:
    """Lines of a description that lead to the pages that tags name."""
    named = {"prefect.flow_run_url": "flow run", "prefect.task_run_url": "task run"}
    return [f"[{words} in Prefect]({tags[tag]})" for tag, words in named.items() if tags.get(tag)]


def data_params(manifest: Manifest) -> dict[str, str]:
    """What of a shard set is compared beside the settings."""
    facts = manifest.model_dump(include={"sample_rate", "quantization_channels", "law"})
    seconds = {split: manifest.num_samples(split) / manifest.sample_rate for split in ("train", "heldout")}
    minutes = {f"data.{split}_minutes": f"{value / 60:.2f}" for split, value in seconds.items()}
    return {**{f"data.{name}": str(value) for name, value in facts.items()}, **minutes}


def heldout_digest(manifest: Manifest) -> str:
    """Stands for what held-out bits are bits of: two of one digest compare."""
    files = [file.digest for file in manifest.files if file.split == "heldout"]
    facts = manifest.model_dump(include={"sample_rate", "quantization_channels", "law"})
    return digest_json({**facts, "files": files})


def describe_stem(model: ModelRecord, beside: BaselinesRecord, reused: bool, tags: Mapping[str, str]) -> str:
    """The description of a stem's run, in Markdown."""
    name, best = beside.bits.best
    share = f", {model.heldout_bits / best - 1:+.0%}" if best else ""
    made = "Reused: trained before" if reused else f"Trained in {clock(model.seconds)}"
    lines = [
        f"**{model.heldout_bits:.3f} bits per sample** of held-out audio{share} against the best simple "
        f"model ({best:.3f}, which knows {BEST_SIMPLE[name]}).",
        f"{made}, {model.num_parameters:,} parameters.",
        *links(tags),
    ]
    return "\n\n".join(lines)


def describe_run(input: str, bits: Mapping[str, tuple[float, float]], tags: Mapping[str, str]) -> str:
    """The description of a pipeline run, in Markdown. bits: of each stem, and of the best simple model."""
    rows = [f"| {stem} | {mine:.3f} | {best:.3f} |" for stem, (mine, best) in bits.items()]
    table = (
        "\n".join(["| stem | held-out bits | best simple model |", "|---|---|---|", *rows]) if rows else ""
    )
    return "\n\n".join(part for part in (f"Input: `{input}`" if input else "", table, *links(tags)) if part)
