"""Several views of a video: which they are, and predictions of windows from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_videos import write_video

from peclip import PEClip, PredictOptions
from peclip.data.streams.captions import CaptionStream
from peclip.data.streams.parts import PartsStream
from peclip.errors import ConfigError
from peclip.explain.explaining import explain
from peclip.models.views import crop, views_of
from peclip.text.views import Views, parse_views
from peclip.types import Batch


def test_texts_of_views() -> None:
    for text, views, number in (
        ("none", Views(), 1),
        ("flip", Views(flip=True), 2),
        ("clips=2,crops=2,flip", Views(2, 2, True), 8),
        ("crops=3", Views(crops=3), 3),
    ):
        assert parse_views(text) == views
        assert (str(views), views.number) == (text, number)
    assert str(parse_views("flip , clips=1")) == "flip"


def batch_of(frames: int) -> Batch:
    """Two videos whose parts show what the frames show."""
    pictures = torch.rand(2, frames, 3, 16, 16)
    parts = PartsStream(
        pictures[:, :, None].expand(-1, -1, 2, -1, -1, -1).contiguous(),
        torch.arange(2 * frames).view(2, frames) % 3 > 0,
    )
    return Batch(pictures, streams={"parts": parts, "captions": CaptionStream(("a", "b"))})


def test_every_view_once_with_its_streams() -> None:
    batch = batch_of(6)
    seen = list(views_of(batch, Views(2, 2, True)))
    assert len(seen) == 8
    first, second = batch.frames[:, :3], batch.frames[:, 3:]
    centre, wanted = (0.5, 0.5), []
    for clip in (first, second):
        for frames in (clip, crop(clip, centre)):
            wanted += [frames, frames.flip(-1)]
    for view, frames in zip(seen, wanted, strict=True):
        assert view.frames.shape == (2, 3, 3, 16, 16)
        assert torch.equal(view.frames, frames)
        parts = view.streams["parts"]
        assert isinstance(parts, PartsStream)
        assert torch.equal(parts.pictures[:, :, 1], view.frames), "cropped and mirrored alike"
        assert view.streams["captions"] is batch.streams["captions"]
    found = [view.streams["parts"].found for view in seen]  # type: ignore[attr-defined]
    whole = batch.streams["parts"].found  # type: ignore[attr-defined]
    assert torch.equal(found[0], whole[:, :3])
    assert torch.equal(found[7], whole[:, 3:])
    (only,) = views_of(batch, Views())
    assert only is batch


def test_a_crop_by_hand() -> None:
    """Of 16 pixels a crop has 14; a slope of 1 per pixel becomes one of 14 / 16."""
    slope = torch.arange(16.0).expand(1, 3, 16, 16)
    left, right = crop(slope, (0.0, 0.0)), crop(slope, (1.0, 1.0))
    steps = left[0, 0, 0].diff()
    assert torch.allclose(steps[1:-1], torch.tensor(14 / 16))
    assert left[0, 0, 0, [0, -1]].tolist() == [0, 13]
    assert right[0, 0, 0, [0, -1]].tolist() == [2, 15]
    down = crop(slope.transpose(-1, -2).contiguous(), (1.0, 0.0))
    assert torch.allclose(down[0, 0, :, 5], right[0, 0, 5])


@pytest.fixture(scope="module")
def debug() -> PEClip:
    return PEClip.from_pretrained("debug", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames, 25 a second: windows of 10 frames from 0, 8, 16 and, at the end, 20."""
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4")


def probabilities(model: PEClip, video: Path, tta: str, **changes: object) -> np.ndarray:
    options = PredictOptions.model_validate(
        {"face_crop": False, "window": 0.4, "hop": 0.32, "tta": tta} | changes
    )
    rows = model.predict(video, options).rows
    return np.array([list(row.scores.values()) for row in rows])


def test_windows_are_the_mean_of_their_views(debug: PEClip, video: Path) -> None:
    plain = probabilities(debug, video, "none")
    assert len(plain) == 4
    assert not np.allclose(plain, probabilities(debug, video, "clips=2"), atol=1e-7)
    every = probabilities(debug, video, "clips=2,crops=2,flip")
    one = probabilities(debug, video, "clips=2,crops=2,flip", batch_size=1)
    assert np.allclose(every, one, atol=1e-6), "the size of a batch changes nothing"
    wanted = PredictOptions(face_crop=False, window=0.4, hop=0.32, tta="clips=2,crops=2,flip")
    windows: list[torch.Tensor] = []
    session = debug.open(
        video,
        wanted,
        score=lambda found: [
            windows.append(debug.preprocess(torch.from_numpy(w.crops).permute(0, 3, 1, 2)))
            or [1.0] * 7
            for w in found
        ],
    )
    assert len(list(session)) == 4
    frames = debug.config.num_frames
    for number, window in enumerate(windows):
        shown = []
        for clip in (window[:frames], window[frames:]):
            for seen in (clip, crop(clip, (0.5, 0.5))):
                shown += debug.probabilities(Batch(seen[None]))
                shown += debug.probabilities(Batch(seen[None].flip(-1)))
        assert np.mean(shown, axis=0) == pytest.approx(every[number], abs=1e-6)


def test_the_whole_video_as_a_window_is_what_evaluation_computes(
    debug: PEClip, video: Path
) -> None:
    """As without views: `predict --window all --no-face-crop` gives the predictions of `evaluate`."""
    from peclip.data import Sample, Split
    from peclip.training.evaluate import evaluate_views
    from peclip.training.frame_orders import as_recorded, averaged
    from peclip.training.runtime import Runtime

    views = Views(2, 6, True)
    split = Split("folder", None, "test", (Sample(video, "happiness", "a"),), debug.labels)
    runtime = Runtime(torch.device("cpu"), workers=0)
    (table,) = evaluate_views(
        debug.loaded, split, runtime, [averaged(as_recorded, views)], clips=views.clips
    )
    found = probabilities(debug, video, str(views), window=float("inf"))
    assert table.probabilities is not None
    assert found[0] == pytest.approx(table.probabilities[0], abs=1e-6)


def test_an_explanation_is_of_one_view(debug: PEClip, video: Path) -> None:
    with pytest.raises(ConfigError, match="tta is flip"):
        explain(debug, video, options=PredictOptions(face_crop=False, tta="flip"))
