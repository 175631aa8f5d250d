"""Answers of a model to a split."""

from __future__ import annotations

import pytest
import torch
from small import LABELS, fresh

from peclip.data import Split
from peclip.data.dataset import VideoDataset
from peclip.errors import DeviceError
from peclip.training.evaluate import Answers, evaluate


def test_batches_do_not_matter_and_equal_predict(videos: Split) -> None:
    from peclip import PredictOptions

    debug = fresh()
    data = VideoDataset(videos, debug.config.preprocess, debug.config.num_frames, train=False)
    found = [
        evaluate(
            debug.model,
            data,
            debug.preprocess,
            device=debug.device,
            precision="fp32",
            batch_size=size,
        )
        for size in (1, 4, 9)
    ]
    for other in found[1:]:
        assert torch.allclose(found[0].probabilities, other.probabilities, atol=1e-6)
    options = PredictOptions(face_crop=False, window=float("inf"))
    row = debug.predict(videos.samples[4].source, options).rows[0]
    expected = [row.scores[label] for label in LABELS]
    assert found[0].probabilities[4].tolist() == pytest.approx(expected, abs=1e-6)


def test_answers_that_are_no_numbers_are_not_scored(videos: Split) -> None:
    """They would all be the first class."""
    debug = fresh()
    data = VideoDataset(videos, debug.config.preprocess, debug.config.num_frames, train=False)
    with torch.no_grad():
        next(debug.model.vision.parameters()).fill_(float("nan"))
    first = videos.samples[0].id
    with pytest.raises(DeviceError, match=rf"9 of the 9 .*in fp32, .*{first}.*--precision fp32"):
        evaluate(debug.model, data, debug.preprocess, device=debug.device, precision="fp32")


def test_a_memory_that_is_too_small_is_one_line(videos: Split) -> None:
    debug = fresh()
    data = VideoDataset(videos, debug.config.preprocess, debug.config.num_frames, train=False)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    debug.model.vision.register_forward_pre_hook(full)
    with pytest.raises(DeviceError, match=r"^Out of memory on cpu\. .*-b 1"):
        evaluate(debug.model, data, debug.preprocess, device=debug.device, precision="fp32")


def test_labels_are_compared_by_name(videos: Split) -> None:
    debug = fresh().with_labels(["anger", "fear", "happiness", "sadness"])
    probabilities = torch.zeros(9, 4, dtype=torch.float64)
    samples = [videos.samples[i] for i in (0, 3, 6)]
    probabilities[:, 3] = 1
    answers = Answers(videos.with_samples(samples), debug.labels, probabilities[:3])
    targets = [sample.label for sample in samples]
    assert answers.names == ["sadness"] * 3
    report = answers.report(resamples=0)
    assert report.war == pytest.approx(targets.count("sadness") / 3)
    assert report.recall["fear"] is None
    rows = list(answers.rows())
    assert list(rows[0]) == [
        "source",
        "target",
        "label",
        "prob_anger",
        "prob_fear",
        "prob_happiness",
        "prob_sadness",
    ]
    assert rows[0]["source"] == samples[0].id


def test_loss_by_hand(videos: Split) -> None:
    samples = [s for s in videos.samples if s.label == "sadness"][:2]
    probabilities = torch.tensor([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]], dtype=torch.float64)
    answers = Answers(videos.with_samples(samples), LABELS, probabilities)
    assert answers.loss == pytest.approx(-(torch.tensor([0.5, 0.1]).log().mean().item()))
