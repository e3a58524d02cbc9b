"""The errors a person may see. Each message names the file or setting, what was found,
what was expected, and the remedy.

Everything raised on purpose by Waveband derives from `WavebandError`; the command line prints
its message without a traceback and ends with status 1.
"""


class WavebandError(Exception):
    """Base of all errors whose message is written for the user."""


class ConfigError(WavebandError):
    """A configuration has an unknown key, a bad value, or does not exist."""


class AudioDecodeError(WavebandError):
    """A file cannot be decoded as audio, or decodes to something unusable (no samples, NaN)."""


class MetadataError(WavebandError):
    """A file that says something of others cannot be read, or says what cannot be."""


class ScoreError(WavebandError):
    """A MIDI file cannot be read as notes."""


class NoAudioError(WavebandError):
    """Nothing usable was found where audio was expected."""


class SeparationError(WavebandError):
    """Source separation could not run: no weights, no package, or a failing track."""


class ShardFormatError(WavebandError):
    """A shard set is incomplete, of an unknown version, or contradicts its manifest."""


class IncompatibleDataError(WavebandError):
    """Shards and model or training settings do not fit each other."""


class IncompatibleCheckpointError(WavebandError):
    """A checkpoint or saved model does not fit the network or the run that wants to read it."""


class UnreadableError(WavebandError):
    """What is there cannot be read just now, for want of a disk or of memory; it may be as good as ever."""


class TrainingDivergedError(WavebandError):
    """The loss became NaN or infinite."""


class TrainingStoppedError(WavebandError):
    """A training was asked to stop; its checkpoint is saved."""


class OutOfMemoryError(WavebandError):
    """Memory does not hold even one window."""


class NotMadeError(WavebandError):
    """What was to be reused and not made is not there."""


class DiskFullError(WavebandError):
    """There is no room where something was to be written."""
