"""Real music, where it has been built; the tests here skip without it, saying how to get it."""

import os
from pathlib import Path

import pytest

HOW = (
    "no real audio at {folder}: build it with `python ../shared/real-audio/build.py {folder}` (its docstring "
    "names the Debian packages), or set WAVEBAND_REAL_AUDIO to a folder with stems/, loops/ and album/"
)


@pytest.fixture(scope="session")
def real_audio() -> Path:
    """The folder with stems/SONG/{drums,bass,other,mixture}.wav, loops/*.flac and album/*.ogg."""
    default = Path(__file__).parents[2] / "build" / "real-audio"
    folder = Path(os.environ.get("WAVEBAND_REAL_AUDIO") or default)
    if not all((folder / part).is_dir() for part in ("stems", "loops", "album")):
        pytest.skip(HOW.format(folder=folder))
    return folder
