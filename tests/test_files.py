"""A file takes its place when it is whole, and what was there before stays until then."""

from __future__ import annotations

from pathlib import Path

import pytest

from peclip.files import final_name, replacing


def test_a_file_takes_its_place_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("before")
    with replacing(path) as partial:
        partial.write_text("after")
        assert path.read_text() == "before"
        assert partial.name.startswith("."), "what lists the folder does not see it"
        assert final_name(partial.name) == path.name
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_a_failure_keeps_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "report.json"
    path.write_text("before")

    def write_half() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_open_raises_its_own_error(tmp_path: Path) -> None:
    """Where the file cannot even be opened, the error is that of opening it."""
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "absent" / "a.csv") as partial:
        partial.write_text("")


@pytest.mark.parametrize("name", ["report.json", ".hidden", "a.b.csv"])
def test_other_names_are_final(name: str) -> None:
    assert final_name(name) == name
