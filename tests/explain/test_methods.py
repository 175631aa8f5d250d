"""Explanations find the evidence that a model sees by construction, and change with its weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from evidence import (
    FRAMES,
    LABELS,
    QUARTERS,
    SIZE,
    build_seeing_model,
    draw_evidence,
    window_of,
)

from peclip import FineCLIPER, PEClip
from peclip.errors import ConfigError
from peclip.explain.explained_window import ExplainedWindow
from peclip.explain.faithfulness import randomise
from peclip.explain.registry import METHODS, find_all
from peclip.models.base import ExpressionModel
from peclip.types import Batch

WHEN = ("leave-one-out", "gradient")
WHERE = ("rollout", "occlusion", "gradient")
STARTS = (0, 4, 8)
"""Of four frames of evidence; the second case is frames 5 to 8, counted from 1."""


@pytest.fixture(scope="module")
def seeing() -> PEClip:
    return build_seeing_model()


@pytest.fixture(scope="module")
def blind(seeing: PEClip) -> list[ExpressionModel]:
    """The same model with random weights, three times."""
    return [randomise(seeing.model, seed) for seed in range(3)]


@pytest.fixture(scope="module")
def fine() -> FineCLIPER:
    return build_seeing_model("finecliper")


def frames_that_rank_first(window: ExplainedWindow, method: str) -> set[int]:
    frames = METHODS[method].find(window).frames
    return set(np.argsort(-frames)[:4].tolist())


def share_in(window: ExplainedWindow, method: str, quarter: tuple[int, int]) -> float:
    """The part of a map's positive mass in a quarter of the picture; a cell on the border counts half."""
    cells = METHODS[method].find(window).maps.clip(min=0).mean(0)
    first = np.clip(len(cells) / 2 - np.arange(len(cells)), 0, 1)
    rows, columns = (1 - first if second else first for second in quarter)
    return float(rows @ cells @ columns / cells.sum())


def cases(seeing: PEClip, model: ExpressionModel):
    """Windows with evidence in four of the frames, for each label and each place in time."""
    for label in range(3):
        for start in STARTS:
            video = draw_evidence(label, range(start, start + 4), (0, 1), seed=label)
            yield set(range(start, start + 4)), window_of(seeing, model, video, label)


def quarters(seeing: PEClip, model: ExpressionModel):
    """Windows with evidence in one quarter of all frames, for each label and each quarter."""
    for label in range(3):
        for quarter in QUARTERS:
            video = draw_evidence(label, range(FRAMES), quarter, seed=label)
            yield quarter, window_of(seeing, model, video, label)


def test_the_model_is_right_because_of_the_evidence(seeing: PEClip) -> None:
    for label in range(3):
        with_evidence = draw_evidence(label, range(4, 8), (0, 1))
        without = draw_evidence(label, [], (0, 1))
        assert window_of(seeing, seeing.model, with_evidence, label).num_frames == FRAMES
        for video, expected in ((with_evidence, LABELS.names[label]), (without, "neutral")):
            window = window_of(seeing, seeing.model, video, label)
            with torch.no_grad():
                logits = seeing.model(window.batch).logits[0]
            assert LABELS.names[int(logits.argmax())] == expected


@pytest.mark.parametrize("method", WHEN)
def test_frames_with_the_evidence_rank_first(
    seeing: PEClip, blind: list[ExpressionModel], method: str
) -> None:
    for expected, window in cases(seeing, seeing.model):
        assert frames_that_rank_first(window, method) == expected
    for model in blind:
        found = [
            frames_that_rank_first(w, method) == expected for expected, w in cases(seeing, model)
        ]
        assert sum(found) <= len(found) / 2


@pytest.mark.slow
@pytest.mark.parametrize("method", WHERE)
def test_the_mass_of_a_map_is_where_the_evidence_is(
    seeing: PEClip, blind: list[ExpressionModel], method: str
) -> None:
    for quarter, window in quarters(seeing, seeing.model):
        assert share_in(window, method, quarter) > 0.75
    for model in blind:
        shares = [share_in(window, method, quarter) for quarter, window in quarters(seeing, model)]
        assert np.mean(shares) < 0.6


