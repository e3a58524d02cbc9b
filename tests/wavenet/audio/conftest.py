"""What the tests of Demucs share: caches and folders of tiny models, and no network."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

SIZES = {
    "samplerate": 8000, "segment": 1, "channels": 4, "growth": 2, "nfft": 512, "depth": 3, "t_layers": 1,
    "t_heads": 2, "bottom_channels": 0, "dconv_depth": 1, "dconv_comp": 4, "t_hidden_scale": 1.0,
    "audio_channels": 2,
}  # fmt: skip
STEMS = ["drums", "bass", "other", "vocals"]


@pytest.fixture
def no_network(monkeypatch, tmp_path) -> Path:
    """An empty hub cache, and a library that believes to be online; a test that looks beyond it fails."""
    attempts = []

    def refuse(*address, **options):
        attempts.append(address)
        raise OSError("there is no network in tests")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    yield tmp_path / "hub"
    assert not attempts


@pytest.fixture
def fill_hub(no_network) -> Callable[..., Path]:
    """Put a model, or a bag of them, into the hub cache under a stock name. Returns where its files lie."""

    def fill(name="htdemucs", num_models=1, stems=STEMS, definition=None, seed=0) -> Path:
        from demucs.hf import hf_repo_name
        from demucs.htdemucs import HTDemucs
        from safetensors.torch import save_file

        repository = no_network / f"models--adefossez--{hf_repo_name(name)}"
        snapshot = repository / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True, exist_ok=True)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text("0" * 40)
        signatures = [f"tiny{number}" for number in range(num_models)]
        (snapshot / f"{name}.yaml").write_text(json.dumps({"models": signatures, **(definition or {})}))
        for number, signature in enumerate(signatures):
            with torch.random.fork_rng():
                torch.manual_seed(seed + number)
                tensors = HTDemucs(stems, **SIZES).state_dict()
            metadata = {
                "klass": "demucs.htdemucs.HTDemucs",
                "args": json.dumps([stems]),
                "kwargs": json.dumps(SIZES),
            }
            tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
            save_file(tensors, snapshot / f"{signature}.safetensors", metadata=metadata)
        return snapshot

    return fill


@pytest.fixture
def fill_folder(tmp_path) -> Callable[..., Path]:
    """Put models into a folder, as Demucs keeps its own. Returns the folder."""

    def fill(*signatures: str, **bags: list[str]) -> Path:
        from demucs.htdemucs import HTDemucs

        folder = tmp_path / "models"
        folder.mkdir(exist_ok=True)
        for number, signature in enumerate(signatures):
            with torch.random.fork_rng():
                torch.manual_seed(number)
                model = HTDemucs(STEMS, **SIZES)
            package = {"klass": HTDemucs, "args": (STEMS,), "kwargs": SIZES, "state": model.state_dict()}
            torch.save(package, folder / f"{signature}.th")
        for name, models in bags.items():
            (folder / f"{name}.yaml").write_text(json.dumps({"models": models}))
        return folder

    return fill
