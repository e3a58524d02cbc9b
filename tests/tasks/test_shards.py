"""Shards of a plan: made once, in the workspace or a bucket, of what the plan says."""

import mido
import numpy as np
import pytest
from prefect.states import State

from tasks.planning import plan_band
from tasks.shards import shards
from wavenet.config import Config
from wavenet.data.shards.checker import verify_shards
from wavenet.data.shards.format import read_manifest
from wavenet.data.shards.reader import read_shards

RATE = 2000


def make_noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


@pytest.fixture
def write(place):
    """Make the shards of a stem of songs. Returns the record and whether it was there already."""

    def write(songs, stem="drums", prefix=None, sources=None, **sections):
        config = Config.model_validate(
            {
                "ingest": {"sample_rate": RATE},
                "segmentation": {"segment_seconds": 0.5},
                "model": {"dilation_cycle": 4, "num_cycles": 1},
                **sections,
            }
        )
        made = shards.fn(
            workspace=place,
            stem=stem,
            tracks=plan_band(place, songs, config, {}).stems[stem],
            sample_rate=RATE,
            segment_length=config.segment_length,
            hop_length=config.hop_length,
            heldout_share=0.1,
            quantization=config.quantization,
            features=config.features,
            resample_quality="HQ",
            prefix=prefix,
            workers=2,
            sources=sources or {},
        )
        return (made.data, True) if isinstance(made, State) else (made, False)

    return write


@pytest.fixture
def band(ingest):
    return [
        ingest(f"{number}", drums=make_noise(2, number), bass=make_noise(2, 9 + number))
        for number in range(3)
    ]


def test_a_set_is_made_once(place, write, band):
    record, reused = write(band)
    again, reused_then = write(band[::-1])
    assert (reused, reused_then) == (False, True)
    assert record == again
    assert verify_shards(place.path(record.folder)) == []
    assert record.folder.startswith("store/shards/drums-")


def test_a_set_goes_to_a_bucket_and_is_found_there_again(place, write, band, s3):
    record, reused = write(band, prefix=f"{s3}/shards")
    again, reused_then = write(band, prefix=f"{s3}/shards")
    assert (reused, reused_then) == (False, True)
    assert record == again
    assert record.folder.startswith(f"{s3}/shards/drums-")
    assert verify_shards(place.path(record.folder)) == []
    assert list((place.root / "store" / "shards").iterdir()) == []  # nothing is left here


def test_a_set_goes_to_a_folder_and_is_found_there_again(place, write, band, tmp_path):
    record, _ = write(band, prefix=str(tmp_path / "shards"))
    again, reused = write(band, prefix=str(tmp_path / "shards"))
    assert (again, reused) == (record, True)
    assert place.path(record.folder).parent == tmp_path / "shards"
    assert verify_shards(place.path(record.folder)) == []
    (place.path(record.folder) / "train-00000.parquet").unlink()
    assert write(band, prefix=str(tmp_path / "shards")) == (record, False)
    assert verify_shards(place.path(record.folder)) == []


def test_a_card_names_the_files_and_their_names_are_no_content(place, write, band):
    track = band[0].track.track.track_id
    record, _ = write(band, sources={track: ["loops/a.wav"]})
    manifest = read_manifest(place.path(record.folder))
    assert {one.track_id: one.sources for one in manifest.tracks}[track] == ["loops/a.wav"]
    assert "loops/a.wav" in (place.path(record.folder) / "README.md").read_text()
    assert verify_shards(place.path(record.folder)) == []
    assert write(band, sources={track: ["renamed.wav"]}) == (record, True)


def test_a_set_that_was_damaged_in_the_bucket_is_not_used(place, write, band, s3):
    record, _ = write(band, prefix=s3)
    (place.path(record.folder) / "train-00000.parquet").unlink()
    again, reused = write(band, prefix=s3)
    assert not reused
    assert verify_shards(place.path(again.folder)) == []


def test_the_parts_of_a_songs_score_go_to_its_stems(place, write, ingest, tmp_path):
    """Of a finished track all of it; beside drums, `other` plays all but the drums."""
    midi = mido.MidiFile()
    for channel, program, pitch in ((9, 0, 36), (0, 33, 40), (1, 0, 60)):  # drums, a bass, a piano
        messages = [
            mido.Message("program_change", channel=channel, program=program),
            mido.Message("note_on", note=pitch, channel=channel, velocity=90),
            mido.Message("note_off", note=pitch, channel=channel, time=480),
        ]
        midi.tracks.append(mido.MidiTrack(messages))
    midi.save(tmp_path / "song.mid")
    songs = [
        ingest("finished", mix=make_noise(1), scores={"": tmp_path / "song.mid"}),
        ingest("band", drums=make_noise(1, 1), other=make_noise(1, 2), scores={"": tmp_path / "song.mid"}),
    ]

    def pitches(stem):
        record, _ = write(songs, stem, features={"names": ["notes"]})
        rows = read_shards(place.path(record.folder), "train")
        return sorted(event["pitch"] for row in rows["note_events"] for event in row)

    assert pitches("mix") == [36, 40, 60]
    assert pitches("drums") == [36]
    assert pitches("other") == [40, 60]
