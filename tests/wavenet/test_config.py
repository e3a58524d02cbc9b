"""Settings are strict: each wrong key or value is named, and later sources win."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wavenet.config import (
    Config,
    GenerationConfig,
    ModelConfig,
    SeparationConfig,
    config_names,
    find_config,
    load_config,
    num_generated_samples,
)
from wavenet.errors import ConfigError


def write_yaml(folder, text, name="mine.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def error_of(*overrides, sources=()):
    with pytest.raises(ConfigError) as caught:
        load_config(sources, overrides)
    return str(caught.value)


def test_there_are_named_configs():
    assert {"demo", "groove", "rosenstock"} <= set(config_names())


@pytest.mark.parametrize("name", config_names())
def test_every_named_config_loads(name):
    config = load_config([name])
    assert config != Config()
    assert config.segment_length > config.model.receptive_field
    assert find_config(name).name == f"{name}.yaml"


def test_no_source_gives_the_defaults():
    assert load_config() == Config()


def test_a_config_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        Config().training.steps = 5


@pytest.mark.parametrize(
    ("override", "key", "nearest"),
    [
        ("trainin.steps=5", "trainin", "training"),
        ("training.stepz=5", "training.stepz", "steps"),
        ("ingest.samplerate=5", "ingest.samplerate", "sample_rate"),
        ("stem.drums.training.steps=5", "stem", "stems"),
        ("stems.drums.trainig.steps=5", "stems.drums.trainig", "training"),
        ("stems.drums.training.step=5", "stems.drums.training.step", "steps"),
        ("stems.drums.model.kernel=3", "stems.drums.model.kernel", "kernel_size"),
    ],
)
def test_an_unknown_key_is_named_with_its_nearest_neighbour(override, key, nearest):
    assert error_of(override).startswith(f"{key}: unknown key (did you mean '{nearest}'?); known here: ")


def test_an_unknown_key_without_neighbour_lists_what_is_known():
    message = error_of("mix.xyzzy=5")
    assert message == "mix.xyzzy: unknown key; known here: clip_mode, gains_db"


def test_a_value_that_should_be_a_list_is_shown_how_to_write_one():
    assert error_of("features.names=energy").endswith("(found 'energy'); write features.names=[energy]")
    assert "; write" not in error_of("model.dilation_cycle=abc")  # a number would do as well


def test_what_is_computed_cannot_be_configured():
    assert "model.receptive_field: unknown key" in error_of("model.receptive_field=1024")


def test_every_wrong_key_is_named_at_once():
    lines = error_of("training.stepz=5", "ingest.sample_rate=-1", "mix.clip_mode=loud").splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "ingest.sample_rate",
        "training.stepz",
        "mix.clip_mode",
    ]


@pytest.mark.parametrize(
    "override",
    [
        "training.steps=0",
        "training.steps=many",
        "training.learning_rate=.nan",
        "training.learning_rate=.inf",
        "training.clip_norm=1e999",
        "mix.gains_db.drums=.nan",
        "mix.gains_db.drums=-.inf",
        "mix.clip_mode=loud",
        "model.kernel_size=4",
        "quantization.quantization_channels=8",
        "segmentation.heldout_share=1",
        "generation.seconds=0",
        "generation.temperature=-1",
        "ingest.track_stem='a/b'",
        "ingest.stems=drums",
        "separation.overlap=1",
        "stems.drums.training.steps=0",
        "stems.drums.generation.temperature=.inf",
    ],
)
def test_a_bad_value_names_its_key_and_what_was_found(override):
    message = error_of(override)
    assert message.startswith(f"{override.partition('=')[0]}: ")
    assert "(found " in message


@pytest.mark.parametrize(
    "override", ["training=5", "training=", "stems=[drums]", "stems.drums=5", "mix=loud"]
)
def test_a_value_in_the_place_of_a_section_is_named(override):
    key = override.partition("=")[0]
    assert error_of(override).startswith(f"{key}: found ")
    assert "expected a section with keys" in error_of(override)


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "1E-3"])
def test_an_override_may_be_a_float_in_any_notation(text):
    assert load_config(overrides=[f"training.learning_rate={text}"]).training.learning_rate == 1e-3


def test_an_override_is_a_yaml_value():
    config = load_config(
        overrides=[
            "ingest.stems=[drums, bass]",
            "generation.prime=no",
            "mix.gains_db={drums: -3}",
            "mix.gains_db.bass=1.5",
            "training.device=cuda:1",
            " training.steps = 7",
        ]
    )
    assert config.ingest.stems == ["drums", "bass"]
    assert config.generation.prime is False
    assert config.mix.gains_db == {"drums": -3, "bass": 1.5}
    assert config.training.device == "cuda:1"
    assert config.training.steps == 7


@pytest.mark.parametrize(
    "text", ["training.steps", "=5", ".=5", "training..steps=5", "stems..training.steps=5"]
)
def test_what_is_no_override_says_how_one_looks(text):
    assert error_of(text) == f"'{text}' is no override; expected section.key=value, as in training.steps=500"


def test_a_broken_yaml_value_is_named():
    assert error_of("training.steps=[1") == "training.steps: '[1' is not a YAML value"


def test_the_later_source_wins_and_leaves_the_rest(tmp_path):
    one = write_yaml(tmp_path, "training: {steps: 1, batch_size: 2}\nmix: {clip_mode: tanh}", "one.yaml")
    two = write_yaml(tmp_path, "training: {steps: 3}", "two.yml")
    config = load_config([one, two], ["training.seed=9"])
    assert (config.training.steps, config.training.batch_size, config.training.seed) == (3, 2, 9)
    assert config.mix.clip_mode == "tanh"
    assert load_config([two, one]).training.steps == 1
    assert load_config([two, one], ["training.steps=4", "training.steps=5"]).training.steps == 5


def test_a_source_may_be_a_name_a_path_or_text(tmp_path):
    path = write_yaml(tmp_path, "training: {steps: 1}")
    assert load_config(["demo", str(path)]).training.steps == 1
    assert load_config([path, "demo"]) == load_config(["demo"])


def test_one_stem_may_differ():
    config = load_config(
        overrides=["stems.drums.training.steps=5", "stems.drums.model.num_cycles=1", "training.seed=3"]
    )
    drums, bass = config.for_stem("drums"), config.for_stem("bass")
    assert (drums.training.steps, drums.training.seed, drums.model.num_cycles) == (5, 3, 1)
    assert bass.training == config.training
    assert bass.model == config.model
    assert drums.generation == config.generation


def test_a_stem_may_be_named_by_a_number():
    assert load_config(overrides=["stems.808.training.steps=5"]).for_stem("808").training.steps == 5


def test_takes_of_one_mix_have_one_length():
    message = error_of("stems.drums.generation.seconds=3", "generation.seconds=4")
    assert message.startswith("stems.drums.generation.seconds: ")
    assert "set generation.seconds for all" in message
    same = load_config(overrides=["stems.drums.generation.seconds=4", "generation.seconds=4.0"])
    assert same.for_stem("drums").generation.seconds == 4


@given(st.integers(2, 3), st.integers(1, 12), st.integers(1, 6))
def test_the_receptive_field_is_computed_from_the_layers(kernel_size, dilation_cycle, num_cycles):
    config = ModelConfig(kernel_size=kernel_size, dilation_cycle=dilation_cycle, num_cycles=num_cycles)
    assert len(config.dilations) == dilation_cycle * num_cycles
    assert config.receptive_field == 1 + (kernel_size - 1) * num_cycles * (2**dilation_cycle - 1)


def test_the_receptive_field_of_the_papers_cycle():
    assert ModelConfig(kernel_size=2, dilation_cycle=10, num_cycles=1).receptive_field == 1024


def test_a_segments_length_is_in_samples():
    config = load_config(overrides=["segmentation.segment_seconds=0.3", "ingest.sample_rate=11025"])
    assert config.segment_length == 3410  # 3307.5, made whole frames of 110 samples
    assert config.segment_length % config.hop_length == 0


@given(st.integers(1, 360000), st.sampled_from([8000, 10000, 16000, 44100]))
def test_a_takes_length_is_its_seconds_in_samples_rounded_up(hundredths, sample_rate):
    samples = num_generated_samples(GenerationConfig(seconds=hundredths / 100), sample_rate)
    assert samples == -(-hundredths * sample_rate // 100)


@pytest.mark.parametrize("source", ["dem", "nothing like it", ""])
def test_an_unknown_name_says_which_there_are(source):
    message = error_of(sources=[source])
    assert f"no config is named '{source}'" in message
    assert all(name in message for name in config_names())
    assert ("did you mean 'demo'?" in message) == (source == "dem")


@pytest.mark.parametrize("source", ["missing.yaml", "folder/missing", Path("/nowhere/at/all.yml")])
def test_a_missing_file_is_named_with_the_names_there_are(source):
    message = error_of(sources=[source])
    assert message.startswith(f"{source}: no such config file")
    assert "demo" in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- training\n- mix\n", "found a list, expected sections with keys"),
        ("[]", "found a list"),
        ("just words", "found a str"),
        ("training: {steps", "cannot be read as YAML"),
        ("a:\n\t- tab", "cannot be read as YAML"),
    ],
)
def test_a_file_that_holds_no_sections_is_named(tmp_path, text, told):
    path = write_yaml(tmp_path, text)
    assert error_of(sources=[path]).startswith(f"{path}: {told}")


@pytest.mark.parametrize(
    ("text", "told"),
    [("training:\n", "training: found None, expected a section"), ("1: 2", "1: Keys should be strings")],
)
def test_a_file_with_a_wrong_section_names_the_section(tmp_path, text, told):
    assert error_of(sources=[write_yaml(tmp_path, text)]).startswith(told)


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"training: \xff\xfe")
    assert error_of(sources=[path]).startswith(f"{path}: cannot be read as YAML")


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n", "{}"])
def test_a_file_of_nothing_changes_nothing(tmp_path, text):
    assert load_config([write_yaml(tmp_path, text)]) == Config()


def test_yaml_cannot_make_python_objects(tmp_path):
    attack = f"!!python/object/apply:os.mkdir ['{tmp_path / 'owned'}']"
    assert "python/object/apply" in error_of(sources=[write_yaml(tmp_path, f"training: {attack}")])
    assert "is not a YAML value" in error_of(f"training.device={attack}")
    assert not (tmp_path / "owned").exists()


def test_what_is_loaded_can_be_written_and_loaded_again(tmp_path):
    config = load_config(["demo"], ["stems.drums.training.steps=5", "separation.repo=/models"])
    path = write_yaml(tmp_path, config.model_dump_json())
    assert load_config([path]) == config
    assert isinstance(config.separation, SeparationConfig)


def test_a_segment_is_twice_the_longest_receptive_field_if_it_is_not_configured():
    overrides = ["model.dilation_cycle=10", "stems.bass.model.num_cycles=4"]
    config = load_config([], overrides)
    longest = config.for_stem("bass").model.receptive_field
    assert config.receptive_field == longest == 4093
    assert 2 * longest <= config.segment_length < 2 * longest + config.hop_length


def test_a_segment_of_a_tiny_model_is_a_quarter_of_a_second():
    config = load_config([], ["model.dilation_cycle=2", "model.num_cycles=1"])
    assert config.segment_length == 4000


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("orchestration.runner=spark", "orchestration.runner: Input should be 'threads', 'dask' or 'ray'"),
        ("orchestration.address=tcp://a:1", "address names a cluster, and runner is threads"),
        ("training.nodes=2", "nodes is 2, and meeting names no HOST:PORT"),
        ("training.meeting=nowhere", "training.meeting: String should match pattern"),
    ],
)
def test_what_cannot_run_is_refused_on_loading(override, told):
    assert told in error_of(override)


def test_nodes_count_in_the_least_batch():
    asked = ["training.nodes=2", "training.processes=3", "training.meeting=a:29500"]
    assert "too few for 6 processes" in error_of(*asked)
    assert load_config([], [*asked, "training.batch_size=6"]).training.nodes == 2
