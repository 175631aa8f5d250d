"""Linear probes against hand-computed optima and problems whose solution is known."""

from __future__ import annotations

import math

import pytest
import torch

from peclip.training.linear_probe import PENALTIES, choose_probe, fit_probe


def test_the_optimum_of_a_symmetric_problem() -> None:
    """Features -1 and 1 of one class each: by symmetry the weights are -w and w, with bias 0.

    With the margin 2 w, the loss is log(1 + exp(-2 w)) + penalty w ** 2, so penalty w = sigmoid(-2 w).
    """
    features, classes = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
    for penalty in (1.0, 0.01):
        probe = fit_probe(features, classes, 2, penalty)
        low, high = probe.weights.flatten().tolist()
        assert low == pytest.approx(-high)
        assert penalty * high == pytest.approx(1 / (1 + math.exp(2 * high)), rel=1e-4)
        assert probe.bias.tolist() == pytest.approx([0, 0], abs=1e-6)
        first = 1 / (1 + math.exp(-2 * high))
        assert probe.probabilities(features)[0].tolist() == pytest.approx([first, 1 - first])
    assert (probe.centre.tolist(), probe.spread) == ([0], 1)


def test_features_are_centred_and_scaled() -> None:
    """Shifted and scaled features give the same predictions; the unit of a penalty does not depend on the model."""
    features, classes = torch.randn(20, 3), torch.randint(3, (20,))
    one = fit_probe(features, classes, 3, 0.1)
    other = fit_probe(100 + 5 * features, classes, 3, 0.1)
    torch.testing.assert_close(
        one.probabilities(features), other.probabilities(100 + 5 * features), rtol=0, atol=1e-4
    )
    assert one.num_parameters == 3 * 3 + 3


def test_the_penalty_is_chosen_on_other_videos() -> None:
    """Without signal, a strong penalty is chosen, since the first of equals wins; with signal, all are right."""
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(4, 1)
    classes = torch.tensor([0, 1]).repeat(4)
    assert choose_probe((features, classes), (features, classes), 2).penalty == PENALTIES[0]
    # Two wrong labels far away turn a line that follows them; a weak penalty follows the many close ones instead.
    train = torch.tensor([[-0.1], [0.1]]).repeat(10, 1), torch.tensor([0, 1]).repeat(10)
    chosen = choose_probe(train, train, 2)
    assert (chosen.probabilities(train[0]).argmax(-1) == train[1]).all()


def test_no_gradient_mode_of_the_caller_matters() -> None:
    features, classes = torch.randn(6, 2), torch.tensor([0, 1, 0, 1, 0, 1])
    with torch.no_grad():
        inside = fit_probe(features, classes, 2, 0.1)
    assert torch.equal(inside.weights, fit_probe(features, classes, 2, 0.1).weights)
    assert not inside.weights.requires_grad
