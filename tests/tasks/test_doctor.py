"""The report of what was prepared: each stem's own cut, also of stems that were separated from one file."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tasks.doctor_cuts
from tasks.doctor import make_report
from tasks.plan import Prepared
from tasks.planning import plan_band
from wavenet.config import Config
from wavenet.data.songs import Scan

RATE = 2000
TINY = {
    "ingest": {"sample_rate": RATE},
    "segmentation": {"segment_seconds": 0.5, "silence": {"min_seconds": 0.5}},
    "model": {"dilation_cycle": 4, "num_cycles": 1},
    "separation": {"min_energy_share": 0.01},
}


def noise(*parts, level=0.1):
    """Noise and silence in turn: so many seconds of each."""
    waveform = np.random.default_rng(0).normal(0, level, round(sum(parts) * RATE)).astype(np.float32)
    edges = np.round(np.cumsum([0, *parts]) * RATE).astype(int)
    for start, end in zip(edges[1::2], edges[2::2], strict=False):
        waveform[start:end] *= 1e-4
    return waveform


@pytest.fixture
def report_on(place):
    """The doctor's report on songs, and where it lies."""

    def report_on(songs, **sections):
        config = Config.model_validate({**TINY, **{k: {**TINY.get(k, {}), **v} for k, v in sections.items()}})
        plan = plan_band(place, songs, config, {})
        prepared = Prepared(Scan(layout="album", songs=[]), {}, songs, {}, plan)
        output = make_report(place, "songs", prepared, {}, config)
        assert json.loads(output.json_file.read_text())["files"]
        stems = {f"{row.track}/{stem.stem}": stem for row in output.report.files for stem in row.stems}
        return stems, output.page.parent

    return report_on


SHARES = {"drums": 0.6, "vocals": 0.395, "other": 0.005}


def write_separated(ingest, name="song", **options):
    return ingest(
        name,
        drums=noise(8),
        vocals=noise(2, 4, 2),
        other=noise(8, level=1e-4),
        energy_shares=SHARES,
        **options,
    )


def heard(folder: Path, clip: str) -> np.ndarray:
    return soundfile.read(folder / clip)[0]


def test_each_separated_stem_has_its_own_cut(report_on, ingest):
    stems, folder = report_on([write_separated(ingest)])
    assert {name: stem.verdict for name, stem in stems.items()} == {
        "song/drums": "kept", "song/vocals": "partial", "song/other": "dropped"
    }  # fmt: skip
    assert stems["song/drums"].cut_clip is None
    vocals = heard(folder, stems["song/vocals"].cut_clip)
    assert len(vocals) == round(stems["song/vocals"].cut_seconds * RATE)
    assert 0 < np.abs(vocals).max() < 1e-3
    assert len(heard(folder, stems["song/other"].cut_clip)) == 8 * RATE


def test_stems_that_were_not_asked_for_are_neither_shown_nor_heard(report_on, ingest):
    stems, folder = report_on([write_separated(ingest)], ingest={"stems": ["drums"]})
    assert [stem.cut_clip for stem in stems.values()] == [None] * 3
    assert not (folder / "cuts").exists()
    page = (folder / "doctor.html").read_text()
    assert '<svg class="strip"' not in page
    assert "separation.min_energy_share" not in page


def test_a_second_copy_of_a_track_has_no_clips(report_on, ingest):
    stems, folder = report_on([write_separated(ingest), write_separated(ingest, "again")])
    assert [stem.cut_clip for name, stem in stems.items() if name.startswith("again")] == [None] * 3
    assert len(list(folder.glob("cuts/*"))) == 2


def test_a_silent_stem_that_was_separated_has_no_clip(report_on, ingest):
    song = ingest(
        "song", drums=noise(8), bass=np.zeros(8 * RATE, np.float32), energy_shares={"drums": 1, "bass": 0}
    )
    stems, _ = report_on([song])
    assert (stems["song/bass"].reason, stems["song/bass"].cut_clip) == ("silent throughout", None)


def test_of_very_many_cuts_the_longest_have_clips(report_on, ingest, monkeypatch):
    monkeypatch.setattr(tasks.doctor_cuts, "MOST_CUTS", 2)
    songs = [ingest(str(rest), drums=noise(2, rest, 2)) for rest in (3, 5, 4)]
    stems, folder = report_on(songs)
    assert {name: stem.cut_clip for name, stem in stems.items()} == {
        "3/drums": None, "4/drums": "cuts/001-4-drums.flac", "5/drums": "cuts/000-5-drums.flac"
    }  # fmt: skip
    assert len(list(folder.glob("cuts/*"))) == 2
    assert (folder / "doctor.html").read_text().count('<svg class="strip"') == 3


def test_names_of_songs_never_lead_a_clip_elsewhere(report_on, ingest):
    stems, folder = report_on([ingest("Ärger", **{"../ü": noise(2, 4, 2)})])
    (stem,) = stems.values()
    assert stem.cut_clip == "cuts/000-rger.flac"
    assert (folder / stem.cut_clip).is_file()
