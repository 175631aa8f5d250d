"""Videos to train on, and sources of an engine that answers without a model."""

from __future__ import annotations

from pathlib import Path

import pytest
from canned import CannedEngine, opener
from frame_folders import coloured, write_frames

from peclip.engines.registry import ENGINES

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


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> CannedEngine:
    """Three windows of a second with anger 0.75 per source; `bad.mp4` cannot be read."""
    engine = CannedEngine()
    monkeypatch.setitem(ENGINES, "local", opener(engine))
    return engine


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A folder with the names of three videos."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4", "bad.mp4"):
        (folder / name).touch()
    return folder
