"""What a command imports: the time that a short one takes is that of its imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import start as benchmark

SLOW = (
    *("open_clip", "timm", "transformers", "torchvision", "torch._dynamo", "torch._inductor"),
    *("sympy", "matplotlib", "pandas", "torchcodec", "huggingface_hub", "peclip.training.trainer"),
)

PROGRAM = """
import sys
from peclip.cli.app import run

code = run(sys.argv[2:])
print(code, *sorted({*sys.argv[1].split()} & sys.modules.keys()))
"""


def imported(modules: tuple[str, ...], *arguments: str) -> tuple[int, set[str]]:
    """Runs a command line in a fresh interpreter; returns its exit code, and which modules it imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, " ".join(modules), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    code, *found = done.stdout.splitlines()[-1].split()
    return int(code), set(found)


def test_a_prediction_with_nano_imports_nothing_slow(astronaut: Path, tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    summary = tmp_path / "people.csv"
    arguments = ["predict", str(astronaut), "--detector", "haar", "--device", "cpu"]
    arguments += ["-o", str(output), "--summary", str(summary)]
    assert imported((*SLOW, "torch"), *arguments) == (0, {"torch"})
    assert output.stat().st_size > 0
    assert summary.stat().st_size > 0


def test_invalid_command_lines_are_refused_without_torch(astronaut: Path, tmp_path: Path) -> None:
    (tmp_path / "old.csv").touch()
    slow = ("torch", "numpy", "cv2", "av", "requests", "pydantic_settings", "peclip.cli.train")
    for arguments in (
        [str(astronaut), "-o", str(tmp_path / "old.csv")],
        [str(astronaut), "-o", str(tmp_path / "rows.csv"), "--summary", str(tmp_path / "old.csv")],
        [str(tmp_path / "missing.mp4")],
        [str(astronaut), "--workers", "2"],
        [str(astronaut), "--labels", "happiness"],
    ):
        code, found = imported(slow, "predict", *arguments)
        assert code != 0
        assert not found, (arguments, found)


def test_the_benchmark_compares_medians_and_skips_the_first_round() -> None:
    commands = {name: ([sys.executable, "-c", "pass"], 0) for name in ("import torch", "predict")}
    seconds = benchmark.measure(commands, 2, os.environ)
    assert [len(values) for values in seconds.values()] == [2, 2]
    assert all(value > 0 for values in seconds.values() for value in values)
    with pytest.raises(SystemExit, match="ended with 3"):
        benchmark.cpu_seconds([sys.executable, "-c", "raise SystemExit(3)"], os.environ)
    lines = benchmark.table(
        {"import torch": [2.0, 1.0, 9.0], "predict": [3.0], "refused output": [0.25]}
    ).splitlines()
    assert lines[2] == "| import torch | 2.00 (1.00 to 9.00) |  |  |"
    assert lines[3] == "| predict | 3.00 (3.00 to 3.00) | 1.50 x import torch | 2 |"
    assert lines[4] == "| refused output | 0.25 (0.25 to 0.25) |  | 0.5 s |"


@pytest.mark.slow
def test_the_benchmark_runs(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--small", "--detector", "haar"])
    lines = capsys.readouterr().out.splitlines()
    names = [line.split("|")[1].strip() for line in lines[2:]]
    assert names == ["import torch", "predict", "refused output", "scoring loop", "evaluate"]