@pytest.mark.slow
def test_finecliper_is_explained_by_its_evidence(fine: FineCLIPER) -> None:
    """As for PE-CLIP; its adapters spread the maps more."""
    blind = randomise(fine.model)
    for method in WHEN:
        for expected, window in cases(fine, fine.model):
            assert frames_that_rank_first(window, method) == expected
        found = [
            frames_that_rank_first(w, method) == expected for expected, w in cases(fine, blind)
        ]
        assert sum(found) <= len(found) / 2
    for method in WHERE:
        shares = [
            share_in(window, method, quarter) for quarter, window in quarters(fine, fine.model)
        ]
        assert min(shares) > 0.5
        assert np.mean(shares) > 0.75
        shares = [share_in(window, method, quarter) for quarter, window in quarters(fine, blind)]
        assert np.mean(shares) < 0.6


@pytest.mark.parametrize(
    ("method", "forward", "backward"),
    [
        ("leave-one-out", FRAMES + 1, 0),
        ("gradient", 1, 1),
        ("dynamic-scale", 1, 0),
        ("rollout", 1, 1),
        ("occlusion", 8 * 8 + 1, 0),
        ("words", 1, 0),
    ],
)
@pytest.mark.parametrize("mirror", [False, True])
def test_the_stated_passes_are_those_of_the_network(
    seeing: PEClip, method: str, forward: int, backward: int, mirror: bool
) -> None:
    window = window_of(seeing, seeing.model, draw_evidence(0, range(4, 8), (0, 1)), 0)
    window.network.mirror = mirror
    calls = []
    window.tower.register_forward_hook(lambda *_: calls.append(1))
    finding = METHODS[method].find(window)
    assert (finding.forward_passes, finding.backward_passes) == ((1 + mirror) * forward, backward)
    assert len(calls) == window.forward_passes == finding.forward_passes
    assert seeing.model.mirror is False


def test_leaving_a_frame_out_is_exact(seeing: PEClip) -> None:
    """The value of frame 6 is the difference of two predictions of the model itself."""
    window = window_of(seeing, seeing.model, draw_evidence(1, range(4, 8), (1, 0)), 1)
    kept = torch.tensor([[n for n in range(FRAMES) if n != 6]])

    def log_odds(batch: Batch) -> torch.Tensor:
        with torch.inference_mode():
            p = seeing.model(batch).logits.double().softmax(-1)[0, 1]
        return torch.log(p / (1 - p))

    expected = log_odds(window.batch) - log_odds(window.batch.at(kept))
    found = METHODS["leave-one-out"].find(window).frames
    assert found[6] == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("mirror", [False, True])
