"""Stochastic depth against its equation."""

from __future__ import annotations

import pytest
import torch
from small import fresh

from peclip.errors import ConfigError
from peclip.nn.drop_path import drop_layer, layer_rate
from peclip.nn.towers import VisionTower


def test_rates_by_hand() -> None:
    """The rule of Huang et al.: the l-th of L layers is skipped with l / L * (1 - p_L)."""
    assert [layer_rate(0.4, depth, 4) for depth in range(4)] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert layer_rate(0.0, 3, 4) == 0


def test_a_video_skips_a_layer_with_all_of_its_frames() -> None:
    torch.manual_seed(0)
    before, after = torch.randn(400 * 3, 2, 4), torch.randn(400 * 3, 2, 4)
    dropped = drop_layer(before, after, 0.25, num_frames=3)
    scaled = before + (after - before) / 0.75
    skipped = [torch.equal(dropped[row], before[row]) for row in range(len(before))]
    assert all(skipped[row] == skipped[row - row % 3] for row in range(len(before)))
    kept = [row for row, out in enumerate(skipped) if not out]
    assert torch.allclose(dropped[kept], scaled[kept], atol=1e-5)
    assert sum(skipped) / len(skipped) == pytest.approx(0.25, abs=0.06)


def test_the_mean_over_draws_is_the_layer() -> None:
    torch.manual_seed(1)
    before, after = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    drawn = [drop_layer(before, after, 0.4, num_frames=1).item() for _ in range(4000)]
    assert {round(x, 5) for x in drawn} == {0.0, round(1 / 0.6, 5)}
    assert sum(drawn) / len(drawn) == pytest.approx(1, abs=0.05)


def test_a_tower_in_training_and_at_evaluation() -> None:
    """Nearly every video skips the last block and half of them the first; with 0 nothing changes."""
    model = fresh().model
    (tower,) = model.encoders()
    assert isinstance(tower, VisionTower)
    assert len(tower.blocks) == 2
    frames = torch.randn(12, 3, 3, 32, 32)
    with torch.no_grad():
        plain = tower(frames)
        tower.drop_path = 1 - 1e-7
        torch.manual_seed(0)
        dropped = tower(frames)
        model.drop_path(0.0)
        assert torch.equal(tower(frames), plain)
        x = tower.embed(frames.flatten(0, 1), ())
        without = (tower.ln_post(x[:, 0]) @ tower.projection).view(12, 3, -1)
    skipped = [torch.allclose(dropped[n], without[n], atol=1e-5) for n in range(12)]
    assert 2 <= sum(skipped) <= 10, "both blocks, where the first one is skipped as well"
    assert not any(torch.allclose(dropped[n], plain[n], atol=1e-3) for n in range(12))


def test_a_model_without_blocks_of_clip_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fresh().model
    monkeypatch.setattr(type(model), "encoders", lambda self: [])
    with pytest.raises(ConfigError, match="drop_path=0"):
        model.drop_path(0.1)
    model.drop_path(0.0)
