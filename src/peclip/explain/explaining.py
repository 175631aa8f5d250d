"""`explain`: from a video to the explanation of one window's prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

from peclip import runtime
from peclip.errors import ConfigError
from peclip.explain.explained_window import ExplainedWindow
from peclip.explain.explanation import Explanation, Finding
from peclip.explain.registry import check_methods, find_all
from peclip.explain.window_choice import ChosenWindow, Follow, choose_window
from peclip.inference.predictor import DEFAULT_OPTIONS, VideoPredictor
from peclip.inference.source import Video
from peclip.literals import ExplainMethod
from peclip.nn.backbone_config import has_closed_vocabulary
from peclip.predict_options import PredictOptions
from peclip.recognizers.predictor import Predictor
from peclip.video.windows import FaceWindow


def explain(
    model: VideoPredictor,
    video: Video,
    *,
    at: float | None = None,
    person: int | None = None,
    label: str | None = None,
    methods: Sequence[ExplainMethod] = (),
    options: PredictOptions = DEFAULT_OPTIONS,
    follow: Follow = nullcontext,
) -> Explanation:
    """Explains the prediction for one person in one window of a video.

    The network is computed in fp32, whatever the precision of the predictions.

    Args:
        model: a model with a network, such as `PEClip.from_pretrained()`.
        video: a file, a folder of frames, a URL, or pixels (see `Video`).
        at: seconds, in the time of the rows; by default, the window with the highest probability is explained, which
            is that of `label` if it is given.
        person: id in the rows; by default any, and at a given moment the one with the largest face in the window.
        label: the label whose probability is explained; by default the most likely one.
        methods: names in `registry.METHODS`; by default all that the model supports, except `occlusion`, which is slow.
        options: windows, faces and decoding, as for `predict`.
        follow: is entered with the session while the video is read, for example to show its position.

    Raises:
        ConfigError: no network, an unknown label or method, a live source, a baseline, several views, or nobody
            is visible at that moment.
        VideoError: the source cannot be read.
    """
    network = check_network(model)
    check_methods(methods, network.model)
    index = None if label is None else model.labels.index(label)
    chosen = choose_window(network, video, at, person, options, index, follow)
    if index is None:
        index = chosen.probabilities.index(max(chosen.probabilities))
    window = prepare_window(network, video, chosen.window, index, options)
    with runtime.memory_errors(network.device, "Use --device cpu."):
        return _explanation(model, chosen, window, find_all(window, methods))


def _explanation(
    model: VideoPredictor,
    chosen: ChosenWindow,
    window: ExplainedWindow,
    findings: Mapping[str, Finding],
) -> Explanation:
    return Explanation(
        source=chosen.source,
        model=model.name,
        label=model.labels.names[window.label],
        scores=dict(zip(model.labels, chosen.probabilities, strict=True)),
        log_odds=float(window.predict(window.batch)),
        track_id=chosen.window.track_id,
        start_s=chosen.window.start_s,
        end_s=chosen.window.end_s,
        crops=chosen.window.crops,
        frame_numbers=chosen.window.crop_frames,
        times_s=chosen.times_s,
        findings=findings,
    )


def prepare_window(
    model: Predictor, video: Video, window: FaceWindow, label: int, options: PredictOptions
) -> ExplainedWindow:
    """Returns a window ready for the methods.

    Args:
        model: the model.
        video: the source, from which streams may come.
        window: one person, with crops.
        label: index of the explained label.
        options: of the prediction.
    """
    streams = model.streams(video, options)([window])
    return ExplainedWindow(
        model.model,
        replace(model.batch([window]), streams=streams),
        label,
        window.crop_frames,
        prior_weight=options.prior_weight,
        has_closed_vocabulary=has_closed_vocabulary(model.config.backbone),
    )


def check_network(model: VideoPredictor) -> Predictor:
    """Returns the model if it has a network.

    Raises:
        ConfigError: it is an exported model.
    """
    if isinstance(model, Predictor):
        return model
    raise ConfigError(
        f"{model.name!r} is an exported model, which only predicts: its attention and gradients are unavailable. Explain "
        "the model it was exported from."
    )
