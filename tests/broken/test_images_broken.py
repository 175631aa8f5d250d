"""Broken and strange images in a folder of frames: rows, or rows up to it and one clear line."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import broken_videos
import numpy as np
import PIL.Image
import pytest
from outcomes import Predict
from sweeps import sweep

from peclip.errors import VideoError
from peclip.video import reader as readers


def image(path: Path, mode: str = "RGB", **options: Any) -> None:
    PIL.Image.fromarray(broken_videos.pictures(1, 64, 48)[0]).convert(mode).save(path, **options)


def truncated(path: Path) -> None:
    image(path)
    os.truncate(path, path.stat().st_size // 2)


def damaged(path: Path) -> None:
    image(path)
    path.write_bytes(broken_videos.noisy(path.read_bytes(), 0.2, 0.9))


def damaged_exif(path: Path) -> None:
    image(
        path, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\xff\xff\xff\xff\0\x06\0\0\0\0\0\0"
    )


IMAGES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "1-bit.png": (lambda path: image(path, "1"), True),
    "grey.png": (lambda path: image(path, "L"), True),
    "palette.png": (lambda path: image(path, "P"), True),
    "alpha.png": (lambda path: image(path, "RGBA"), True),
    "grey-alpha.png": (lambda path: image(path, "LA"), True),
    "cmyk.jpg": (lambda path: image(path, "CMYK"), True),
    "progressive.jpg": (lambda path: image(path, progressive=True), True),
    "damaged-exif.jpg": (damaged_exif, True),
    "picture.bmp": (image, True),
    "picture.webp": (image, True),
    "gif-named.png": (lambda path: image(path, format="gif"), True),
    "truncated.png": (truncated, False),
    "truncated.jpg": (truncated, False),
    "truncated.bmp": (truncated, False),
    "truncated.webp": (truncated, False),
    "damaged.png": (damaged, False),
    "text.jpg": (lambda path: path.write_text("no image"), False),
    "nothing.jpg": (Path.touch, False),
    "pipe.png": (os.mkfifo, False),
    "folder.png": (os.mkdir, False),
    "nowhere.png": (lambda path: path.symlink_to("gone.png"), False),
    "huge.png": (lambda path: path.write_bytes(broken_videos.png_header(30000, 30000)), False),
    "program.png": (
        lambda path: path.write_text(
            "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\nshowpage\n"
        ),
        False,
    ),
    "zeros.png": (lambda path: path.symlink_to("/dev/zero"), False),
    "other-size.png": (lambda path: path.write_bytes(broken_videos.png_of(32, 32)), True),
}


ONE_PER_CLASS = [
    *(
        "1-bit.png",
        "alpha.png",
        "cmyk.jpg",
        "damaged-exif.jpg",
        "gif-named.png",
        "other-size.png",
    ),  # readable
    *("truncated.png", "truncated.jpg", "damaged.png", "text.jpg", "nothing.jpg"),  # damaged
    *("pipe.png", "folder.png", "nowhere.png", "zeros.png"),  # no file
    *("huge.png", "program.png"),
]


@sweep("name", IMAGES, default=ONE_PER_CLASS)
def test_an_image_among_frames(name: str, predict: Predict, tmp_path: Path) -> None:
    make, readable = IMAGES[name]
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(20):
        image(folder / f"{number}.png")
    make(folder / f"17{name}")
    outcome = predict(folder)
    assert outcome.code == (0 if readable else 6)
    if not readable:
        assert f"17{name}" in outcome.errors[0]


def test_a_program_is_refused_as_an_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    IMAGES["program.png"][0](path)
    with pytest.raises(VideoError, match=r"a\.png.*Remove or replace it"):
        readers.open_video(path)


@pytest.mark.parametrize("error", [IndexError, EOFError, struct.error, MemoryError])
def test_every_pillow_exception_is_a_one_line_error(
    error: type[Exception], predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(*_: Any) -> None:
        raise error("of the decoder")

    path = tmp_path / "a.png"
    image(path)
    monkeypatch.setattr(PIL.Image.Image, "convert", convert)
    outcome = predict(path)
    assert outcome.code == 3
    assert f"{path} cannot be decoded: of the decoder" in outcome.errors[0]


def test_16_bit_grey_is_not_white(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    PIL.Image.fromarray(np.full((48, 64), 0x4020, np.uint16)).save(path)
    with readers.open_video(path) as reader:
        assert set(reader.read([0]).data.flat) == {0x40}
