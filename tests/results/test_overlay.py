"""Videos of predictions: times, sound, boxes, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from synthetic_videos import pictures, write_video

from peclip.errors import ConfigError
from peclip.results.prediction import Prediction
from peclip.results.rows import Row
from peclip.video.face_log import FaceLog
from peclip.video.faces import FaceBox
from peclip.video.observer import Observation, Sighting
from peclip.video.reader import open_video

VFR = [300, 340, 420, 430, 700, 1100, 1140, 1500]
"""Milliseconds; the sound starts at 0."""

OPTIONS = {"decoder": "pyav", "frame_rate": 25.0, "start": 0.0, "end": None}


def prediction(
    video: Path | str,
    boxes: list[FaceBox | None],
    *,
    first: int = 0,
    times: list[float] | None = None,
    **options: object,
) -> Prediction:
    """One person who is in every frame that has a box."""
    log = FaceLog()
    times = [n / 25 for n in range(first, first + len(boxes))] if times is None else times
    crop = np.zeros((4, 4, 3), np.uint8)
    for number, box in enumerate(boxes):
        seen = () if box is None else (Sighting(0, box, crop),)
        log.add(Observation(first + number, times[number], seen))
    log.name({0: 0})
    row = Row(
        source=str(video),
        model="m",
        model_revision="",
        track_id=0,
        window=0,
        start_s=0.0,
        end_s=9.0,
        start_frame=0,
        end_frame=99,
        num_frames_used=8,
        n_faces=1,
        status="ok",
        label="anger",
        score=1.0,
        scores={"anger": 1.0, "fear": 0.0},
        face_coverage=1.0,
        box=(0.0, 0.0, 1.0, 1.0),
    )
    metadata = {
        "decoder": "pyav",
        "face_detector": "yunet",
        "options": {**OPTIONS, "time_origin": "video", **options},
    }
    return Prediction(str(video), ("anger", "fear"), (row,), metadata, faces=log)


def stamps(path: Path, kind: str) -> list[float]:
    """Returns the presentation times of the packets of a stream, in their order."""
    with av.open(str(path)) as container:
        stream = container.streams.get({kind: 0})[0]
        found = [
            float(packet.pts * packet.time_base)
            for packet in container.demux(stream)
            if packet.pts is not None
        ]
    return sorted(found)


def sound_of(path: Path) -> tuple[str, int]:
    with av.open(str(path)) as container:
        packets = b"".join(bytes(packet) for packet in container.demux(audio=0))
        return container.streams.audio[0].codec_context.name, hash(packets)


def moving(count: int, width: int = 64, height: int = 48) -> np.ndarray:
    return pictures(count, width, height)


def test_sound_and_frames_keep_their_times(tmp_path: Path) -> None:
    video = write_video(tmp_path / "vfr.mp4", moving(8), times_ms=VFR, audio=True)
    out = tmp_path / "out.mp4"
    prediction(video, [FaceBox(10, 10, 20, 20, 0.9)] * 8).render(out)
    assert stamps(out, "video") == pytest.approx([t / 1000 for t in VFR], abs=1e-6)
    assert stamps(out, "audio") == pytest.approx(stamps(video, "audio"), abs=1e-6)
    assert sound_of(out) == sound_of(video)  # the packets are copied


def test_a_later_start_of_both_keeps_the_difference(tmp_path: Path) -> None:
    video = write_video(tmp_path / "vfr.mkv", moving(8), times_ms=VFR, audio=True)
    out = tmp_path / "out.mp4"
    prediction(video, [None] * 8).render(out)
    before = np.array(stamps(video, "video")) - stamps(video, "audio")[0]
    after = np.array(stamps(out, "video")) - stamps(out, "audio")[0]
    assert after == pytest.approx(before, abs=1e-3)


def test_a_part_starts_at_zero_with_its_sound(tmp_path: Path) -> None:
    video = write_video(tmp_path / "vfr.mp4", moving(8), times_ms=VFR, audio=True)
    out = tmp_path / "out.mp4"
    # Frames from 0.4 s of the video: at 0.7 s, 1.1 s and 1.14 s of the file.
    boxes, times = [None] * 3, [0.4, 0.8, 0.84]
    prediction(video, boxes, first=4, times=times, start=0.4, end=1.0).render(out)
    assert stamps(out, "video") == pytest.approx([0.0, 0.4, 0.44], abs=1e-6)
    # AAC packets of 1,024 samples at 8,000 Hz start at multiples of 0.128 s; the first from 0.7 s is at 0.768 s.
    assert stamps(out, "audio")[0] == pytest.approx(0.068, abs=1e-3)


def test_sound_that_mp4_cannot_hold_is_encoded(tmp_path: Path) -> None:
    video = tmp_path / "pcm.mkv"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=8000)
        sound.layout = "mono"
        for number, image in enumerate(moving(25)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        tone = (8000 * np.sin(np.arange(8000) / 3)).astype(np.int16)[None]
        samples = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        samples.sample_rate, samples.pts = 8000, 0
        container.mux([*sound.encode(samples), *sound.encode(None), *stream.encode(None)])
    out = tmp_path / "out.mp4"
    prediction(video, [None] * 25).render(out)
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        decoded = [frame.to_ndarray() for frame in container.decode(audio=0)]
    assert sum(part.shape[1] for part in decoded) == pytest.approx(8000, abs=1024)
    assert max(np.abs(part).max() for part in decoded) > 0.1


def test_browsers_and_slides_can_play_it(tmp_path: Path) -> None:
    video = write_video(tmp_path / "odd.mkv", moving(10, 63, 47), codec="ffv1", pix_fmt="bgr0")
    out = tmp_path / "out.mp4"
    prediction(video, [None] * 10).render(out)
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (64, 48)  # even
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays before it is complete


def test_boxes_follow_the_face(tmp_path: Path) -> None:
    video = write_video(tmp_path / "grey.mp4", np.full((20, 120, 320, 3), 128, np.uint8))
    boxes = [FaceBox(10.0 * n, 50, 40, 40, 0.9) for n in range(20)]
    out = tmp_path / "out.mp4"
    prediction(video, boxes).render(out)
    with open_video(out, decoder="pyav") as reader:
        frames = reader.read([0, 10, 19]).data.astype(int)
    for number, image in zip((0, 10, 19), frames, strict=True):
        # Orange has much more red than blue; the left edge of the box is 40 pixels high.
        orange = (image[..., 0] - image[..., 2] > 60)[60:80].sum(0)
        assert abs(int(np.flatnonzero(orange > 15)[0]) - 10 * number) <= 2


def test_pixels_that_are_not_covered_keep_their_colour(tmp_path: Path) -> None:
    flat = np.zeros((4, 64, 64, 3), np.uint8)
    flat[:] = (200, 60, 30)
    video = write_video(tmp_path / "red.mp4", flat)
    out = tmp_path / "out.mp4"
    prediction(video, [None] * 4).render(out)
    with open_video(video, decoder="pyav") as reader:
        before = reader.read([0]).data.mean((0, 1, 2))
    with open_video(out, decoder="pyav") as reader:
        assert reader.read([0]).data.mean((0, 1, 2)) == pytest.approx(before, abs=4)


@pytest.mark.parametrize(("blur", "left"), [(None, 1.0), ("others", 1.0), ("all", 0.5)])
def test_all_faces_or_those_of_others_are_blurred(
    tmp_path: Path, blur: str | None, left: float
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    video = write_video(tmp_path / "noise.mp4", noise.repeat(6, 0).repeat(20, 1).repeat(20, 2))
    out = tmp_path / "out.mp4"
    prediction(video, [FaceBox(60, 60, 40, 40, 0.9)] * 6).render(out, blur=blur)  # type: ignore[arg-type]
    with open_video(video, decoder="pyav") as source, open_video(out, decoder="pyav") as drawn:
        before, after = (r.read([3]).data[0, 64:96, 64:96].astype(float) for r in (source, drawn))
    difference = np.abs(after - before).mean()
    assert difference < 6 if left == 1 else difference > 12


def test_somebody_without_rows_is_another(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    video = write_video(tmp_path / "noise.mp4", noise.repeat(6, 0).repeat(20, 1).repeat(20, 2))
    out = tmp_path / "out.mp4"
    made = prediction(video, [FaceBox(60, 60, 40, 40, 0.9)] * 6)
    assert made.faces is not None
    made.faces.name({})
    made.render(out, blur="others")
    with open_video(video, decoder="pyav") as source, open_video(out, decoder="pyav") as drawn:
        before, after = (r.read([3]).data[0, 64:96, 64:96].astype(float) for r in (source, drawn))
    assert np.abs(after - before).mean() > 12


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", moving(3))
    made = prediction(video, [None] * 3)
    out = tmp_path / "out.mp4"
    with pytest.raises(ConfigError, match=r"'out.avi'.* use \.mp4"):
        made.render(tmp_path / "out.avi")
    with pytest.raises(ConfigError, match="'face'; use 'others', 'all'"):
        made.render(out, blur="face")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is its own source"):
        made.render(video)
    with pytest.raises(ConfigError, match="no faces per frame"):
        Prediction(made.source, made.labels, made.rows, made.metadata).render(out)
    whole = {**made.metadata, "face_detector": None}
    with pytest.raises(ConfigError, match="--face-crop"):
        Prediction(made.source, made.labels, made.rows, whole, faces=made.faces).render(
            out, blur="all"
        )
    with pytest.raises(ConfigError, match="video=pixels"):
        prediction("array", [None]).render(out)
    with pytest.raises(ConfigError, match="Download the file"):
        prediction("https://example.org/a.mp4", [None]).render(out)
    with pytest.raises(ConfigError, match="existing, writable folder"):
        made.render(tmp_path / "missing" / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4"]
