"""What this processor computes fast, among what compiled kernels can use.

Knows nothing of networks. The invariant: what is named here is what numba compiles for, also where fewer
instructions are asked for than the processor has.
"""

import os
from functools import lru_cache

from wavenet.errors import ConfigError

SETTING = "WAVEBAND_INSTRUCTIONS"
"""Environment variable: auto (all there are), vectors (none by name: no int8), plain (plain loops, fp32)."""
CHOICES = ("auto", "vectors", "plain")
BYTES = {"avx512f", "avx512bw", "avx512vnni"}
"""What int8 needs: 64 products of bytes in one instruction."""


def instructions() -> str:
    """What the environment asks for. Raises ConfigError on another word."""
    asked = os.environ.get(SETTING) or "auto"
    if asked not in CHOICES:
        raise ConfigError(f"{SETTING} is {asked!r}; expected {', '.join(CHOICES)}")
    return asked


@lru_cache(maxsize=1)
def _features() -> frozenset[str]:
    """Of the processor, as LLVM names them; those alone that numba was told of, if it was told."""
    from llvmlite.binding import get_host_cpu_features
    from numba.core import config

    if config.CPU_NAME == "generic":
        return frozenset()
    if config.CPU_FEATURES is not None:
        return frozenset(name[1:] for name in config.CPU_FEATURES.split(",") if name.startswith("+"))
    return frozenset(name for name, there in get_host_cpu_features().items() if there)


def list_precisions() -> tuple[str, ...]:
    """Numbers that weights can be kept in here, the fastest first; fp32 is always among them."""
    asked = instructions()
    if asked == "plain":
        return ("fp32",)
    return ("int8", "bf16", "fp32") if asked == "auto" and _features() >= BYTES else ("bf16", "fp32")


def describe() -> str:
    """For people: which vectors the kernels are compiled to."""
    if instructions() == "plain":
        return "plain loops"
    found = _features()
    vectors = next((name for name in ("avx512f", "avx2", "avx", "neon", "sse2") if name in found), "vectors")
    return vectors.removesuffix("f") if vectors == "avx512f" else vectors
