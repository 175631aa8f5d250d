"""The folder of a run: what was asked for, what happened, and what came of it."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from platform import platform, python_version
from typing import Any

import torch

from peclip.errors import ConfigError, MissingExtraError, TrainingError
from peclip.figures import save_figure
from peclip.files import final_name, replacing, write_rows
from peclip.metrics.plots import plot_confusion, plot_curve
from peclip.metrics.prediction_table import PredictionTable
from peclip.metrics.report import Report
from peclip.runs.recipe import RunConfig, read_recipe, run_config
from peclip.training.reporting import JOURNAL
from peclip.training.state import STATE, STATES, best_weights, writing
from peclip.training.trackers import flat
from peclip.weights.checkpoint import MODEL

CONFIG, COMMAND, ENVIRONMENT, HISTORY, LOG = (
    "config.yaml",
    "command.txt",
    "env.json",
    "metrics.jsonl",
    "log.txt",
)
REPORT, PREDICTIONS, CONFUSION, CURVE = "report.json", "predictions.csv", "confusion", "curve.png"

_FILES = {CONFIG, COMMAND, ENVIRONMENT, HISTORY, LOG, REPORT, PREDICTIONS, CURVE, JOURNAL} | {
    *(f"{CONFUSION}.csv", f"{CONFUSION}.png", "checkpoints", MODEL, "tensorboard", "wandb"),
}
"""What a run and its trackers write, and nothing else is overwritten."""

MAY_CHANGE = {
    *(
        "data.root",
        "data.annotations",
        "data.captions",
        "data.votes",
        "report_to",
        "train.workers",
        "train.patience",
    ),
    *("train.checkpoint_steps", "train.checkpoint_activations"),
}
"""Fields that decide no weight and no score, so that a resumed run may have others.

The videos that they lead to, with labels and captions, may not change: the state remembers those that are trained
on and those that are validated.
"""


class RunFolder:
    """Writes the files of a run; each is complete or not there.

    Args:
        path: made if needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def can_resume(self) -> bool:
        """Whether a state was saved."""
        return (self.path / STATES / STATE).is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the report is there, which is written last."""
        return (self.path / REPORT).is_file()

    def begin(self, *, overwrite: bool) -> None:
        """Makes the folder, or empties one of an earlier run.

        Raises:
            ConfigError: it holds something, and may not be overwritten or is not the folder of a run.
        """
        held = sorted(self.path.iterdir()) if self.path.is_dir() else []
        if held and not overwrite:
            raise ConfigError(
                f"The run folder {str(self.path)!r} is not empty. Give another --name or --out, go on with "
                "it by --resume, or replace it with --overwrite."
            )
        strange = [entry.name for entry in held if not _is_of_a_run(entry.name)]
        if strange:
            raise ConfigError(
                f"{str(self.path)!r} holds {strange[0]!r}, which no run writes, so it is not overwritten. "
                "Give another folder."
            )
        with writing(self.path):
            for entry in held:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            self.path.mkdir(parents=True, exist_ok=True)

    def check_unchanged(self, config: RunConfig) -> None:
        """Compares with what the run was begun with, if it was.

        Raises:
            ConfigError: something differs that decides its result; the message names it.
        """
        if not (self.path / CONFIG).is_file():
            return
        begun = run_config(read_recipe(str(self.path / CONFIG)))
        before, now = (flat(one.model_dump(mode="json")) for one in (begun, config))
        fields = sorted((before.keys() | now.keys()) - MAY_CHANGE)
        changed = [name for name in fields if before.get(name) != now.get(name)]
        if changed:
            names = ", ".join(f"{name} ({before.get(name)} to {now.get(name)})" for name in changed)
            raise ConfigError(
                f"The run in {str(self.path)!r} was begun with other settings: {names}. Only "
                f"{', '.join(sorted(MAY_CHANGE))} may change. Resume it as it was begun, or begin a new run."
                f"{best_weights(self.path / STATES)}"
            )

    def write(self, name: str, text: str) -> None:
        """Writes a text file."""
        with writing(self.path), replacing(self.path / name) as partial:
            partial.write_text(text, encoding="utf-8")

    def log(self, line: str) -> None:
        """Adds a line with the time to the log."""
        with writing(self.path), (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    @contextmanager
    def logging_failures(self) -> Iterator[None]:
        """Says in the log what ends the block before its time, an interruption too."""
        try:
            yield
        except BaseException as error:
            asked = isinstance(error, (KeyboardInterrupt, SystemExit))
            reason = "interrupted" if asked else str(error) or type(error).__name__
            with suppress(TrainingError):  # a full disk may be the reason, and takes no line either
                self.log(f"stopped: {reason}")
            raise

    def write_environment(self, device: str, **more: Any) -> None:
        """Writes what was computed with."""
        packages = ("peclip", "torch", "torchvision", "open_clip_torch", "av", "numpy")
        found = {
            "python": python_version(),
            "platform": platform(),
            "packages": {name: version(name) for name in packages},
            "cuda": torch.version.cuda,
            "device": device,
            **more,
        }
        self.write(ENVIRONMENT, json.dumps(found, indent=2) + "\n")

    def write_history(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Writes one line per epoch, all of them anew: a resumed run leaves no epoch twice."""
        self.write(HISTORY, "".join(json.dumps(entry) + "\n" for entry in history))

    def draw_curve(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Draws loss, UAR and WAR over the epochs, where matplotlib is installed."""
        self._draw(lambda: plot_curve(history), CURVE)

    def write_predictions(self, table: PredictionTable, report: Report) -> None:
        """Writes the predictions and the confusion matrix."""
        with writing(self.path):
            write_rows(self.path / PREDICTIONS, list(table.rows()))
            self._write_confusion(report)
        self._draw(lambda: plot_confusion(report), f"{CONFUSION}.png")

    def write_report(self, report: Mapping[str, Any]) -> None:
        """Writes the report, which says that the run is finished."""
        self.write(REPORT, json.dumps(report, indent=2) + "\n")

    def _write_confusion(self, report: Report) -> None:
        matrix = zip(report.labels, report.confusion.counts.tolist(), strict=True)
        with (
            replacing(self.path / f"{CONFUSION}.csv") as partial,
            partial.open("w", encoding="utf-8", newline="") as file,
        ):
            # Not by the names of the columns, as rows: a label may be called target, too.
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["target", *report.labels])
            writer.writerows([name, *row] for name, row in matrix)

    def _draw(self, plot: Any, name: str) -> None:
        try:
            figure = plot()
        except MissingExtraError as error:
            self.log(f"{name} is not drawn: {error}")
            return
        with writing(self.path):
            save_figure(figure, self.path / name)


def _is_of_a_run(name: str) -> bool:
    return final_name(name) in _FILES or bool(re.fullmatch(r"fold-\d+", name))


def read_report(path: Path) -> dict[str, Any]:
    """Reads the report of a finished run."""
    return dict(json.loads((path / REPORT).read_text(encoding="utf-8")))


def free_path(parent: Path, name: str) -> Path:
    """Returns a folder that is not there yet: `name`, `name2`, `name3` and so on."""
    path, number = parent / name, 2
    while path.exists():
        path, number = parent / f"{name}{number}", number + 1
    return path


def command_line() -> str:
    """Returns the command that this process was started with, for a shell."""
    import shlex

    return shlex.join(["peclip", *sys.argv[1:]]) + "\n"
