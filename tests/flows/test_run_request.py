"""What a workspace remembers of its last run, and settings as forms."""

import json

import pytest
from pydantic import ValidationError

from flows.parameters import Changes, describe_field, given
from flows.run_request import DEMO, Request, find_input, last_request, remember_request, usual_config
from tasks.workspace import Workspace
from wavenet.config import Config
from wavenet.errors import ConfigError


@pytest.fixture
def place(tmp_path):
    return Workspace(root=tmp_path / "workspace")


def test_the_last_run_is_remembered_with_paths_from_the_root(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = Request(input="songs", config=["album", "mine.yaml"], overrides=["training.steps=3"])
    remember_request(place, asked)
    last = last_request(place)
    assert last.input == str(tmp_path / "songs")
    assert last.config == ["album", str(tmp_path / "mine.yaml")]
    assert last.overrides == asked.overrides


def test_an_address_stays_as_it_is(place):
    remember_request(place, Request(input="s3://bucket/songs", config=["album"]))
    assert last_request(place).input == "s3://bucket/songs"


def test_it_is_told_which_run_was_the_last(place, capsys):
    remember_request(place, Request(input="/a", config=["album"]))
    last_request(place)
    assert capsys.readouterr().err == "as the last run here: input /a, config album\n"


def test_another_input_or_config_stands_in_for_the_last(place):
    remember_request(place, Request(input="/a", config=["album"], changes={"training": {"steps": 3}}))
    assert last_request(place, input="/b").input == "/b"
    assert last_request(place, config=["demo"]).config == ["demo"]
    assert last_request(place, "/b", ["demo"]).changes == {}  # another run, not the last one changed


def test_the_demo_album_has_its_own_config_where_none_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert usual_config(DEMO) == ["demo"]
    assert usual_config("/music") == ["album"]
    (tmp_path / DEMO).mkdir()  # then it is a folder of somebody's music
    assert usual_config(DEMO) == ["album"]


def test_without_a_last_run_the_error_says_what_to_give(place):
    with pytest.raises(ConfigError, match="no run of build-and-train in this workspace"):
        last_request(place)


def test_a_damaged_memory_is_an_error_that_names_the_file(place):
    remember_request(place, Request(input="/a", config=["album"]))
    (place.root / "request.json").write_text("{")
    with pytest.raises(ConfigError, match=r"request\.json: cannot be read"):
        last_request(place)


def test_changes_come_over_earlier_ones_key_by_key():
    asked = Request(input="/a", config=["album"], changes={"training": {"steps": 3, "seed": 1}})
    changed = asked.updated({"training": {"steps": 9}}, ["mix.clip_mode=none"])
    assert changed.changes == {"training": {"steps": 9, "seed": 1}}
    settings = changed.settings()
    assert (settings.training.steps, settings.training.seed) == (9, 1)
    assert settings.mix.clip_mode == "none"


def test_overrides_come_over_changes_and_changes_over_configs():
    asked = Request(
        input="/a", config=["demo"], changes={"training": {"steps": 5}}, overrides=["training.steps=7"]
    )
    assert asked.settings().training.steps == 7
    assert asked.model_copy(update={"overrides": []}).settings().training.steps == 5


def test_the_demo_album_is_made_where_no_folder_has_that_name(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    album = find_input(place, DEMO)
    assert album == str(place.root / "demo-album")
    (tmp_path / DEMO).mkdir()
    assert find_input(place, DEMO) == DEMO


def test_the_form_has_every_setting_and_asks_for_none():
    assert given(Changes()) == {}
    assert set(Changes.model_fields) == set(Config.model_fields)
    for name, field in Config.model_fields.items():
        inner = Changes.model_fields[name].annotation
        if hasattr(field.annotation, "model_fields"):
            assert set(inner.model_fields) == set(field.annotation.model_fields)


def test_a_value_that_is_out_of_bounds_or_unknown_is_refused_with_its_name():
    for bad in (
        {"training": {"steps": 0}}, {"training": {"stepz": 1}}, {"model": {"kernel_size": 4}},
        {"mix": {"clip_mode": "loud"}}, {"generation": {"guards": {"restarts": -1}}},
    ):  # fmt: skip
        with pytest.raises(ValidationError) as caught:
            Changes.model_validate(bad)
        (error,) = caught.value.errors()[:1]
        assert str(error["loc"][0]) in bad


def test_the_form_says_what_each_setting_means():
    schema = json.dumps(Changes.model_json_schema())
    for field in Config.model_fields["training"].annotation.model_fields.values():
        assert field.description
        assert json.dumps(describe_field(field)) in schema
