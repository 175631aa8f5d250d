"""Parameter groups, and the learning rate of a step."""

from __future__ import annotations

import math

import pytest

from peclip import PEClip
from peclip.config import check
from peclip.errors import ConfigError
from peclip.training.config import LearningRates, TrainConfig
from peclip.training.optim import learning_rate, make_optimizer, set_learning_rates


def test_warm_up_then_cosine_by_hand() -> None:
    config = TrainConfig(epochs=4, warmup_epochs=1, warmup_lr=0.1, min_lr=0.2)
    rates = [learning_rate(step, 1.0, config, 2) for step in range(8)]
    # 2 warm-up steps from 0.1 to 1, then 6 steps of a half cosine from 1 towards 0.2.
    half = [0.2 + 0.4 * (1 + math.cos(math.pi * k / 6)) for k in range(6)]
    assert rates == pytest.approx([0.1, 0.55, *half])
    assert rates[2:6] == pytest.approx([1.0, 0.9464102, 0.8, 0.6])
    assert learning_rate(8, 1.0, config, 2) == pytest.approx(0.2)


def test_a_small_peak_is_never_passed() -> None:
    config = TrainConfig(epochs=3, warmup_epochs=1, warmup_lr=2e-5, min_lr=1e-5)
    assert {learning_rate(step, 5e-6, config, 3) for step in range(9)} == {5e-6}
    assert learning_rate(0, 1.0, TrainConfig(epochs=1, warmup_epochs=9, warmup_lr=0), 3) == 0


def test_groups_are_adapters_and_prompts() -> None:
    model = PEClip.from_pretrained("debug", device="cpu").model
    config = TrainConfig(lr=LearningRates(adapters=1e-3, prompts=1e-4), warmup_epochs=0)
    optimizer = make_optimizer(model, config)
    assert [group["part"] for group in optimizer.param_groups] == ["adapters", "prompts"]
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in model.parameters() if p.requires_grad}
    prompts = {id(p) for name, p in model.named_parameters() if name.startswith("prompts.")}
    assert {id(p) for p in optimizer.param_groups[1]["params"]} == prompts
    assert set_learning_rates(optimizer, config, 0, 5) == {"adapters": 1e-3, "prompts": 1e-4}
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 1e-4]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mixing": {"mixup": 0.8, "fmix": 0.3}}, "more than 1"),
        ({"patience": 3, "select_on": "last"}, "patience needs"),
        ({"lr": {"adapter": 1}}, "lr.adapter"),
        ({"min_lr": float("inf")}, "finite"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(TrainConfig, values)


def test_nothing_left_to_train_is_told() -> None:
    model = PEClip.from_pretrained("debug", device="cpu").model.requires_grad_(False)
    with pytest.raises(ConfigError, match="Nothing is left to train"):
        make_optimizer(model, TrainConfig())
