"""The command line as a person meets it: real processes, killed and started again."""

import json
import time
from pathlib import Path

import pytest
import soundfile


def finish(process):
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def test_run_prints_a_table_paths_and_one_json_object_as_its_last_line(waveband, songs, tiny, tmp_path):
    status, out, err = finish(
        waveband("run", "--input", songs, "--config", tiny, "--json", "training.steps=4")
    )
    assert status == 0, err
    told = json.loads(out.splitlines()[-1])
    assert set(told) == {"mix", "stems", "report", "bits_per_sample", "badness", "ran", "cached"}
    assert f"badness of the takes  bass {told['badness']['bass']:.2f}, drums " in out
    assert set(told["bits_per_sample"]["drums"]) == {
        "heldout", "uniform", "unigram", "order2", "order4", "unresolved"
    }  # fmt: skip
    assert "Held-out bits per sample" in out
    for path in (told["mix"], told["report"], *told["stems"].values()):
        assert Path(path).is_absolute()
        assert path in out
    assert soundfile.info(told["mix"]).samplerate == 2000
    assert told["ran"][-1] == "mix"
    assert "mlflow ui --backend-store-uri" in out
    assert {path.name for path in tmp_path.iterdir()} <= {"songs", "tiny.yaml", "workspace"}


def test_a_foreseen_error_is_one_message_and_no_traceback(waveband, tmp_path):
    (tmp_path / "empty").mkdir()
    status, out, err = finish(waveband("run", "--input", tmp_path / "empty", "--config", "demo"))
    assert status == 1
    assert "Traceback" not in out + err
    assert err.strip().splitlines()[-1].startswith("waveband: ")
    assert "nothing at all" in err


def test_a_prefect_server_that_is_not_there_is_told_without_a_traceback(waveband, songs, tiny):
    server = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    status, out, err = finish(waveband("run", "--input", songs, "--config", tiny, environment=server))
    assert status == 1
    assert "Traceback" not in out + err
    assert "check PREFECT_API_URL" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--config", "albun"], "did you mean 'album'"),
        (["training.stepz=3"], "did you mean 'steps'"),
        (["training.steps"], "expected section.key=value"),
    ],
)
def test_a_wrong_setting_is_told_at_once(waveband, songs, arguments, told):
    started = time.monotonic()
    status, _, err = finish(waveband("run", "--input", songs, *arguments))
    assert status == 1
    assert told in err
    assert "Traceback" not in err
    assert time.monotonic() - started < 10  # before any service is started


def test_help_names_the_commands(waveband):
    status, out, _ = finish(waveband("--help"))
    assert status == 0
    assert "run" in out
    assert "demo" in out
