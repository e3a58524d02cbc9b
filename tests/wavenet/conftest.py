"""What the library's tests share."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("waveband", deadline=None)  # a busy machine is no failure
settings.load_profile("waveband")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tiny networks gain nothing from threads, and lose seconds where others use the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
