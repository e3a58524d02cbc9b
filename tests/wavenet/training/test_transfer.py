"""What fits is taken over, what does not is told, and nothing is passed over in silence."""

import pytest
import torch

from wavenet.config import ModelConfig
from wavenet.errors import IncompatibleCheckpointError
from wavenet.model.conditioning import ConditionForm
from wavenet.model.saved import SavedModel, save_model
from wavenet.model.wavenet import create_model
from wavenet.training.checkpoint import Learner, Progress, save_checkpoint
from wavenet.training.transfer import load_into

CONFIG = ModelConfig(
    dilation_cycle=2, num_cycles=1, residual_channels=4, gate_channels=4, skip_channels=4, label_channels=3
)
ANN_AND_BO = ConditionForm(labels={"artist": ["Ann", "Bo"]})


def export(folder, levels=16, form=ANN_AND_BO, config=CONFIG):
    model = create_model(config, levels, 1, form)
    card = SavedModel(
        stem="drums",
        sample_rate=8000,
        quantization_channels=levels,
        shards_digest="d",
        model=config,
        condition=form,
    )
    folder.mkdir()
    save_model(model, card, folder)
    return model


def assert_all_named(transfer, model):
    named = [*transfer.loaded, *transfer.partly, *transfer.fresh]
    assert sorted(named) == sorted(model.state_dict())


def test_the_same_network_is_taken_over_whole(tmp_path):
    theirs = export(tmp_path / "model")
    mine = create_model(CONFIG, 16, 2, ANN_AND_BO)
    transfer = load_into(mine, tmp_path / "model")
    assert_all_named(transfer, mine)
    assert not transfer.fresh
    for name, weight in theirs.state_dict().items():
        assert torch.equal(mine.state_dict()[name], weight), name


def test_other_levels_begin_with_fresh_inputs_and_outputs(tmp_path):
    export(tmp_path / "model")
    mine = create_model(CONFIG, 32, 2, ANN_AND_BO)
    transfer = load_into(mine, tmp_path / "model")
    assert_all_named(transfer, mine)
    assert transfer.fresh == {
        "input.weight": "has shape (16, 4) there, (32, 4) here",
        "head.logits.weight": "has shape (16, 4, 1) there, (32, 4, 1) here",
        "head.logits.bias": "has shape (16,) there, (32,) here",
    }
    assert "has shape (16, 4) there" in transfer.summary()


def test_a_label_goes_by_its_values(tmp_path):
    theirs = export(tmp_path / "model")
    mine = create_model(CONFIG, 16, 2, ConditionForm(labels={"artist": ["Bo", "Cy"]}))
    before = mine.encoder.labels[0].weight.detach().clone()
    transfer = load_into(mine, tmp_path / "model")
    assert transfer.partly == {"encoder.labels.0.weight": "has no artist Cy there"}
    after, other = mine.encoder.labels[0].weight, theirs.encoder.labels[0].weight
    assert torch.equal(after[0], other[0])
    assert torch.equal(after[1], other[2])
    assert torch.equal(after[2], before[2])


def test_a_free_network_lends_all_it_has_to_a_conditioned_one(tmp_path):
    export(tmp_path / "model", form=ConditionForm())
    mine = create_model(CONFIG, 16, 2, ANN_AND_BO)
    transfer = load_into(mine, tmp_path / "model")
    assert_all_named(transfer, mine)
    assert set(transfer.fresh) == {
        "encoder.labels.0.weight", "layers.0.condition.weight", "layers.1.condition.weight",
    }  # fmt: skip
    assert set(transfer.fresh.values()) == {"is not there"}


def test_what_the_other_had_besides_is_told(tmp_path):
    export(tmp_path / "model", config=CONFIG.model_copy(update={"num_cycles": 2}))
    transfer = load_into(create_model(CONFIG, 16, 2, ANN_AND_BO), tmp_path / "model")
    assert "layers.2.dilated.weight" in transfer.unused
    assert not transfer.fresh


@pytest.mark.parametrize("place", ["", "step-00000002", "checkpoints"])
def test_a_checkpoint_lends_its_weights_the_newest_first(tmp_path, place):
    model = create_model(CONFIG, 16, 1)
    learner = Learner(model, torch.optim.AdamW(model.parameters()))
    folder = tmp_path / "checkpoints"
    for step in (1, 2):
        with torch.no_grad():
            model.head.logits.bias.fill_(step)
        save_checkpoint(folder, learner, Progress(step))
    mine = create_model(CONFIG, 16, 2)
    load_into(mine, {"": folder, "checkpoints": tmp_path}.get(place, folder / place))
    assert torch.equal(mine.head.logits.bias, torch.full((16,), 2.0))


def test_a_folder_without_weights_is_refused_with_what_was_expected(tmp_path):
    with pytest.raises(
        IncompatibleCheckpointError, match=r"no weights to begin with; expected model\.safetensors"
    ):
        load_into(create_model(CONFIG, 16, 2), tmp_path)


def test_weights_of_which_none_fits_are_refused(tmp_path):
    export(tmp_path / "model")
    wide = CONFIG.model_copy(
        update={"residual_channels": 5, "gate_channels": 6, "skip_channels": 7, "label_channels": 2}
    )
    with pytest.raises(IncompatibleCheckpointError, match="none of its weights fits"):
        load_into(create_model(wide, 8, 2), tmp_path / "model")


def test_a_broken_file_is_refused_by_name(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(IncompatibleCheckpointError, match=r"model\.safetensors: cannot be read"):
        load_into(create_model(CONFIG, 16, 2), tmp_path)


def test_a_file_of_weights_may_be_named_and_a_trainings_folder_lends_the_model_that_it_ended_with(tmp_path):
    theirs = export(tmp_path / "trained")
    (tmp_path / "checkpoints" / "step-00000001").mkdir(parents=True)
    for place in (tmp_path, tmp_path / "trained" / "model.safetensors"):
        mine = create_model(CONFIG, 16, 2, ANN_AND_BO)
        assert not load_into(mine, place).fresh
        assert torch.equal(mine.head.logits.bias, theirs.head.logits.bias)


def test_the_same_reason_in_several_layers_is_told_once(tmp_path):
    export(tmp_path / "model")
    wide = CONFIG.model_copy(update={"skip_channels": 5, "head_channels": 4})
    transfer = load_into(create_model(wide, 16, 2, ANN_AND_BO), tmp_path / "model")
    (told,) = [reason for reason in transfer.reasons() if "skip.weight" in reason]
    assert told == "layers.*.skip.weight has shape (4, 4, 1) there, (5, 4, 1) here"
    assert "layers.1.skip.weight" in transfer.fresh


def test_another_width_of_conditioning_begins_with_fresh_conditions(tmp_path):
    export(tmp_path / "model")
    wide = CONFIG.model_copy(update={"label_channels": 5})
    mine = create_model(wide, 16, 2, ANN_AND_BO)
    transfer = load_into(mine, tmp_path / "model")
    assert_all_named(transfer, mine)
    assert transfer.fresh["layers.0.condition.weight"].startswith("has shape")
    assert transfer.fresh["encoder.labels.0.weight"] == "has shape (3, 3) there, (3, 5) here"
    assert "layers.0.dilated.weight" in transfer.loaded
