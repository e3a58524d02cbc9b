"""Which weights move, how fast, and what their average is."""

import pytest
import torch

from wavenet.config import ModelConfig, TrainingConfig
from wavenet.errors import ConfigError
from wavenet.model.wavenet import create_model
from wavenet.training.optimizer import freeze_weights, make_average, make_optimizer

CONFIG = ModelConfig(dilation_cycle=2, num_cycles=1, residual_channels=4, gate_channels=4, skip_channels=4)


@pytest.fixture
def model():
    return create_model(CONFIG, 16, 0)


def train_one_step(model, optimizer):
    model(torch.arange(12).reshape(1, 12)).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("patterns", "stay"),
    [
        (["input"], ["input.weight"]),
        (["layers.0.skip"], ["layers.0.skip.weight", "layers.0.skip.bias"]),
        (
            ["layers.*.residual.weight", "head.logits.bias"],
            ["layers.0.residual.weight", "layers.1.residual.weight", "head.logits.bias"],
        ),
    ],
)  # fmt: skip
def test_frozen_weights_stay_and_the_others_move(model, patterns, stay):
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    assert freeze_weights(model, patterns) == stay
    train_one_step(model, make_optimizer(model, TrainingConfig(freeze=patterns)))
    unmoved = {name for name, weight in model.named_parameters() if torch.equal(weight, before[name])}
    assert set(stay) <= unmoved
    assert "layers.1.dilated.weight" not in unmoved


def test_a_pattern_that_names_nothing_is_refused(model):
    with pytest.raises(ConfigError, match=r"no weight is named 'layer\.0'; there are input, layers, head"):
        freeze_weights(model, ["layer.0"])


def test_a_training_with_nothing_left_to_learn_is_refused(model):
    freeze_weights(model, ["*"])
    with pytest.raises(ConfigError, match="leaves nothing to learn"):
        make_optimizer(model, TrainingConfig(freeze=["*"]))


def test_loaded_weights_have_a_rate_of_their_own(model):
    optimizer = make_optimizer(model, TrainingConfig(init_rate_share=0.1), ["input.weight"])
    shares = {group["rate_share"]: len(group["params"]) for group in optimizer.param_groups}
    assert shares == {0.1: 1, 1.0: len(list(model.parameters())) - 1}


def test_the_average_is_the_formula_of_an_exponential_moving_average(model):
    average = make_average(model, 0.8)
    name, expected = "head.logits.bias", None
    for step in range(30):
        with torch.no_grad():
            model.head.logits.bias.add_(0.1 * (step + 1))
        now = model.head.logits.bias.detach().clone()
        decay = min(0.8, (1 + step) / (10 + step))
        expected = now if expected is None else decay * expected + (1 - decay) * now
        average.update_parameters(model)
    torch.testing.assert_close(average.module.state_dict()[name], expected)


def test_without_a_decay_there_is_no_average(model):
    assert make_average(model, 0.0) is None