def test_gradient_times_input_is_a_directional_derivative(seeing: PEClip, mirror: bool) -> None:
    """Moving the tokens of a frame a little towards those of a blank one changes the log-odds by the frame's value."""
    window = window_of(seeing, seeing.model, draw_evidence(0, range(4, 8), (1, 0)), 0)
    window.network.mirror = mirror
    blank = window.tower.embed(window.blank().expand(1, 3, SIZE, SIZE), ()).detach()
    step, frame, length = 1e-2, 2, blank.shape[1]

    def log_odds(sign: int) -> float:
        def move(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[object, ...]:
            tokens = given[0].clone()
            tokens[frame, :length] += sign * step * (tokens[frame, :length] - blank[0])
            return (tokens, *given[1:])

        handle = window.tower.blocks[0].register_forward_pre_hook(move)
        try:
            return float(window.predict(window.batch))
        finally:
            handle.remove()

    finding = METHODS["gradient"].find(window)
    expected = (log_odds(1) - log_odds(-1)) / (2 * step)
    assert finding.frames[frame] == pytest.approx(expected, rel=0.01)
    assert abs(expected) > 0.5
    assert finding.maps.sum((1, 2)) == pytest.approx(finding.frames, abs=1e-4)  # no class token


def test_copies_of_a_frame_are_left_out_together(seeing: PEClip) -> None:
    video = draw_evidence(2, range(4, 8), (1, 1))
    window = window_of(seeing, seeing.model, video, 2)
    window.frame_numbers = tuple(n // 4 for n in range(FRAMES))  # as if the video had three frames
    finding = METHODS["leave-one-out"].find(window)
    assert finding.forward_passes == 4
    assert len(set(finding.frames.tolist())) == 3
    assert finding.frames.argmax() == 4
    window.frame_numbers = (0,) * FRAMES
    with pytest.raises(ConfigError, match=r"leave-one-out.*single frame.*rollout"):
        find_all(window, ["leave-one-out"])
    assert "leave-one-out" not in find_all(window, [])


def test_mirror_images_are_averaged(seeing: PEClip) -> None:
    """A map of the mirror image is mirrored back, so it lies on the side of the evidence."""
    window = window_of(seeing, seeing.model, draw_evidence(0, range(FRAMES), (1, 0)), 0)
    window.network.mirror = True
    for method in WHERE:
        assert share_in(window, method, (1, 0)) > 0.75


def test_scales_are_those_of_the_adapters() -> None:
    seeing = build_seeing_model()  # its weights are changed
    window = window_of(seeing, seeing.model, draw_evidence(0, range(4, 8), (0, 1)), 0)
    first, last = (block.temporal_adapter for block in window.tower.blocks)
    with torch.no_grad():
        for adapter, value in ((first, 0.5), (last, 0.25)):
            adapter.scale.weight.zero_()
            adapter.scale.bias.fill_(value)
    finding = METHODS["dynamic-scale"].find(window)
    assert finding.frames == pytest.approx(0.375)  # the mean of both layers
    assert finding.maps == pytest.approx(0.5)  # the last one has only class tokens
    assert finding.maps.shape == (FRAMES, 2, 2)


def test_words_are_compared_as_labels_are(seeing: PEClip) -> None:
    window = window_of(seeing, seeing.model, draw_evidence(0, range(FRAMES), (0, 1)), 0)
    words = METHODS["words"].find(window).words
    with torch.no_grad():
        cosines = seeing.model(window.batch).logits[0] * 0.1
    assert [w.label for w in words if not w.is_phrase] == list(LABELS)
    assert [w.similarity for w in words[:4]] == pytest.approx(cosines.tolist(), abs=1e-5)
    phrases = {w.text: w.label for w in words if w.is_phrase and w.label in ("happiness", "anger")}
    assert phrases == {
        "cheek raiser": "happiness",
        "lip corner puller": "happiness",
        "brow lowerer": "anger",
        "upper lid raiser": "anger",
        "lid tightener": "anger",
        "lip tightener": "anger",
    }
    by_hand = seeing.model.with_labels(
        type(LABELS)(("one", "two")), {"one": "cheek raiser.", "two": "lip tightener."}
    )
    with torch.no_grad():
        expected = by_hand(window.batch).logits[0] * 0.1
    found = {w.text: w.similarity for w in words if w.is_phrase}
    pair = [found["cheek raiser"], found["lip tightener"]]
    assert pair == pytest.approx(expected.tolist(), abs=1e-5)


def test_the_model_is_unchanged(seeing: PEClip) -> None:
    before = {name: p.clone() for name, p in seeing.model.state_dict().items()}
    window = window_of(seeing, seeing.model, draw_evidence(0, range(4, 8), (0, 1)), 0)
    find_all(window, [])
    assert all(torch.equal(p, before[name]) for name, p in seeing.model.state_dict().items())
    assert all(parameter.grad is None for parameter in seeing.model.parameters())
    assert not seeing.model.vision.blocks[0]._forward_pre_hooks
    assert type(seeing.model.vision.blocks[0].block).__name__ == "ClipBlock"
