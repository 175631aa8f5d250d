"""Videos to train on."""

from __future__ import annotations

from pathlib import Path

import pytest
from frame_folders import coloured, write_frames

COLOURS = {"happy": (40, 220, 220), "sad": (220, 60, 40)}


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of own videos: two colours, six videos each to train on and three to test."""
    root = tmp_path_factory.mktemp("own")
    for split, count in (("train", 6), ("test", 3)):
        for label, colour in COLOURS.items():
            for number in range(count):
                folder = root / split / label / str(number)
                write_frames(folder, coloured(colour, 100 * count + number))
    return root
