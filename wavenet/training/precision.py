"""Where to compute, and in what numbers."""

import torch

from wavenet.errors import ConfigError
from wavenet.training.ranks import ALONE, Ranks


def choose_device(name: str, ranks: Ranks = ALONE) -> torch.device:
    """`auto` is this rank's GPU, or the CPU; `cuda` this rank's. Raises ConfigError for what this machine
    lacks."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device("cuda", ranks.local_rank) if name == "cuda" else torch.device(name)
    except RuntimeError:
        raise ConfigError(
            f"training.device: '{name}' is no device; expected auto, cpu, cuda or cuda:N"
        ) from None
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ConfigError(
            f"training.device: torch cannot use '{device}' on this machine; use auto or cpu, and no more "
            "processes than it has cards"
        ) from None
    return device


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What products are computed in: bfloat16 if told so, or by itself where the device is made for it."""
    if precision == "auto":
        precision = "bf16" if computes_in_bf16(device) else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def computes_in_bf16(device: torch.device) -> bool:
    """Whether products in bfloat16 are faster here than in float32: tensor cores, AMX or AVX-512 BF16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
