"""`benchmarks/gpu.py`: what it keeps, what it does again, and that every section runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import gpu
import pytest

SETTINGS = {"device": "H200", "torch": "2.11.0", "dry": False}


def rows_of(folder: Path, name: str, *rows: object) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_what_is_missing_is_run_again_unless_the_device_differs(tmp_path: Path) -> None:
    results = gpu.Results(tmp_path, SETTINGS)
    rows_of(tmp_path, "rate", {"precision": "bf16", "tflops": 700.0})
    results.add("rate", "complete", 3)
    (tmp_path / "videos.jsonl").write_text('{"rows": 1}\n{"rows": 2}\n{"ro')  # killed
    results.add("videos", "stopped after its limit of 60 s", 60)
    again = gpu.Results(tmp_path, SETTINGS)
    assert again.missing(["rate", "videos", "graphs"]) == ["videos", "graphs"]
    assert again.sections["videos"]["rows"] == [{"rows": 1}, {"rows": 2}]
    (tmp_path / "videos.jsonl").unlink()  # a second try comes less far
    again.add("videos", "failed with -9: killed", 2)
    assert len(again.sections["videos"]["rows"]) == 2
    other = gpu.Results(tmp_path, SETTINGS | {"torch": "2.12.0"})
    assert other.missing(["rate"]) == ["rate"]


def test_aims_are_beside_the_figures() -> None:
    assert gpu.verdicts("rate", [{"use": 1.0}]) == []
    (said,) = gpu.verdicts("b", [{"use": 0.5}, {"use": 0.56}, {"note": "out of memory"}])
    assert "55%" in said
    assert said.endswith("56%: reached.")
    base = {"way": "baseline", "speed-up": 1.0, "memory": 1.0}
    fast, small = {"speed-up": 5.0, "memory": 0.7}, {"speed-up": 3.0, "memory": 0.3}
    (said,) = gpu.verdicts("training", [base, fast, small])
    assert said.endswith("fastest 5.0 times, least memory 30%: NOT reached.")  # in one row
    (said,) = gpu.verdicts("training", [base, {"speed-up": 4.0, "memory": 0.4}])
    assert said.endswith(": reached.")


def test_the_table_has_every_column_and_row() -> None:
    sections = {
        "b": {
            "status": "complete",
            "seconds": 1.0,
            "rows": [{"batch": 1, "use": 0.125}, {"batch": 8, "note": "a|b"}],
        }
    }
    lines = gpu.markdown({"settings": SETTINGS, "sections": sections}).splitlines()
    assert lines[0] == "# device H200 · torch 2.11.0 · dry False"
    assert lines[4:8] == [
        "| batch | use | note |",
        "|---|---|---|",
        "| 1 | 12% |  |",
        "| 8 |  | a/b |",
    ]


def test_a_dry_run_has_no_aims(tmp_path: Path) -> None:
    for dry in (False, True):
        results = gpu.Results(tmp_path, SETTINGS | {"dry": dry})
        rows_of(tmp_path, "b", {"use": 0.5})
        results.add("b", "complete", 1)
        assert ("Aim: 55%" in (tmp_path / "gpu.md").read_text()) is not dry
        assert ("aims" in json.loads((tmp_path / "gpu.json").read_text())) is not dry


SCRIPT = """
import sys, os, time, gpu
from pathlib import Path
def hang(): print('begun', flush=True); os.system('sleep 600')
def die(): os.kill(os.getpid(), 9)
def fail(): raise ValueError('no such kernel')
out = Path(sys.argv[1])
for call, limit in ((lambda: print('well'), 60), (fail, 60), (die, 60), (hang, 0.5)):
    print(gpu.in_fork(call, out / 'log', limit)[0], (out / 'log').read_text().strip().splitlines()[-1:])
"""


def test_a_section_that_crashes_or_hangs_costs_only_itself(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(gpu.__file__).parent)}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.stdout.splitlines() == [
        "0 ['well']",
        "1 ['ValueError: no such kernel']",
        "-9 []",
        "None ['begun']",
    ], done.stderr
    assert time.monotonic() - start < 300


@pytest.mark.slow
def test_every_section_runs_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, gpu.__file__, "--dry", "--out", str(tmp_path), "--seconds", "3000"]
    names = [name for name in gpu.LIMITS if name != "tests"]  # these tests
    done = subprocess.run([*command, "--only", *names], capture_output=True, text=True)
    told = json.loads((tmp_path / "gpu.json").read_text())
    assert {name: told["sections"][name]["status"] for name in names} == dict.fromkeys(
        names, "complete"
    ), done.stdout + done.stderr
    assert all(section["rows"] for section in told["sections"].values())
    use = [row["use"] for row in told["sections"]["ViT-B-16-quickgelu"]["rows"]]
    assert all(0 < value < 2 for value in use)
    compiled = told["sections"]["compiled"]["rows"][-1]
    assert (compiled["graph breaks"], compiled["way"]) == (0, "compiled")
