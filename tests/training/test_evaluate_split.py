"""Predictions of a model for a split."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small import LABELS, fresh, runtime

from peclip.data import Split
from peclip.errors import DeviceError
from peclip.metrics.prediction_table import PredictionTable
from peclip.training.evaluate import evaluate, mean_loss


def test_batches_do_not_matter_and_equal_predict(videos: Split) -> None:
    from peclip import PredictOptions

    debug = fresh()
    found = [evaluate(debug.loaded, videos, runtime(batch_size=size)) for size in (1, 4, 9)]
    first = found[0].probabilities
    assert first is not None
    for other in found[1:]:
        assert other.probabilities == pytest.approx(first, abs=1e-6)
    options = PredictOptions(face_crop=False, window=float("inf"))
    row = debug.predict(videos.samples[4].source, options).rows[0]
    expected = [row.scores[label] for label in LABELS]
    assert first[4].tolist() == pytest.approx(expected, abs=1e-6)


def test_predictions_with_nan_are_not_scored(videos: Split) -> None:
    """They would all be the first class."""
    debug = fresh()
    with torch.no_grad():
        next(debug.model.vision.parameters()).fill_(float("nan"))
    first = videos.samples[0].id
    with pytest.raises(DeviceError, match=rf"9 of the 9 .*in fp32; .*{first}.*--precision fp32"):
        evaluate(debug.loaded, videos, runtime())


def test_running_out_of_memory_is_a_one_line_error(videos: Split) -> None:
    debug = fresh()

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    debug.model.vision.register_forward_pre_hook(full)
    with pytest.raises(DeviceError, match=r"^Out of memory on cpu\. .*-b 1"):
        evaluate(debug.loaded, videos, runtime())


def test_a_split_becomes_a_table(videos: Split) -> None:
    debug = fresh()
    table = evaluate(debug.loaded, videos, runtime(batch_size=9))
    assert table.ids == tuple(sample.id for sample in videos.samples)
    assert table.targets == tuple(sample.label for sample in videos.samples)
    assert table.classes == LABELS.names
    assert table.probabilities is not None
    assert table.probabilities.dtype == np.float64
    assert table.labels == tuple(LABELS.names[i] for i in table.probabilities.argmax(-1))


def test_loss_by_hand() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]])
    targets = [LABELS.names[1]] * 2
    table = PredictionTable.most_likely(["a", "b"], targets, LABELS.names, probabilities)
    assert mean_loss(table, LABELS) == pytest.approx(-(math.log(0.5) + math.log(0.1)) / 2)
