"""How much of the embedded model's accuracy is left on pictures that are smaller, poorer or cropped otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import cv2
import numpy as np
from nano_measures import Scored, ask, read_picture, squares
from nano_tables import percent, table

from peclip import PEClip, PredictOptions
from peclip.data import Split
from peclip.video.faces import FaceBox, Image, crop_face, resize_frame

Change = Callable[[Image], Image]

SIZES = (16, 24, 32)
SIGMAS = (0.5, 1.0, 1.5, 2.0)
QUALITIES = (50, 25, 10)
MARGINS = (-0.1, 0.1, 0.25)
SHIFT = 0.06
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))


def chosen(split: Split, images: int, labels: Iterable[str] | None = None) -> Split:
    """Returns a random subset, always the same: so many images, or so many of each label."""
    groups = [None] if labels is None else list(labels)
    kept = set()
    for label in groups:
        samples = [s for s in split.samples if label in (None, s.label)]
        kept |= set(Random(0).sample(samples, min(images, len(samples))))
    return split.with_samples(sample for sample in split.samples if sample in kept)


def shrunk(side: int) -> Change:
    """Returns a change to a picture of so many pixels."""
    return lambda picture: np.asarray(
        cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8
    )


def blurred(sigma: float) -> Change:
    return lambda picture: np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def compressed(quality: int) -> Change:
    def change(picture: Image) -> Image:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

    return change


def cropped(margin: float = 0.0, x: float = 0.0, y: float = 0.0) -> Change:
    """Returns a change of the crop: its side grows by a part, and it moves by parts of the side.

    What lies outside the picture repeats its border.
    """

    def change(picture: Image) -> Image:
        side = picture.shape[0]
        box = FaceBox(x * side, y * side, side, side, 1.0)
        return crop_face(picture, box, size=side, margin=margin)

    return change


def still_curves(model: PEClip, split: Split) -> str:
    """Returns the accuracy on changed images of FER2013, with the loss against the images as they are.

    Size, blur and JPEG change the 48 pixels of the image; the crop is changed at the size that the model reads.
    """
    size, own = model.config.preprocess.image_size, model.config.preprocess.face_margin
    pictures = [read_picture(sample.source) for sample in split.samples]
    enlarged = squares(model, split)
    truth = np.array([model.labels.index(sample.label) for sample in split.samples])

    def accuracy(changed: list[Image]) -> float:
        return float((ask(model, changed).argmax(-1) == truth).mean())

    def poorer(change: Change) -> float:
        return accuracy([resize_frame(change(picture), size) for picture in pictures])

    def cut(change: Change) -> float:
        return accuracy([change(picture) for picture in enlarged])

    base = accuracy(enlarged)
    found = {f"face of {side} px": poorer(shrunk(side)) for side in SIZES}
    found |= {f"blur, sigma {sigma:g} px": poorer(blurred(sigma)) for sigma in SIGMAS}
    found |= {f"JPEG quality {quality}": poorer(compressed(quality)) for quality in QUALITIES}
    for margin in MARGINS:
        # The image is a crop of the model's own margin.
        found[f"crop margin {margin:g}"] = cut(cropped((1 + margin) / (1 + own) - 1))
    shifts = [cut(cropped(x=SHIFT * x, y=SHIFT * y)) for x, y in DIRECTIONS]
    found[f"shift of {100 * SHIFT:.0f} %, mean of four directions"] = float(np.mean(shifts))
    return loss_table(base, found, f"as they are, 48 px, margin {own:g}")


def loss_table(base: float, found: dict[str, float], own: str, kind: str = "accuracy") -> str:
    rows = [[own, percent(base), ""]]
    rows += [[name, percent(v), f"{100 * (v - base):+.1f}"] for name, v in found.items()]
    return table(["pictures", kind, "points"], rows)


def photograph_curves(model: PEClip, split: Split) -> tuple[str, int]:
    """Returns the mean recall on photographs, cropped around the detected face with several margins.

    Returns:
        The table, and the number of photographs in which a face was found.
    """
    config = model.config.preprocess
    detector = model.detector(PredictOptions())
    assert detector is not None
    pictures, boxes, kept = [], [], []
    for sample in split.samples:
        picture = read_picture(sample.source)
        if faces := detector.detect(picture):
            pictures.append(picture)
            boxes.append(max(faces, key=lambda face: face.side))
            kept.append(sample)
    part = split.with_samples(kept)

    def recall(margin: float, x: float = 0.0, y: float = 0.0) -> float:
        crops = [
            crop_face(
                picture,
                moved(box, x, y),
                size=config.image_size,
                margin=margin,
                shift=config.face_shift,
                align=config.align,
            )
            for picture, box in zip(pictures, boxes, strict=True)
        ]
        return Scored(part, ask(model, crops), model.labels.names).report().uar

    own = config.face_margin
    found = {f"margin {margin:g}": recall(margin) for margin in MARGINS}
    shifts = [recall(own, SHIFT * x, SHIFT * y) for x, y in DIRECTIONS]
    found[f"shift of {100 * SHIFT:.0f} %, mean of four directions"] = float(np.mean(shifts))
    return loss_table(recall(own), found, f"the model's own margin, {own:g}", "mean recall"), len(
        part
    )


def moved(face: FaceBox, x: float, y: float) -> FaceBox:
    """Returns a box beside the face; the eyes stay, so that the crop is turned as before."""
    return FaceBox(
        face.x + x * face.side,
        face.y + y * face.side,
        face.width,
        face.height,
        face.score,
        face.eyes,
    )
