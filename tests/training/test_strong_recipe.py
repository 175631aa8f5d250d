"""The parts of the strong recipes together: soft targets, smoothing, mixing, drop path, EMA, RandAugment, erasing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small import assert_equal, exact, fresh, quick, run, runtime, weights
from test_trainer import Killed, killed_after

from peclip.data import Split
from peclip.models.pe_clip import PEClipModel
from peclip.nn.towers import VisionTower
from peclip.training.learner import Learner
from peclip.training.mixing import mixup
from peclip.types import Batch

STRONG = {
    "drop_path": 0.3,
    "label_smoothing": 0.1,
    "ema": 0.9,
    "mixing": {"mixup": 0.5, "fmix": 0.3},
    "augment": {
        "rand_augment": {"operations": 4, "magnitude": 7, "magnitude_std": 0.5, "probability": 0.5},
        "erasing": {"probability": 0.25},
    },
}


def voted(split: Split) -> Split:
    """The split with seven of ten votes for each label, and three for another."""
    other = {"happiness": "anger", "anger": "sadness", "sadness": "happiness"}
    return split.with_samples(
        replace(s, soft_target=((s.label, 0.7), (other[s.label], 0.3))) for s in split.samples
    )


def test_votes_that_are_mixed_and_smoothed_by_hand() -> None:
    """Votes of 7 and 3, mixed 3 to 1 with votes for the third label, then smoothed by 0.3."""
    targets = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0]])
    batch = Batch(torch.zeros(2, 1, 3, 4, 4), targets)
    mixed = mixup(batch, torch.tensor([1, 0]), 0.75).targets
    assert mixed is not None
    assert mixed[0].tolist() == pytest.approx([0.525, 0.225, 0.25])
    loaded = fresh().loaded
    learner = Learner(loaded, exact(label_smoothing=0.3), runtime(), torch.ones(3))
    smooth = learner._soften(batch, mixed)
    assert smooth[0].tolist() == pytest.approx([0.4675, 0.2575, 0.275])  # 0.7 t + 0.1
    assert smooth.sum(1).tolist() == pytest.approx([1, 1])
    logits = torch.randn(2, 3)
    by_hand = -(smooth * logits.log_softmax(-1)).sum(1).mean()
    assert F.cross_entropy(logits, smooth).item() == pytest.approx(by_hand.item(), abs=1e-6)


def test_a_killed_training_goes_on_bit_for_bit(videos: Split, tmp_path: Path) -> None:
    config = quick(checkpoint_steps=1, **STRONG)
    whole, _ = run(voted(videos), config)
    with pytest.raises(Killed):
        run(voted(videos), config, state_folder=tmp_path, hooks=killed_after(4))
    again, _ = run(voted(videos), config, state_folder=tmp_path, resume=True)
    assert_equal(whole, again)
    with pytest.raises(AssertionError):
        assert_equal(whole, run(voted(videos), quick(**STRONG | {"drop_path": 0.0}))[0])


def test_drop_path_is_off_outside_of_steps(videos: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = set()
    forward = PEClipModel.forward

    def watch(self: PEClipModel, batch: Batch, features: torch.Tensor | None = None) -> object:
        (tower,) = self.encoders()
        assert isinstance(tower, VisionTower)
        rates.add((torch.is_grad_enabled(), tower.drop_path))
        return forward(self, batch, features)

    monkeypatch.setattr(PEClipModel, "forward", watch)
    config = exact(drop_path=0.2, select_on="val")
    recognizer, _ = run(videos, config, videos.with_samples(videos.samples, "val"))
    assert rates == {(True, 0.2), (False, 0.0)}
    (tower,) = recognizer.model.encoders()
    assert tower.drop_path == 0


def test_recomputed_activations_have_the_same_draws(videos: Split) -> None:
    """The layers that a video skips are drawn outside of what is computed again."""
    config = exact(drop_path=0.4, epochs=1)
    plain, _ = run(videos, config)
    saving, _ = run(videos, exact(drop_path=0.4, epochs=1, checkpoint_activations=True))
    assert_equal(plain, saving, within=1e-5)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(weights(plain).values(), weights(fresh()).values(), strict=True)
    )
