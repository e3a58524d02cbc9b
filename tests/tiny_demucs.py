"""A tiny `htdemucs` for 8 kHz, random weights and no pickle, in a Hugging Face cache as the real one is."""

import json
from pathlib import Path

STEMS = ["drums", "bass", "other", "vocals"]
SIZES = {
    "samplerate": 8000, "segment": 1, "channels": 4, "growth": 2, "nfft": 512, "depth": 3, "t_layers": 1,
    "t_heads": 2, "bottom_channels": 0, "dconv_depth": 1, "dconv_comp": 4, "t_hidden_scale": 1.0,
    "audio_channels": 2,
}  # fmt: skip
REVISION = "0" * 40


def write_tiny_demucs(cache: Path) -> Path:
    """Write the same weights each time; returns the cache."""
    import torch
    from demucs.htdemucs import HTDemucs
    from safetensors.torch import save_file

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = HTDemucs(STEMS, **SIZES)
    repo = cache / "models--adefossez--HTDemucs"
    snapshot = repo / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(REVISION)
    (snapshot / "htdemucs.yaml").write_text("models: ['tiny']\n")
    metadata = {"klass": "demucs.htdemucs.HTDemucs", "args": json.dumps([STEMS]), "kwargs": json.dumps(SIZES)}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, snapshot / "tiny.safetensors", metadata=metadata)
    return cache
