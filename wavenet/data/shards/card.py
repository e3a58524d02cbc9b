"""The dataset card of a shard set: what it holds, from where, under which licence.

A view of the manifest and of nothing else, so that a checker can write it again and compare. Its
front matter is what `datasets.load_dataset(FOLDER)` reads the splits from.
"""

import html
from pathlib import Path

import yaml

from wavenet.data.shards.format import CARD, MANIFEST, Manifest, manifest_text
from wavenet.data.splits import ALL_SPLITS
from wavenet.files import write_text

MEANING = {
    "train": "to train on",
    "heldout": "never trained on: what figures are measured on",
    "test": "set apart by the data set itself, for the very end",
}
TRACK_HEAD = ["track", "split", "minutes", "of", "licence", "files", "id"]


def write_card(manifest: Manifest, folder: Path) -> None:
    """Write the card beside the shards."""
    write_text(folder / CARD, card_text(manifest), flush=False)


def write_manifest(manifest: Manifest, folder: Path) -> Manifest:
    """Write a manifest that was told more, and its card, over those of a set. Returns it."""
    write_card(manifest, folder)
    write_text(folder / MANIFEST, manifest_text(manifest), flush=False)
    return manifest


def card_text(manifest: Manifest) -> str:
    """The card as Markdown with YAML front matter."""
    splits = [split for split in ALL_SPLITS if manifest.num_segments(split)]
    files = [{"split": split, "path": f"{split}-*.parquet"} for split in splits]
    front = {"configs": [{"config_name": "default", "data_files": files}], "tags": ["audio", "waveband"]}
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {_plain(manifest.stem)}: codes for a WaveNet",
        _facts(manifest),
        "## Splits\n\n" + _table(["split", "minutes", "segments", ""], _split_rows(manifest)),
        f"## Licences\n\n{_licences(manifest)}",
        "## Tracks\n\n" + _table(TRACK_HEAD, _track_rows(manifest)),
        "Every byte can be checked: `waveband shards verify FOLDER`.",
    ]
    return "\n\n".join(parts) + "\n"


def _facts(manifest: Manifest) -> str:
    snr = manifest.quantization_snr_db
    features = ", ".join(f"{f.name} ({f.dims})" for f in manifest.features) or "none"
    facts = {
        "sample rate": f"{manifest.sample_rate} Hz",
        "codes": f"{manifest.quantization_channels} levels, {manifest.law}"
        + (", dithered" if manifest.dither else ""),
        "signal to quantization noise": f"{snr} dB" if snr is not None else "no noise",
        "segment": f"{manifest.segment_length} samples",
        "features": f"{features}, one frame {manifest.hop_length} samples",
        "labels": ", ".join(f"{_plain(k)} ({len(v)} values)" for k, v in manifest.labels.items()) or "none",
        "digest": manifest.digest,
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _split_rows(manifest: Manifest) -> list[list[str]]:
    return [
        [
            split,
            _minutes(manifest.num_samples(split), manifest),
            str(manifest.num_segments(split)),
            MEANING[split],
        ]
        for split in ALL_SPLITS
        if manifest.num_segments(split)
    ]


def _track_rows(manifest: Manifest) -> list[list[str]]:
    return [
        [
            track.track,
            f"{track.split}, its end held out" if track.end_heldout else track.split,
            _minutes(track.num_samples, manifest),
            _minutes(track.total_samples, manifest),
            track.licence,
            ", ".join(track.sources) or "not stated",
            track.track_id,
        ]
        for track in manifest.tracks
    ]


def _licences(manifest: Manifest) -> str:
    named = sorted({track.licence for track in manifest.tracks})
    return (
        "The codes are derived from recordings, and what may be done with them follows from theirs, as "
        f"stated by whoever made this set: {', '.join(map(_plain, named)) or 'none'}."
    )


def _minutes(num_samples: int, manifest: Manifest) -> str:
    return f"{num_samples / manifest.sample_rate / 60:.2f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """A name as one cell that neither Markdown nor HTML takes for its own."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    escaped = html.escape(printable)
    for char in "\\`*_[]|":
        escaped = escaped.replace(char, f"\\{char}")
    return escaped
