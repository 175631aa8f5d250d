"""Progress where standard error is a pipe or a file."""

from __future__ import annotations

import threading

import pytest

from peclip.cli import console, progress_lines

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_lines, "INTERVAL_S", 0.001)


def first_lines(count: int, monkeypatch: pytest.MonkeyPatch, position: str) -> list[str]:
    """Returns the first lines of a bar with one task, which advances after each of them."""
    written, enough = list[str](), threading.Event()

    def write(line: str) -> None:
        written.append(line)
        if len(written) >= count:
            enough.set()
        bar.advance(task)

    monkeypatch.setattr(console, "note", write)
    with console.progress_bar(enabled=True) as bar:
        task = bar.add_task("preparing [red]dfew[/]", total=2000, position=position)
        assert enough.wait(60)
    return written[:count]


def test_a_pipe_gets_a_line_for_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_lines(3, monkeypatch, "") == [
        "preparing dfew: 0 of 2,000",
        "preparing dfew: 1 of 2,000",
        "preparing dfew: 2 of 2,000",
    ]


def test_the_position_of_a_bar_is_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_lines(1, monkeypatch, "3 of 9 videos, 0:20 left") == [
        "preparing dfew: 3 of 9 videos, 0:20 left"
    ]


def test_testing_after_the_last_step_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    written, tested = list[str](), threading.Event()
    monkeypatch.setattr(console, "note", lambda line: (written.append(line), tested.set()))
    with console.progress_bar(enabled=True) as bar:
        task = bar.add_task("dfew", total=9, completed=9, position="epoch 1/1")
        bar.update(task, completed=9)
        assert bar.tasks[0].finished
        bar.update(task, total=9, completed=3, position="testing 3 of 9 videos")
        assert tested.wait(60)
    assert written == ["dfew: testing 3 of 9 videos"]


def test_the_state_is_asked_for_before_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    written, polled = threading.Event(), list[int]()
    monkeypatch.setattr(console, "note", lambda line: written.set())
    with console.progress_bar(enabled=True) as bar:
        bar.poll = lambda: polled.append(1) or bar.update(task, position="read")  # type: ignore[func-returns-value]
        task = bar.add_task("clip.mp4", total=None, position="starting")
        assert written.wait(60)
    assert polled


def test_no_progress_writes_no_line(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    before = threading.active_count()
    with console.progress_bar(enabled=False) as bar:
        bar.add_task("preparing dfew", total=2, position="")
        assert threading.active_count() == before
    assert capsys.readouterr().err == ""


def test_the_lines_end_with_the_bar(capsys: Output) -> None:
    before = threading.active_count()
    with console.progress_bar(enabled=True) as bar:
        bar.add_task("preparing dfew", total=2, position="")
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
