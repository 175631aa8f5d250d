"""A run that is killed at any byte loses no complete source and doubles none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from peclip.engines.journal import Journal, journal_of
from peclip.errors import ConfigError

MADE_WITH = {"model": "nano", "preprocessing": {"image_size": 64}, "window": 1.0}
ROWS = {"a.mp4": ["a0", "a1"], "caf\udce9.mp4": ["b0"], "c.mp4": ["c0", "c1", "c2"]}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def write(output: Path, journal: Journal, sources: list[str]) -> None:
    for source in sources:
        with output.open("a") as stream:
            for row in ROWS[source]:
                print(json.dumps(row), file=stream)
        journal.add(source, failed=source == "c.mp4")


def complete(output: Path) -> list[str]:
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_a_complete_run(output: Path) -> None:
    journal = Journal.begin(output, MADE_WITH)
    write(output, journal, list(ROWS))
    journal.close(keep=True)
    again = Journal.resume(output, MADE_WITH)
    failed = {name: entry.failed for name, entry in again.done.items()}
    assert failed == {"a.mp4": False, "caf\udce9.mp4": False, "c.mp4": True}
    assert again.lines_cut == 0
    again.close(keep=False)
    assert [path.name for path in output.parent.iterdir()] == ["rows.jsonl"]


def test_a_partly_read_source_counts_as_recognised(output: Path) -> None:
    journal = Journal.begin(output, MADE_WITH)
    output.write_text("0")
    journal.add("good", failed=False)
    journal.add("torn", failed=True, partly=True)
    journal.add("bad", failed=True)
    journal.close(keep=True)
    lines = journal.path.read_text()
    for text, told in ((lines, True), (lines.replace(', "partly": true', ""), False)):
        journal.path.write_text(text)  # the second is as an older release wrote it
        again = Journal.resume(output, MADE_WITH)
        again.close(keep=True)
        recognised = {name: entry.recognised for name, entry in again.done.items()}
        assert recognised == {"good": True, "torn": told, "bad": False}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_a_full_disk_at_any_line_is_one_error(output: Path) -> None:
    journal = Journal.begin(output, MADE_WITH)
    assert journal._stream is not None
    journal._stream.close()
    with Path("/dev/full").open("a") as journal._stream:
        with pytest.raises(ConfigError, match="No space left on device"):
            write(output, journal, ["a.mp4"])
        journal.close(keep=True)
    again = Journal.resume(output, MADE_WITH)
    assert (again.done, again.lines_cut) == ({}, 2)
    again.close(keep=True)


def test_a_run_killed_at_any_byte_is_completed(output: Path, tmp_path: Path) -> None:
    """A run writes the rows of a source, then its line in the journal; it may die at each byte."""
    journal = Journal.begin(output, MADE_WITH)
    states = [(0, journal.path.stat().st_size)]
    for source in ROWS:
        before = states[-1]
        write(output, journal, [source])
        after = output.stat().st_size, journal.path.stat().st_size
        states += [(n, before[1]) for n in range(before[0] + 1, after[0] + 1)]
        states += [(after[0], n) for n in range(before[1] + 1, after[1] + 1)]
    journal.close(keep=True)
    rows, notes = output.read_bytes(), journal.path.read_bytes()
    ends = {
        len("".join(f'"{row}"\n' for name in list(ROWS)[:n] for row in ROWS[name])): n
        for n in range(4)
    }
    for rows_size, notes_size in states:
        output.write_bytes(rows[:rows_size])
        journal.path.write_bytes(notes[:notes_size])
        resumed = Journal.resume(output, MADE_WITH)
        assert list(resumed.done) == list(ROWS)[: ends[output.stat().st_size]]
        assert (resumed.lines_cut > 0) == (output.stat().st_size < rows_size)
        write(output, resumed, [source for source in ROWS if source not in resumed.done])
        resumed.close(keep=True)
        assert output.read_bytes() == rows
        assert journal.path.read_bytes() == notes


def test_rows_lost_in_a_crash_are_computed_again(output: Path) -> None:
    journal = Journal.begin(output, MADE_WITH)
    write(output, journal, list(ROWS))
    journal.close(keep=True)
    output.write_bytes(output.read_bytes()[:-3])
    resumed = Journal.resume(output, MADE_WITH)
    assert list(resumed.done) == ["a.mp4", "caf\udce9.mp4"]
    assert complete(output) == ["a0", "a1", "b0"]
    resumed.close(keep=True)


def test_a_journal_without_its_output_starts_over(output: Path) -> None:
    journal = Journal.resume(output, MADE_WITH)
    assert journal.done == {}
    write(output, journal, ["a.mp4"])
    journal.close(keep=True)
    output.unlink()
    again = Journal.resume(output, MADE_WITH)
    assert again.done == {}
    again.close(keep=True)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"model": "debug"}, "model"),
        ({"preprocessing": {"image_size": 224}}, "preprocessing.image_size"),
        ({"window": 2.0}, "window"),
        ({"new": 1}, "new"),
    ],
)
def test_rows_made_with_other_settings_are_not_mixed(
    output: Path, change: dict[str, Any], name: str
) -> None:
    journal = Journal.begin(output, MADE_WITH)
    write(output, journal, ["a.mp4"])
    journal.close(keep=True)
    with pytest.raises(ConfigError, match=rf"different settings \({name} .*--overwrite"):
        Journal.resume(output, MADE_WITH | change)
    assert complete(output) == ["a0", "a1"]
    Journal.resume(output, MADE_WITH).close(keep=True)


def test_an_output_without_a_journal_is_unchanged(output: Path) -> None:
    output.write_text("precious\n")
    with pytest.raises(ConfigError, match=r"rows\.jsonl\.journal.*--overwrite"):
        Journal.resume(output, MADE_WITH)
    assert output.read_text() == "precious\n"


@pytest.mark.parametrize("text", ["no json\n", "{}\n[]\n", '{}\n{"source": 1}\n'])
def test_a_corrupt_journal_is_an_error(output: Path, text: str) -> None:
    output.write_text("precious\n")
    journal_of(output).write_text(text)
    with pytest.raises(ConfigError, match="corrupt.*--overwrite"):
        Journal.resume(output, MADE_WITH)
    assert output.read_text() == "precious\n"


def test_an_output_removed_while_it_is_written_is_an_error(output: Path) -> None:
    journal = Journal.begin(output, MADE_WITH)
    write(output, journal, ["a.mp4"])
    output.unlink()
    with pytest.raises(ConfigError, match=r"rows\.jsonl.*cannot be written: No such file"):
        journal.add("caf\udce9.mp4", failed=False)
    journal.close(keep=True)


def test_an_unwritable_journal_is_a_one_line_error(output: Path) -> None:
    journal_of(output).mkdir()
    for open_journal in (Journal.begin, Journal.resume):
        with pytest.raises(ConfigError, match="cannot be written: Is a directory"):
            open_journal(output, MADE_WITH)
