"""Effects on the frames of a window made from a still: occlusion, movement, light and sharpness."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from peclip.data.animation_config import AnimateConfig

Frames = NDArray[np.uint8]


def occlude(
    frames: list[Frames], config: AnimateConfig, random: np.random.Generator
) -> list[Frames]:
    """Covers the eyes or the mouth, at the same place and in the same colour in all frames in a window.

    Positions and sizes assume that the face fills the image, as in crops.

    Args:
        frames: T of (S, S, 3); they are not changed.
        config: the probabilities.
        random: the source of all draws; nothing is drawn if the probability is 0.
    """
    if not config.occlude or random.random() >= config.occlude:
        return frames
    S = frames[0].shape[0]
    at_eyes, is_bar, is_dark = random.random(3) < 0.5
    height, widths, heights = (
        (0.38, (0.3, 0.5), (0.06, 0.12)) if at_eyes else (0.75, (0.18, 0.4), (0.1, 0.2))
    )
    centre = (S * (0.5 + random.uniform(-0.05, 0.05)), S * (height + random.uniform(-0.05, 0.05)))
    radii = (S * random.uniform(*widths), S * random.uniform(*heights))
    mask = _cover(S, centre, radii, random.uniform(-15, 15), is_bar=bool(is_bar))
    middle = frames[0][S // 3 : S - S // 3, S // 3 : S - S // 3].mean((0, 1))
    shade = random.uniform(0, 50) if is_dark else middle * random.uniform(0.75, 1.15)
    colour = np.broadcast_to(np.clip(shade, 0, 255), 3).astype(np.uint8)
    return [np.where(mask[..., None], colour, frame) for frame in frames]


def _cover(
    side: int,
    centre: tuple[float, float],
    radii: tuple[float, float],
    degrees: float,
    *,
    is_bar: bool,
) -> NDArray[np.bool_]:
    """Returns where a bar or an ellipse lies in a square picture, (S, S)."""
    y, x = np.mgrid[:side, :side]
    angle = np.radians(degrees)
    x, y = x - centre[0], y - centre[1]
    along = (np.cos(angle) * x + np.sin(angle) * y) / radii[0]
    across = (np.cos(angle) * y - np.sin(angle) * x) / radii[1]
    inside: NDArray[np.bool_] = (
        np.maximum(abs(along), abs(across)) <= 1 if is_bar else along**2 + across**2 <= 1
    )
    return inside


def move(frames: list[Frames], config: AnimateConfig, random: np.random.Generator) -> Frames:
    """Turns, scales, shifts and mirrors the frames of a window along one smooth path.

    Args:
        frames: T of (S, S, 3).
        config: how far.
        random: draws everything.

    Returns:
        (T, S, S, 3)
    """
    T, S = len(frames), frames[0].shape[0]

    def path(spread: float, jitter: float = 0.0) -> NDArray[np.float64]:
        return _path(T, spread, config.drift, random) + jitter * random.standard_normal(T)

    angle = np.radians(path(config.rotation))
    size = np.exp(path(config.scale, config.jitter))
    width = np.exp(random.uniform(-config.stretch, config.stretch))
    x, y = path(config.shift, config.jitter), path(config.shift, config.jitter)
    mirrored = -1.0 if random.random() < config.flip else 1.0
    cos, sin, middle = np.cos(angle) / size, np.sin(angle) / size, (S - 1) / 2
    matrices = np.empty((T, 2, 3))
    matrices[:, 0, :2] = np.stack([mirrored * cos / width, -sin], -1)
    matrices[:, 1, :2] = np.stack([mirrored * sin / width, cos], -1)
    shift = S * np.stack([x, y], -1) + middle
    matrices[:, :, 2] = shift - middle * matrices[:, :, :2].sum(-1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    mode, colour = _border(frames[0], config, random)
    warped = [
        cv2.warpAffine(frame, matrix, (S, S), flags=flags, borderMode=mode, borderValue=colour)
        for frame, matrix in zip(frames, matrices, strict=True)
    ]
    return np.stack(warped).astype(np.uint8, copy=False)


def _border(
    frame: Frames, config: AnimateConfig, random: np.random.Generator
) -> tuple[int, tuple[float, ...]]:
    """Returns OpenCV's border mode, and the colour of a constant border."""
    if not config.border or random.random() >= config.border:
        return cv2.BORDER_REPLICATE, (0, 0, 0)
    mean = tuple(frame.mean((0, 1)).tolist())
    ways = [
        (cv2.BORDER_REFLECT_101, (0, 0, 0)),
        (cv2.BORDER_CONSTANT, mean),
        (cv2.BORDER_CONSTANT, (0, 0, 0)),
    ]
    return ways[random.integers(len(ways))]


