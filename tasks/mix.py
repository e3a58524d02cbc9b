"""The mix: the sum of all takes."""

import numpy as np

from tasks.caching import cached_task
from tasks.generate import TAKE
from tasks.records import MixRecord, TakeRecord
from tasks.workspace import Workspace
from wavenet.audio.io import read_audio, write_audio
from wavenet.audio.mixing import mix_stems
from wavenet.config import MixConfig
from wavenet.evaluation.plots import plot_mel
from wavenet.files import digest_bytes, digest_json

MIX, MIX_MEL = "mix.wav", "mix.png"


@cached_task(version="1", run_name="mix")
def mix(workspace: Workspace, takes: dict[str, TakeRecord], config: MixConfig) -> MixRecord:
    """Sum the takes of all stems, gain-exact, and bring the whole into full scale as configured."""
    from wavenet.audio.loudness import measure_loudness  # torch takes seconds to import

    sounds = {stem: read_audio(workspace.path(take.folder) / TAKE)[0][:, 0] for stem, take in takes.items()}
    sample_rate = next(iter(takes.values())).sample_rate
    total = mix_stems(sounds, config.gains_db, config.clip_mode)
    digest = digest_json(
        [digest_bytes(total.tobytes()), sample_rate, {s: t.digest for s, t in takes.items()}]
    )
    with workspace.new_folder("mixes") as folder:
        write_audio(folder / MIX, total, sample_rate)
        plot_mel(total, sample_rate, folder / MIX_MEL)
        return MixRecord(
            digest=digest,
            folder=workspace.publish(folder, digest),
            loudness_lufs=measure_loudness(total, sample_rate),
            peak=float(np.abs(total).max(initial=0.0)),
        )
