"""What the command line tells of itself: its commands, its version, every key."""

from importlib.metadata import version

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli import app
from flows.settings import describe_settings
from wavenet.config import Config, config_names, load_config
from wavenet.errors import ConfigError


def call(*arguments):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def test_help_names_configs_an_example_and_where_the_keys_are():
    told = call("--help").stdout
    for word in (
        *config_names(),
        "waveband run --input",
        "waveband config",
        "section.key=value",
        "--version",
    ):
        assert word in told
    assert "MLFLOW_RUN_ID" in call("doctor", "--help").stdout


def test_the_version_is_that_of_the_package():
    assert call("--version").stdout == f"waveband {version('waveband')}\n"


@pytest.mark.parametrize("sources", [[], ["album"], ["demo"], ["groove", "rosenstock"]])
def test_what_is_printed_is_a_config_that_means_the_same(tmp_path, sources):
    arguments = [part for source in sources for part in ("--config", source)]
    (tmp_path / "mine.yaml").write_text(call("config", *arguments).stdout)
    assert load_config([tmp_path / "mine.yaml"]) == load_config(sources)


def test_values_of_every_kind_survive(tmp_path):
    (tmp_path / "all.yaml").write_text(
        "mix: {gains_db: {bass: -3}}\nstems: {drums: {training: {steps: 5}}}\n"
        "features: {names: [energy, f0]}\ningest: {licence: 'CC: BY #4'}\n"
        "training: {learning_rate: 1.0e-05}\nseparation: {repo: a folder}\n"
    )
    settings = load_config([tmp_path / "all.yaml"])
    (tmp_path / "again.yaml").write_text(describe_settings(settings))
    assert load_config([tmp_path / "again.yaml"]) == settings


def test_every_key_is_there_with_what_it_means():
    text = describe_settings(Config())
    assert "  sample_rate: 16000  # of the models and the mix, Hz; from 1000 up to 192000" in text
    assert "    below_db: 60.0  # so far under the file's own level; above 0 up to 200" in text
    assert "or evenly; one of mu-law, linear\n" in text
    assert "any of energy, onset, f0" in text
    assert yaml.safe_load(text) == Config().model_dump(mode="json")


def test_sections_may_be_named():
    assert set(yaml.safe_load(call("config", "mix", "training").stdout)) == {"mix", "training"}
    with pytest.raises(ConfigError, match=r"no section is named 'trainin' \(did you mean 'training'\?\)"):
        describe_settings(Config(), ["trainin"])
