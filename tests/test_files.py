"""A file takes its place when it is whole, and what was there before stays until then."""

from __future__ import annotations

from pathlib import Path

import filelock
import pytest

from peclip.errors import ConfigError
from peclip.files import final_name, locked, replacing, write_problem


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


def test_a_folder_in_which_no_file_can_be_created_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert write_problem(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    assert "No such file" in str(write_problem(tmp_path / "missing"))

    def refuse(**_: object) -> None:  # as in /proc
        raise FileNotFoundError

    monkeypatch.setattr("peclip.files.TemporaryFile", refuse)
    monkeypatch.setattr("filelock.FileLock.acquire", timed_out)
    with (
        pytest.raises(ConfigError, match=r"a\.csv\.lock cannot be written: no file can be created"),
        locked(tmp_path / "a.csv"),
    ):
        pass


def timed_out(self: filelock.FileLock, timeout: float) -> None:
    raise filelock.Timeout("a.csv.lock")


@pytest.mark.parametrize("name", ["report.json", ".hidden", "a.b.csv"])
def test_other_names_are_final(name: str) -> None:
    assert final_name(name) == name
