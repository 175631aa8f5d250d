"""LoRA and the temporal head from the command line: trained, described, resumed, evaluated and built upon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Output, command, refused, trained
from safetensors.torch import load_file

from peclip.cli.app import run

BRICKS = (
    *("--set", "model.lora.rank=4", "--set", "model.lora.dropout=0"),
    *("--set", "model.temporal_head.layers=1", "--set", "train.lr.lora=1e-2"),
)


def test_one_epoch_and_everything_after_it(root: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "run"
    trained(capsys, *command(root, out, *BRICKS, "--epochs", "1", "-m", "lora:debug"))
    config = json.loads((out / "model" / "config.json").read_text())
    assert config["lora"]["rank"] == 4
    assert config["temporal_head"]["heads"] == 8
    assert (config["shared_adapter"], config["prompt_length"]) == ("none", 0)
    (epoch,) = (json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines())
    assert set(epoch["lr"]) == {"lora", "head"}
    about = trained(capsys, "models", "info", str(out))
    stored = load_file(out / "model" / "model.safetensors")
    lora = sum(tensor.numel() for name, tensor in stored.items() if ".lora." in name)
    assert about["parts"]["LoRA"] == {"total": lora, "trainable": lora}
    assert lora == 2 * 4 * (4 * (64 + 64) + 2 * (64 + 256))
    assert about["trainable"] == lora + about["parts"]["head"]["trainable"]
    evaluated = trained(
        *(capsys, "evaluate", "--dataset", "folder", "--data-root", str(root), "-m", str(out)),
        *("--device", "cpu"),
    )
    assert evaluated["num_videos"] == 6
    video = str(root / "test" / "happy" / "0")
    assert run(["predict", video, "-m", str(out), "--no-face-crop", "-f", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["status"] == "ok"

    # Another training starts from all of it, and adds adapters, which are new.
    more = ("-m", str(out), "--set", "model.shared_adapter=per_layer", "--epochs", "1")
    trained(capsys, *command(root, tmp_path / "more", *more))
    log = (tmp_path / "more" / "log.txt").read_text()
    (new,) = (line for line in log.splitlines() if "randomly initialised" in line)
    assert "shared_adapter" in new
    assert ".lora" not in new
    assert "pooling" not in new


def test_a_run_resumes_and_refuses_another_rank(root: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "run"
    start = command(root, out, *BRICKS, "--epochs", "2")
    trained(capsys, *start)
    again = trained(capsys, "train", "--resume", str(out), "--device", "cpu")
    assert again["selected_epoch"] in (1, 2)
    said = refused(capsys, "train", "--resume", str(out), "--set", "model.lora.rank=2")
    assert "model.lora.rank" in said


@pytest.mark.parametrize("value", ["0", "300", "abc"])
def test_an_invalid_rank_is_named(root: Path, tmp_path: Path, capsys: Output, value: str) -> None:
    bad = ("--set", f"model.lora.rank={value}")
    assert "lora.rank" in refused(capsys, *command(root, tmp_path / "run", *bad))
