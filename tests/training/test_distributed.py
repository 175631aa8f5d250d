"""What torchrun tells a process. Two ranks that train together are in test_processes.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from peclip.errors import ConfigError
from peclip.training.distributed import SINGLE, World, joined, world_of

PLACE = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def test_the_address_of_the_first_process_is_required() -> None:
    with pytest.raises(ConfigError, match="MASTER_ADDR and MASTER_PORT"):
        world_of({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"})


def test_without_torchrun_there_is_one_process() -> None:
    assert world_of({}) == SINGLE
    total = torch.ones(3)
    with joined(SINGLE, torch.device("cpu")) as world:
        assert world.sum(total) is total
        world.sum_gradients([])
        world.copy_from_main([total])
        world.wait()
    assert world.is_main


def test_torchruns_variables() -> None:
    world = world_of({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", **PLACE})
    assert world == World(3, 4, 1)
    assert not world.is_main


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "0"},
        {"RANK": "two", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
        {"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
    ],
)
def test_invalid_variables(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="torchrun"):
        world_of(variables)


def test_parameters_without_a_gradient_on_any_rank_do_not_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An optimiser decays a parameter with a gradient of 0, and in one process there would be none."""
    ours, theirs, nobodys = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    ours.grad = torch.ones(2)
    of_the_other_rank = iter([torch.tensor([0, 1, 0]), torch.tensor([0.0, 0.0, 3.0, 4.0])])
    monkeypatch.setattr("torch.distributed.all_reduce", lambda t: t.add_(next(of_the_other_rank)))
    World(0, 2).sum_gradients([ours, theirs, nobodys])
    assert ours.grad.tolist() == [1, 1]
    assert theirs.grad is not None
    assert theirs.grad.tolist() == [3, 4]
    assert nobodys.grad is None
