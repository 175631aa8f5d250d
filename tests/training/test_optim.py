"""Parameter groups, and the learning rate of a step."""

from __future__ import annotations

import math

import pytest
import torch

from peclip import PEClip
from peclip.config import check
from peclip.errors import ConfigError
from peclip.training.config import LearningRates, TrainConfig
from peclip.training.optim import learning_rate, make_optimizers, set_learning_rates


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
    (optimizer,) = make_optimizers(model, config)
    assert [group["part"] for group in optimizer.param_groups] == ["adapters", "prompts"]
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in model.parameters() if p.requires_grad}
    prompts = {id(p) for name, p in model.named_parameters() if name.startswith("prompts.")}
    assert {id(p) for p in optimizer.param_groups[1]["params"]} == prompts
    assert set_learning_rates([optimizer], config, 0, 5) == {"adapters": 1e-3, "prompts": 1e-4}
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 1e-4]


def test_muon_takes_the_matrices_inside_a_trained_backbone() -> None:
    """No embeddings, projections, vectors, adapters or prompts."""
    model = PEClip.from_pretrained("nano-untrained", device="cpu").model.requires_grad_(True)
    rates = LearningRates(adapters=1e-3, prompts=1e-4, backbone=1e-2)
    config = TrainConfig(lr=rates, warmup_epochs=0, optimizer="muon")
    adamw, muon = make_optimizers(model, config)
    assert (type(adamw), type(muon)) == (torch.optim.AdamW, torch.optim.Muon)
    names = {parameter: name for name, parameter in model.named_parameters()}
    matrices = {names[p] for group in muon.param_groups for p in group["params"]}
    assert {name.split(".")[0] for name in matrices} == {"vision", "text"}
    assert all(name.endswith("weight") for name in matrices)
    assert not any("embedding.weight" in name or "projection" in name for name in matrices)
    assert not any(name.startswith("vision.patch_embedding") for name in matrices)
    tower = [name for name in matrices if name.startswith("vision.blocks.0.")]
    assert len(tower) == 4  # queries, keys and values in one; what follows; two of the MLP
    rest = {names[p] for group in adamw.param_groups for p in group["params"]}
    assert not rest & matrices
    assert rest | matrices == set(names.values())
    parts = ["adapters", "prompts", *2 * ["backbone"], *2 * ["stem"]]
    assert [g["part"] for g in adamw.param_groups] == parts
    assert set_learning_rates((adamw, muon), config, 0, 5)["backbone"] == 1e-2
    assert [group["lr"] for group in muon.param_groups] == [1e-2]


def test_a_step_of_muon_moves_all_directions_alike() -> None:
    """The update is nearly orthogonal, as large as AdamW's: 0.2 times the rate in the mean square."""
    model = PEClip.from_pretrained("nano-untrained", device="cpu").model.requires_grad_(True)
    rates = LearningRates(adapters=0, prompts=0, backbone=1e-2)
    (*_, muon) = make_optimizers(model, TrainConfig(lr=rates, weight_decay=0, optimizer="muon"))
    weights = dict(model.named_parameters())
    weight = next(weights[name] for name in weights if name.endswith("mlp.c_fc.weight"))
    before = weight.detach().clone()
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    weight.grad = direction * torch.logspace(0, -1, len(weight)).unsqueeze(1)
    muon.step()
    singular = torch.linalg.svdvals(before - weight.detach())
    assert singular.max() / singular.min() < 2.5
    assert (before - weight.detach()).square().mean().sqrt().item() == pytest.approx(2e-3, rel=0.2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mixing": {"mixup": 0.8, "fmix": 0.3}}, "at most 1"),
        ({"patience": 3, "select_on": "last"}, "patience requires"),
        ({"lr": {"adapter": 1}}, "lr.adapter"),
        ({"min_lr": float("inf")}, "min_lr.*1000.*'inf'"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_invalid_options_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(TrainConfig, values)


def test_a_model_without_trainable_parameters_is_reported() -> None:
    model = PEClip.from_pretrained("debug", device="cpu").model.requires_grad_(False)
    with pytest.raises(ConfigError, match="train.lr.backbone"):
        make_optimizers(model, TrainConfig())


def test_muon_needs_a_backbone_that_is_trained() -> None:
    model = PEClip.from_pretrained("debug", device="cpu").model
    with pytest.raises(ConfigError, match="the backbone is frozen"):
        make_optimizers(model, TrainConfig(optimizer="muon"))
