"""The temporal head is a transformer added to the mean, and is the mean before training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from peclip.nn.pooling import MeanOverFrames
from peclip.nn.temporal_head import TemporalHead

D, T = 8, 6


def head(**changes: object) -> TemporalHead:
    return TemporalHead(D, T, **{"heads": 2} | changes).eval()  # type: ignore[arg-type]


def trained(**changes: object) -> TemporalHead:
    """A head whose weights are random everywhere."""
    made = head(**changes)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


@pytest.mark.parametrize("num_frames", [1, T, T + 3])
@pytest.mark.parametrize("changes", [{}, {"inner": 4, "layers": 2}])
def test_the_untrained_head_is_the_mean(num_frames: int, changes: dict[str, int]) -> None:
    features = torch.randn(3, num_frames, D)
    assert torch.equal(head(**changes)(features), features.mean(1))


@pytest.mark.parametrize("layers", [1, 2])
def test_it_is_a_transformer_with_a_class_token(layers: int) -> None:
    """Compared with torch's own layers, with a norm before each branch."""
    made, features = trained(layers=layers), torch.randn(3, T, D)
    x = torch.cat([made.start.expand(3, 1, -1), features + made.positions], dim=1)
    for layer in made.layers:
        own, reference = (
            layer.block,
            nn.TransformerEncoderLayer(D, 2, 2 * D, 0.0, "gelu", batch_first=True, norm_first=True),
        )
        pairs = {
            reference.self_attn: own.attn,
            reference.norm1: own.ln_1,
            reference.norm2: own.ln_2,
            reference.linear1: own.mlp.c_fc,
            reference.linear2: own.mlp.c_proj,
        }
        for target, source in pairs.items():
            target.load_state_dict(source.state_dict())
        x = reference(x)
    start = nn.functional.layer_norm(x[:, 0], (D,), made.norm.weight, made.norm.bias)
    expected = features.mean(1) + start @ made.up.weight.T + made.up.bias
    torch.testing.assert_close(made(features), expected, rtol=0, atol=1e-5)


def test_the_count_by_hand() -> None:
    layer = 4 * D * D + 4 * D + 2 * D * 2 * D + 2 * D + D + 4 * D  # attention, MLP, two norms
    rest = D + T * D + 2 * D + D * D + D  # class token, positions, norm, up
    assert sum(p.numel() for p in head(layers=2).parameters()) == 2 * layer + rest
    layer = 4 * 16 + 4 * 4 + 2 * 4 * 8 + 8 + 4 + 4 * 4
    rest = 4 + T * 4 + 2 * 4 + 4 * D + D + D * 4 + 4  # with `down`
    assert sum(p.numel() for p in head(inner=4).parameters()) == layer + rest


def test_it_sees_the_order_of_frames_unlike_the_mean() -> None:
    features = torch.randn(2, T, D)
    made = trained()
    assert (made(features) - made(features.flip(1))).abs().max() > 0.01
    mean = MeanOverFrames()
    torch.testing.assert_close(mean(features), mean(features.flip(1)))


def test_positions_of_other_numbers_of_frames_are_interpolated() -> None:
    """Frame i of t is the centre of its part of the window, at (i + 0.5) / t * T - 0.5."""
    made = trained()
    p = made.positions
    assert made.positions_of(T) is p
    torch.testing.assert_close(made.positions_of(3), (p[0::2] + p[1::2]) / 2)
    torch.testing.assert_close(made.positions_of(1), ((p[2] + p[3]) / 2)[None])
    twice = made.positions_of(2 * T)
    torch.testing.assert_close(twice[1], 0.75 * p[0] + 0.25 * p[1])
    torch.testing.assert_close(twice[[0, -1]], p[[0, -1]])


def test_frames_that_are_not_present_do_not_matter() -> None:
    made, features = trained(), torch.randn(2, T, D)
    present = torch.ones(2, T, dtype=torch.bool)
    torch.testing.assert_close(made(features, present), made(features))
    present[0, 2] = present[1, :] = False
    found = made(features, present)
    features[~present] = 100.0
    torch.testing.assert_close(made(features, present), found)
    kept = features[0, [0, 1, 3, 4, 5]].mean(0)
    torch.testing.assert_close(MeanOverFrames()(features, present)[0], kept)
    assert torch.equal(MeanOverFrames()(features, present)[1], torch.zeros(D))


def test_dropout_is_only_in_training() -> None:
    made, features = trained(dropout=0.5), torch.randn(2, T, D)
    assert torch.equal(made(features), made(features))
    made.train()
    assert not torch.equal(made(features), made(features))
