"""The file of captions while it grows, is cut off, and is read."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from peclip.captions.store import Caption, CaptionStore
from peclip.data.caption_file import read_captions
from peclip.errors import ConfigError, DatasetError


def caption(id: str, refined: str = "Her lips part.") -> Caption:
    return Caption(id, f"{refined} She is sad – 悲.", refined, "vlm-1", "finecliper-1", 8)


def test_a_caption_is_written_immediately(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    store = CaptionStore(path)
    assert not path.exists()
    for count, name in enumerate(("a", "b"), start=1):
        store.add(caption(name))
        assert len(path.read_text(encoding="utf-8").splitlines()) == count
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[0]) == {
        "id": "a",
        "caption": "Her lips part. She is sad – 悲.",
        "refined": "Her lips part.",
        "model": "vlm-1",
        "prompt": "finecliper-1",
        "num_frames": 8,
    }
    store.close()
    again = CaptionStore(path)
    assert len(again) == 2
    assert "a" in again
    assert "c" not in again
    again.check_origin("vlm-1", "finecliper-1", 8)


def test_a_partial_last_line_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "captions.jsonl"
    for name in ("a", "b"):
        CaptionStore(path).add(caption(name))
    path.write_bytes(path.read_bytes()[:-30])
    with caplog.at_level(logging.WARNING):
        store = CaptionStore(path)
    assert "removed an incomplete last line" in caplog.text
    assert len(store) == 1
    store.add(caption("b"))
    assert list(read_captions(path)) == ["a", "b"]


def test_a_last_line_without_a_newline_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    CaptionStore(path).add(caption("a"))
    path.write_bytes(path.read_bytes()[:-1])
    CaptionStore(path).add(caption("b"))
    assert list(read_captions(path)) == ["a", "b"]


def test_a_broken_line_in_the_middle_is_an_error_and_keeps_the_file(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text('nonsense\n{"id": "a", "caption": "x"}\n')
    before = path.read_bytes()
    with pytest.raises(DatasetError, match="line 1 is not a JSON object"):
        CaptionStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('[{"id": "a", "caption": "x"}]', 1),
        ('{"id": "a", "caption": "x"}\nnonsense', 2),
        ('{"name": "a"}\n{"id": "b", "capt', 2),
        ('{"id": "a"}', 1),
    ],
)
def test_an_unrelated_file_is_left_unchanged(content: str, line: int, tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text(content)
    with pytest.raises(DatasetError, match=f"line {line}"):
        CaptionStore(path)
    assert path.read_bytes() == content.encode()


def test_a_duplicate_video_is_refused_as_in_training(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text('{"id": "a", "caption": "x"}\n{"id": "a", "caption": "y"}\n')
    messages = []
    for opened in (CaptionStore, read_captions):
        with pytest.raises(DatasetError, match="line 2: duplicate caption for 'a'") as caught:
            opened(path)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_one_run_at_a_time_writes(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    with CaptionStore(path) as store:
        store.add(caption("a"))
        path.write_bytes(path.read_bytes()[:-30])  # as if it were in the middle of its line
        half = path.read_bytes()
        with pytest.raises(ConfigError, match="Another run is writing .*captions.jsonl"):
            CaptionStore(path)
        assert path.read_bytes() == half
        store.close()
        again = CaptionStore(path)
    with pytest.raises(ConfigError, match="Another run"):  # what was closed twice was not its lock
        CaptionStore(path)
    assert len(again) == 0
    again.close()
    assert [file.name for file in tmp_path.iterdir()] == ["captions.jsonl"]


def test_a_file_removed_while_it_is_written_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    with CaptionStore(path) as store:
        store.add(caption("a"))
        path.unlink()
        with pytest.raises(ConfigError, match="was removed .*, so 1 captions are lost"):
            store.add(caption("b"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_refused_is_not_locked(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text("nonsense\n")
    with pytest.raises(DatasetError):
        CaptionStore(path)
    path.write_text("")
    CaptionStore(path).close()


@pytest.mark.parametrize(
    "made", [("other", "finecliper-1", 8), ("vlm-1", "2", 8), ("vlm-1", "finecliper-1", 16)]
)
def test_captions_made_with_other_settings_are_not_mixed(
    made: tuple[str, str, int], tmp_path: Path
) -> None:
    store = CaptionStore(tmp_path / "captions.jsonl")
    store.add(caption("a"))
    with pytest.raises(ConfigError, match=r"with different settings \(a: .*Choose another file"):
        store.check_origin(*made)


@pytest.mark.parametrize("name", ["captions.csv", "none/captions.jsonl", ".jsonl"])
def test_an_unusable_caption_path_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "captions.jsonl").mkdir()
    for path in (tmp_path / name, tmp_path / "captions.jsonl"):
        with pytest.raises(ConfigError, match=r"use a \.jsonl file in an existing folder"):
            CaptionStore(path)
