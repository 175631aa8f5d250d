"""Converts all frames of a video to one size, regardless of changes within the video."""

from __future__ import annotations

import cv2
import numpy as np

from peclip.video.readers.streaming import Image


def fit(image: Image, height: int, width: int) -> Image:
    """Returns an image converted to the size of the reference frame, the first upright frame of its video.

    The aspect ratio is preserved, so faces are not distorted: the image is scaled to fit and centred on black.
    An image that already has the right size is returned unchanged.

    Args:
        image: upright, with square pixels, (H, W, 3).
        height: height of the reference frame.
        width: width of the reference frame.
    """
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image
    scale = min(height / rows, width / columns)
    rows, columns = max(1, round(rows * scale)), max(1, round(columns * scale))
    kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    top, left = (height - rows) // 2, (width - columns) // 2
    fitted = np.zeros((height, width, 3), np.uint8)
    fitted[top : top + rows, left : left + columns] = cv2.resize(
        image, (columns, rows), interpolation=kernel
    )
    return fitted
