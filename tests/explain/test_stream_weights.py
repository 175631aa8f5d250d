"""Explanations of FineCLIPER: its streams, and pictures that are drawn over the crop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from peclip.data.streams.captions import CaptionStream
from peclip.data.streams.parts import PartsStream
from peclip.errors import ConfigError
from peclip.explain.explained_window import ExplainedWindow
from peclip.explain.registry import METHODS, find_all
from peclip.models.registry import build_model
from peclip.types import Batch
from peclip.weights.resolve import debug_config


def window(caption: str = "the brows rise", **changes: object) -> ExplainedWindow:
    torch.manual_seed(0)
    model = build_model(debug_config("finecliper").derive(**changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3)
    parts = PartsStream(torch.randn(1, 4, 2, 3, 32, 32), torch.ones(1, 4, dtype=torch.bool))
    streams = {"parts": parts, "captions": CaptionStream((caption,))}
    batch = Batch(torch.randn(1, 4, 3, 32, 32), streams=streams)
    return ExplainedWindow(model, batch, 2, range(4))


def test_the_weights_of_the_streams_are_the_models() -> None:
    explained = window(parts=True, captions=True)
    finding = METHODS["streams"].find(explained)
    assert list(finding.streams) == ["video", "parsing", "landmarks", "captions"]
    with torch.no_grad():
        expected = explained.network(explained.batch).weights[0].tolist()
    assert list(finding.streams.values()) == pytest.approx(expected)
    assert sum(finding.streams.values()) == pytest.approx(1)
    assert METHODS["streams"].find(window("", parts=True, captions=True)).streams["captions"] == 0


def test_what_does_not_apply_is_left_out_or_refused() -> None:
    explained = window()
    assert set(find_all(explained, [])) == {"leave-one-out", "gradient", "rollout", "words"}
    with pytest.raises(ConfigError, match="dynamic-scale.*no temporal"):
        find_all(explained, ["dynamic-scale"])
    with pytest.raises(ConfigError, match="streams.*single stream"):
        find_all(explained, ["streams"])


def test_all_methods_explain_several_streams() -> None:
    explained = window(parts=True, captions=True)
    for finding in find_all(explained, []).values():
        if finding.frames is not None:
            assert finding.frames.shape == (4,)
        if finding.maps is not None:
            assert finding.maps.shape == (4, 2, 2)
            assert np.isfinite(finding.maps).all()
            assert np.abs(finding.maps).max() > 0


def test_covered_places_are_covered_in_the_parts_too() -> None:
    """A parsing map drawn over the crop would otherwise show what is covered."""
    explained = window(parts=True)
    hidden = torch.zeros(1, 32, 32, dtype=torch.bool)
    hidden[:, :16, 16:] = True
    covered = explained.without(hidden)
    blank = explained.batch.frames.mean((0, 1, 3, 4))
    for pictures in (covered.frames[0, 3], covered.streams["parts"].pictures[0, 2, 1]):
        assert torch.equal(pictures[:, :16, 16:], blank[:, None, None].expand(3, 16, 16))
    before, after = explained.batch.streams["parts"], covered.streams["parts"]
    assert torch.equal(after.pictures[..., 16:, :], before.pictures[..., 16:, :])
    assert torch.equal(after.found, before.found)


def test_the_prior_is_part_of_the_log_odds() -> None:
    explained = window()
    plain = explained.predict(explained.batch)
    model = build_model(debug_config("finecliper")).eval()
    model.load_state_dict(explained.network.state_dict())
    names = model.labels.names
    model.prior = dict.fromkeys(names, 1 / 7)
    model.label_frequencies = {n: 0.4 if n == names[2] else 0.1 for n in names}
    model.prior_weight = 0.0
    adjusted = ExplainedWindow(model, explained.batch, 2, range(4))
    # odds 0.4 : 0.6 instead of 1 : 6, if the others keep their proportions
    expected = plain + np.log(0.4 / 0.1)
    assert float(adjusted.predict(explained.batch)) == pytest.approx(float(expected), abs=1e-4)


def test_a_label_that_never_occurs_can_be_explained() -> None:
    """Its prior factor is 0, and the difference of two infinite log-odds would be NaN."""
    explained = window()
    model = explained.network
    names = model.labels.names
    model.prior = dict.fromkeys(names, 1 / 7)
    model.label_frequencies = {n: 0.0 if n == names[2] else 1 / 6 for n in names}
    model.prior_weight = 0.0
    never = ExplainedWindow(model, explained.batch, 2, range(4))
    assert np.isfinite(METHODS["leave-one-out"].find(never).frames).all()
