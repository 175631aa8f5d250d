"""What a run of `peclip predict` leaves, and what holds of every run, whatever its input."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from peclip.cli.app import run

ERROR = "peclip: error: "
NOTE = "debug on cpu in fp32"
FACELESS = ": no face found. Use --no-face-crop"

SETTLING_SECONDS = 5

Rows = list[dict[str, object]]


@dataclass(frozen=True)
class Outcome:
    """What a run of `peclip predict` left."""

    code: int
    rows: Rows
    errors: list[str]
    warnings: list[str]

    @property
    def recognised(self) -> Rows:
        return [row for row in self.rows if row["status"] != "decode_error"]


Predict = Callable[..., Outcome]


def open_files() -> list[str]:
    """What this process holds open."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:  # the listing's own
            continue
    return sorted(found)


def threads() -> int:
    """Threads of this process, those of libraries too."""
    return len(os.listdir("/proc/self/task"))


def threads_left(before: int) -> int:
    """Returns how many threads there are more than before; one that is ending has a moment to do so.

    A thread that was joined has left its function, and the kernel takes it off the list after that.
    """
    deadline = time.monotonic() + SETTLING_SECONDS
    while (left := threads() - before) > 0 and time.monotonic() < deadline:
        os.sched_yield()
    return max(left, 0)


def checked(code: int, output: Path, err: str) -> Outcome:
    """Checks the promises of docs/output.md and docs/exit_codes.md, and returns what came out."""
    lines = err.splitlines()
    errors = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
    warnings = [line for line in lines if line.startswith("peclip: warning: ")]
    own = (ERROR, "peclip: warning: ", NOTE)
    noise = [x for x in lines if not x.startswith(own) and FACELESS not in x]
    assert noise == [], "only the program's own lines belong on standard error"
    content = output.read_text() if output.exists() else ""
    assert content.endswith("\n") or not content
    outcome = Outcome(code, [json.loads(line) for line in content.splitlines()], errors, warnings)
    assert code in {0, 3, 6}
    for row in outcome.recognised:
        scores = [value for name, value in row.items() if name.startswith("prob_")]
        if row["status"] != "no_face":
            assert sum(scores) == pytest.approx(1, abs=1e-4)  # type: ignore[arg-type]
        assert all(math.isfinite(float(row[name])) for name in ("start_s", "end_s"))  # type: ignore[arg-type]
        assert float(row["start_s"]) <= float(row["end_s"])  # type: ignore[arg-type]
    failed = [row for row in outcome.rows if row["status"] == "decode_error"]
    if code == 0:
        assert outcome.recognised
        assert failed == []
        assert errors == []
    elif code == 6:
        assert outcome.recognised
        assert len(failed) == len(errors) >= 1
    else:
        assert outcome.recognised == []
        assert errors
    assert all(len(line) < 600 for line in errors)
    return outcome


def refusal(capfd: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """Runs a command that must end with a code and one line, and returns the line."""
    capfd.readouterr()
    assert run(arguments) == code
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(ERROR)
    assert line.isprintable()
    assert len(line) < 800
    return line
