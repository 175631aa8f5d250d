"""What a command imports: the time that a short one takes is that of its imports."""

from __future__ import annotations

import json
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


REFUSED = """
import json, os, sys
from peclip.cli.app import run

for arguments in json.loads(sys.argv[1]):
    code = run(arguments)
    slow = {"torch", "open_clip", "transformers", "matplotlib"} & sys.modules.keys()
    print(json.dumps([code, *sorted(slow)]), flush=True)
"""


def test_wrong_uses_are_refused_before_torch_is_imported(astronaut: Path, tmp_path: Path) -> None:
    """All in one process, in which nothing may have imported torch."""
    for label in ("happiness", "anger"):
        (tmp_path / "data" / "test" / label).mkdir(parents=True)
        (tmp_path / "data" / "test" / label / "a.mp4").symlink_to(astronaut)
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"no model")
    predict = ["predict", str(astronaut)]
    data = ["--dataset", "folder", "--data-root", str(tmp_path / "data")]
    evaluate, train = ["evaluate", *data], ["train", *data, "--out", str(tmp_path / "run")]
    onnx = str(tmp_path / "model.onnx")
    cases: list[tuple[int, list[str]]] = [
        (2, [*predict, "--device", "gpu"]),
        (2, [*predict, "--device", "cuda:x"]),
        (5, [*predict, "--device", "cpu", "--precision", "fp16"]),
        (5, [*predict, "--device", "cpu", "--precision", "tf32"]),
        (2, [*predict, "-m", "nanno"]),
        (2, [*predict, "-m", "ViT-B-16-quickgelu/opennai"]),
        (2, [*predict, "-m", "finecliper:nano"]),
        (4, [*predict, "-m", str(tmp_path / "empty")]),
        (2, [*predict, "--captions", str(tmp_path / "captions.jsonl")]),
        (2, [*predict, "-m", "debug", "--prior-weight", "0"]),
        (3, ["predict", str(tmp_path / "empty")]),
        (4, [*predict, "-m", onnx]),
        (2, [*evaluate, "-m", onnx]),
        (2, [*evaluate, "--device", "gpu"]),
        (2, [*evaluate, "--labels", "calm, tense"]),
        (3, ["evaluate", *data[:3], str(tmp_path / "empty")]),
        (3, ["evaluate", *data[:3], str(tmp_path / "missing")]),
        (3, [*evaluate, "--fold", "2"]),
        (2, [*train, "--device", "gpu"]),
        (2, [*train, "-m", onnx]),
        (2, [*train, "-m", "debug", "--set", "model.unknown=1"]),
        (3, [*train, "-m", "debug"]),
        (2, ["export", onnx, "-o", str(tmp_path / "other.onnx")]),
        (2, ["export", "nanno", "-o", str(tmp_path / "other.onnx")]),
        (2, ["explain", str(astronaut), "-m", onnx]),
        (2, ["explain", str(astronaut), "--label", "calm"]),
        (2, ["explain", str(astronaut), "--device", "gpu"]),
        (2, ["explain", str(astronaut), "--at", "-1s"]),
        (2, ["explain", "rtsp://localhost/x"]),
        (2, ["explain", "0"]),
        (4, ["convert", str(tmp_path / "missing.pth"), str(tmp_path / "out")]),
        (2, ["models", "info", "nanno"]),
        (4, ["models", "info", onnx]),
        (2, ["models", "download", onnx]),
        (2, ["plots", str(tmp_path / "missing.csv")]),
        (0, ["models", "list"]),
        (0, ["models", "path", "nano"]),
    ]
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, json.dumps([arguments for _, arguments in cases])],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "1000"},
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert told == [[code] for code, _ in cases]
    errors = [line for line in done.stderr.splitlines() if line.startswith("peclip: error: ")]
    assert len(errors) == sum(code != 0 for code, _ in cases)
    assert "Traceback" not in done.stderr


def test_facts_about_models_and_the_machine_import_nothing_slow() -> None:
    slow = tuple(name for name in SLOW if name != "huggingface_hub")
    for arguments in (["models", "info", "nano"], ["doctor"]):
        code, found = imported(slow, *arguments)
        assert code in (0, 5)
        assert not found, arguments


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
