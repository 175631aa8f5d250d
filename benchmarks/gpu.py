"""Everything to measure on a machine with a GPU, in one command that takes less than 8 minutes.

    python benchmarks/gpu.py --out gpu-results

Each section runs in its own process, a fork of this one, which has imported everything and used no device. It has its own
time limit and writes every figure at once, so that a crash or a limit costs only what comes after it. The results are in OUT/gpu.json and, as Markdown, in OUT/gpu.md; both are written after
every section. A second run does only what is missing, unless the device or torch has changed. `--dry` runs all sections
on a CPU with tiny sizes, which shows that they run and measures nothing. Models have random weights; nothing is
downloaded. The rate of a large matrix product (GEMM) is measured in the same run for every precision, and `use` is the
rate of a call relative to it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
LIMITS = {
    "rate": 40,
    "tests": 75,
    "ViT-B-32-quickgelu": 45,
    "ViT-B-16-quickgelu": 50,
    "ViT-L-14-quickgelu": 60,
    "training": 80,
    "videos": 60,
    "graphs": 40,
    "compiled": 80,
}
"""Seconds of every section, in their order; the least certain come last. All together they have `--seconds`."""
AIMS = {"use": 0.55, "speed-up": 4.0, "memory": 0.40}

Row = dict[str, Any]


class Results:
    """The sections that were run, and the files that show them."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder, self.settings = folder, dict(settings)
        self.sections: dict[str, Row] = {}
        try:
            before = json.loads((folder / "gpu.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if before.get("settings") == self.settings:
            self.sections = before["sections"]

    def missing(self, names: Sequence[str]) -> list[str]:
        """Returns the sections that have not run to their end."""
        return [name for name in names if self.sections.get(name, {}).get("status") != "complete"]

    def add(self, name: str, status: str, seconds: float) -> None:
        """Takes over the rows that a section has written, whether it is complete or not, and saves everything."""
        rows = read_rows(self.folder / f"{name}.jsonl")
        entry = {"status": status, "seconds": round(seconds, 1), "rows": rows}
        before = self.sections.get(name)
        if status == "complete" or before is None or len(rows) >= len(before["rows"]):
            self.sections[name] = entry
        aims = {} if self.settings.get("dry") else {"aims": AIMS}
        told = {"settings": self.settings, **aims, "sections": self.sections}
        replace(self.folder / "gpu.json", json.dumps(told, indent=1))
        replace(self.folder / "gpu.md", markdown(told))


def replace(path: Path, text: str) -> None:
    """Writes a file that is never half written."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def read_rows(path: Path) -> list[Row]:
    """Returns the rows of a section, without a last one that was cut off."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def markdown(told: Mapping[str, Any]) -> str:
    """Returns all sections as tables, with the aims beside the figures that they are for, unless it was a dry run."""
    lines = [f"# {' · '.join(f'{key} {value}' for key, value in told['settings'].items())}"]
    for name, section in told["sections"].items():
        lines += ["", f"## {name}: {section['status']}, {section['seconds']} s", ""]
        rows = section["rows"]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        if rows:
            lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        for row in rows:
            cells = (shown(row.get(column, ""), column) for column in columns)
            lines.append(f"| {' | '.join(cells)} |")
        if not told["settings"].get("dry"):
            lines += [f"\n{verdict}" for verdict in verdicts(name, rows)]
    return "\n".join(lines) + "\n"


def shown(value: object, column: str) -> str:
    if isinstance(value, float):
        return f"{value:.0%}" if column in ("use", "memory", "model busy") else f"{value:.4g}"
    return str(value).replace("|", "/").replace("\n", " ")


def verdicts(name: str, rows: Sequence[Row]) -> list[str]:
    """Returns for each aim that a section is about whether its best figure reaches it."""
    found = []
    if uses := [row["use"] for row in rows if "use" in row and name != "rate"]:
        reached = "reached" if max(uses) >= AIMS["use"] else "NOT reached"
        found.append(f"Aim: {AIMS['use']:.0%} of the GEMM rate; best {max(uses):.0%}: {reached}.")
    if steps := [row for row in rows if "speed-up" in row and row.get("way") != "baseline"]:
        both = [
            row
            for row in steps
            if row["speed-up"] >= AIMS["speed-up"] and row["memory"] <= AIMS["memory"]
        ]
        best = max(steps, key=lambda row: row["speed-up"])
        least = min(row["memory"] for row in steps)
        found.append(
            f"Aim: a step {AIMS['speed-up']:g} times as fast as the released layout with {AIMS['memory']:.0%} of its "
            f"memory, in one row; fastest {best['speed-up']:.1f} times, least memory {least:.0%}: "
            f"{'reached' if both else 'NOT reached'}."
        )
    return found


def run_section(name: str, folder: Path, limit: float, *, dry: bool) -> tuple[str, float]:
    """Runs a section in its own process; returns how it ended, and its seconds."""
    from gpu_sections import SECTIONS

    rows, log = folder / f"{name}.jsonl", folder / f"{name}.log"
    rows.unlink(missing_ok=True)

    def write(**row: Any) -> None:
        with rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    status, seconds = in_fork(lambda: SECTIONS[name](write, folder, dry=dry), log, limit)
    if status is None:
        return f"stopped after its limit of {limit:.0f} s", seconds
    if status == 0:
        return "complete", seconds
    last = log.read_text(encoding="utf-8").strip().splitlines() or ["without a word"]
    return f"failed with {status}: {last[-1][:200]}", seconds


def in_fork(call: Callable[[], None], log: Path, limit: float) -> tuple[int | None, float]:
    """Runs a call in a fork whose output goes to a file; returns its exit code, `None` at the limit, and the seconds."""
    start = time.monotonic()
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        code = 1
        try:
            os.setsid()  # its own processes end with it
            with log.open("w", encoding="utf-8") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            call()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    while time.monotonic() < start + limit:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), time.monotonic() - start
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None, time.monotonic() - start


def settings(folder: Path, *, dry: bool) -> dict[str, Any]:
    """Returns what the figures depend on; asked in a fork, because a process that has used CUDA cannot be forked."""
    import torch

    def ask() -> None:
        print(torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu", flush=True)

    code, _ = in_fork(ask, folder / "device.log", 60)
    lines = (folder / "device.log").read_text(encoding="utf-8").strip().splitlines()
    device = lines[-1] if code == 0 and lines else "unknown"
    return {"device": device, "torch": torch.__version__, "dry": dry}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--seconds", type=float, default=470, help="for all sections together")
    parser.add_argument("--only", nargs="+", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--again", action="store_true", help="also run what is complete")
    parser.add_argument("--dry", action="store_true", help="tiny sizes, also on a CPU")
    given = parser.parse_args(arguments)
    end = time.monotonic() + given.seconds
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported
    sys.path[:0] = [str(HERE.parents[1] / "src"), str(HERE.parent)]
    import gpu_sections  # noqa: F401  # once, for all forks

    given.out.mkdir(parents=True, exist_ok=True)
    results = Results(given.out, settings(given.out, dry=given.dry))
    if results.settings["device"] == "cpu" and not given.dry:
        print("There is no CUDA device; with --dry, the sections run on the CPU.", file=sys.stderr)
        return 1
    for name in given.only if given.again else results.missing(given.only):
        patience = 10 if given.dry else 1  # a busy CPU takes long to import what a section needs
        limit = min(patience * LIMITS[name], end - time.monotonic())
        if limit < 5:
            print(f"{name}: no time left; run the command again", flush=True)
            continue
        status, seconds = run_section(name, given.out, limit, dry=given.dry)
        results.add(name, status, seconds)
        print(f"{name}: {status}, {seconds:.0f} s", flush=True)
    print((given.out / "gpu.md").read_text(encoding="utf-8"))
    return int(bool(results.missing(given.only)))


if __name__ == "__main__":
    sys.exit(main())
