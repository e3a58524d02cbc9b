"""What the library's tests share."""

from hypothesis import settings

settings.register_profile("waveband", deadline=None)  # a busy machine is no failure
settings.load_profile("waveband")
