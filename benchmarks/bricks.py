"""Adapters, LoRA, both, and the temporal head on one small backbone: scores on FER2013 with votes.

    python benchmarks/bricks.py --base runs/nano-face --data-root runs --annotations runs/windows.csv --out runs/bricks

`make nano` makes the base and the table in runs/: every third image of FER2013, and photographs of LFW with
pseudo-labels, as windows of stills in a third of which the expression is there only for a while. Every variant starts
from the same base, is trained for one epoch with the same seed, schedule and learning rate (none was tuned), and keeps
the last epoch. Scores are on PublicTest, which selects nothing here except the temperature of each variant. A variant
that has finished is not trained again, and an interrupted one is resumed. CPU seconds are of training and scoring.
"""

from __future__ import annotations

import argparse
import json
import resource
from pathlib import Path

import yaml

from peclip.cli.app import run
from peclip.metrics.comparison import compare
from peclip.metrics.prediction_file import read_predictions
from peclip.runs.run_files import PREDICTIONS, REPORT, read_report
from peclip.weights.folder import read_checkpoint
from peclip.weights.parameter_counts import count_parameters

NO_ADAPTERS = {"shared_adapter": "none", "temporal_adapter": "none", "text_adapter": "none"}
ADAPTERS = {"shared_adapter": "per_layer", "temporal_adapter": "gru", "text_adapter": "per_layer"}
LORA = {"lora": {"rank": 8, "towers": ["vision", "text"]}}
HEAD = {"temporal_head": {"heads": 4}}
VARIANTS = {
    "adapters (ShA, TDA, TA)": ADAPTERS,
    "adapters without TDA": ADAPTERS | {"temporal_adapter": "none"},
    "LoRA": NO_ADAPTERS | LORA,
    "adapters + LoRA": ADAPTERS | LORA,
    "head": NO_ADAPTERS | HEAD,
    "LoRA + head": NO_ADAPTERS | LORA | HEAD,
}
"""By name: fields of the model. Each also trains the prompts of the base."""

RATE = 5e-4
ANIMATE = {
    "partial": 0.35,
    "share": [0.3, 1.0],
    "scale": 0.35,
    "erase": 0.15,
    "resolution": 0.2,
    "resolution_range": [14, 64],
    "border": 0.5,
    "occlude": 0.1,
}
"""As in recipes/nano.yaml, without faint expressions, which shift predictions towards expressions."""


def recipe(base: str, fields: dict[str, object], frames: int) -> dict[str, object]:
    """Returns the recipe of a variant."""
    return {
        "base": base,
        "model": {"num_frames": frames, **fields},
        "data": {"dataset": "table", "targets": "votes"},
        "train": {
            "epochs": 1,
            "batch_size": 32,
            "lr": {"adapters": RATE, "lora": RATE, "head": RATE, "prompts": 1e-4},
            "warmup_epochs": 0.1,
            "clip_grad": 1.0,
            "precision": "bf16",
            "mixing": {"mixup": 0.0, "fmix": 0.0},
            "animate": ANIMATE,
            "balance": "sampling",
            "balance_power": 0.4,
            "ema": 0.99,
            "select_on": "last",
            "calibrate": True,
            "test": False,
            "checkpoint_steps": 50,
            "workers": 1,
            "seed": 0,
        },
    }


def cpu_seconds() -> float:
    """Returns the CPU time of this process and of its finished readers."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def train(name: str, arguments: argparse.Namespace) -> Path:
    """Trains a variant unless it has finished, and returns its run folder."""
    folder: Path = arguments.out / name.split(" (")[0].replace(" ", "-")
    if (folder / REPORT).is_file():
        return folder
    file = arguments.out / f"{folder.name}.yaml"
    file.write_text(yaml.safe_dump(recipe(arguments.base, VARIANTS[name], arguments.frames)))
    where = ["--data-root", str(arguments.data_root), "--annotations", str(arguments.annotations)]
    start = cpu_seconds()
    command = ["--recipe", str(file), *where, "--out", str(folder)]
    if code := run(["train", *(["--resume", str(folder)] if folder.is_dir() else command)]):
        raise SystemExit(code)
    times = arguments.out / f"{folder.name}.json"
    times.write_text(json.dumps({"cpu_s": round(cpu_seconds() - start)}))
    return folder


def line(name: str, folder: Path, reference: Path, times: Path) -> str:
    """Returns the row of a variant; its difference is to the run folder `reference`."""
    report = read_report(folder).scores
    assert report is not None, "PublicTest is scored"
    config = read_checkpoint(folder / "model", name="model").config
    trained = sum(count_parameters(config)["trainable"].values())
    cells = [name, f"{trained:,}"]
    for value, interval in ((report.uar, report.uar_ci), (report.war, report.war_ci)):
        assert interval is not None, "training computes intervals"
        low, high = interval
        cells.append(f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})")
    if folder == reference:
        cells += ["", ""]
    else:
        first, second = (read_predictions(one / PREDICTIONS) for one in (reference, folder))
        compared = compare(first, second)
        for difference in (compared.uar, compared.war):
            cells.append(f"{100 * difference.value:+.1f} (p {difference.p_text})")
    cells.append(str(json.loads(times.read_text())["cpu_s"]) if times.is_file() else "")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", required=True, help="model to start from, such as runs/nano-face")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--annotations", type=Path, required=True, help="table with train and val")
    parser.add_argument("--frames", type=int, default=4, help="frames of a window")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    folders = {name: train(name, arguments) for name in VARIANTS}
    reference = next(iter(folders.values()))
    print(
        "| trained on the base | trained parameters | UAR % (95 % interval) | WAR % | UAR less that of adapters "
        "| WAR less that of adapters | CPU s |\n|---|---|---|---|---|---|---|"
    )
    for name, folder in folders.items():
        print(line(name, folder, reference, arguments.out / f"{folder.name}.json"))


if __name__ == "__main__":
    main()
