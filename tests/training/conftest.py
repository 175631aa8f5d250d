"""A small split on the disk."""

from __future__ import annotations

import pytest
from small import split_of, write_videos

from peclip.data import Split


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Nine videos of three classes."""
    root = tmp_path_factory.mktemp("videos")
    write_videos(root, 3)
    return split_of(root)