def degrade(frames: Frames, config: AnimateConfig, random: np.random.Generator) -> Frames:
    """Changes light and sharpness of the frames of a window, (T, S, S, 3) to the same shape."""
    T, S = frames.shape[:2]
    blur, compression, noise, erase = random.random(4)
    if blur < config.blur:
        sigma = random.uniform(0.2, 1.0) * config.blur_sigma
        frames = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])
    if config.motion and random.random() < config.motion:
        kernel = line_kernel(
            random.uniform(0.3, 1.0) * config.motion_length * S, random.uniform(0, np.pi)
        )
        frames = np.stack(
            [cv2.filter2D(frame, -1, kernel, borderType=cv2.BORDER_REPLICATE) for frame in frames]
        )
    if config.resolution and random.random() < config.resolution:
        frames = _coarsen(frames, config.resolution_range, random)
    contrast = np.exp(_path(T, config.contrast, config.drift, random))[:, None, None, None]
    light = _path(T, config.brightness, config.drift, random)[:, None, None, None]
    mean = frames.mean()
    x = (frames.astype(np.float32) - mean) * contrast.astype(np.float32) + np.float32(mean) + light
    if noise < config.noise:
        x = x + random.uniform(1, 10) * random.standard_normal((T, S, S, 1), dtype=np.float32)
    if erase < config.erase:
        side = round(S * random.uniform(0.12, 0.42))
        top, left = random.integers(0, S - side + 1, 2)
        x[:, top : top + side, left : left + side] = mean
    changed: Frames = np.clip(x, 0, 255).astype(np.uint8)
    if compression < config.compression:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(15, 71))]
        changed = np.stack([_compress(frame, quality) for frame in changed])
    return changed


def line_kernel(length: float, angle: float) -> NDArray[np.float32]:
    """Returns a kernel that averages along a line through its middle, of odd side; it sums to 1.

    Args:
        length: in pixels; up to 1 it changes nothing.
        angle: in radians from the horizontal.
    """
    half = int(np.ceil(max(length - 1, 0) / 2))
    kernel = np.zeros((2 * half + 3, 2 * half + 3), np.float32)
    places = np.linspace(-1, 1, 16 * half + 1) * max(length - 1, 0) / 2
    rows, columns = half + places * np.sin(angle), half + places * np.cos(angle)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):  # shared between the four pixels around
        shares = (1 - abs(rows - top - down)) * (1 - abs(columns - left - right))
        np.add.at(kernel, (top + down, left + right), shares)
    kernel = kernel[:-2, :-2]
    kernel /= kernel.sum()
    return kernel


def _coarsen(frames: Frames, sides: tuple[int, int], random: np.random.Generator) -> Frames:
    """Shrinks and enlarges the frames of a window, (T, S, S, 3), like a small face in a video."""
    S = frames.shape[1]
    side = round(float(np.exp(random.uniform(*np.log(sides)))))
    enlarge = cv2.INTER_LINEAR if random.random() < 0.5 else cv2.INTER_CUBIC
    if side >= S:
        return frames
    small = [cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack([cv2.resize(frame, (S, S), interpolation=enlarge) for frame in small])


def _compress(frame: Frames, quality: list[int]) -> Frames:
    _, data = cv2.imencode(".jpg", frame, quality)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _path(
    num_frames: int, spread: float, drift: float, random: np.random.Generator
) -> NDArray[np.float64]:
    """Draws a line through the window, (T,): it starts within the spread, and drifts a part of it."""
    start, slope = random.uniform(-spread, spread, 2)
    line = np.linspace(0, 1, num_frames) - 0.5
    path: NDArray[np.float64] = start + drift * slope * line
    return path
