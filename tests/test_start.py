"""What a command imports: the time that a short one takes is that of its imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
