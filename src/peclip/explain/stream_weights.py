"""Which inputs: the weights that FineCLIPER gives its streams. One pass, two for a model that averages mirror images."""

from __future__ import annotations

import torch

from peclip.explain.explained_window import ExplainedWindow
from peclip.explain.explanation import Finding
from peclip.models.base import ExpressionModel
from peclip.models.fine_cliper import FineCLIPERModel, StreamOutput


def find_weights(window: ExplainedWindow) -> Finding:
    """Returns the weight of each stream; a missing stream has 0."""
    network = window.network
    assert isinstance(network, FineCLIPERModel), "see `missing_in`"
    weights = []
    for view in window.views(window.batch):
        with torch.no_grad():
            output = network(view.batch, window.label_features)
        assert isinstance(output, StreamOutput)
        weights.append(output.weights[0])
    window.forward_passes += len(weights)
    mean = torch.stack(weights).mean(0).tolist()
    streams = dict(zip(network.stream_names, mean, strict=True))
    return Finding("streams", len(weights), streams=streams)


def missing_in(network: ExpressionModel) -> str | None:
    """Returns why the method cannot explain a model."""
    several = isinstance(network, FineCLIPERModel) and len(network.stream_names) > 1
    return None if several else "the model has a single stream"
