"""The files in the folder of a run, and checks of such a folder that need no torch."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from peclip.errors import ConfigError
from peclip.files import LOCK, closest_existing, final_name, write_problem
from peclip.runs.run_report import ModelReport
from peclip.text.bounds import read_text
from peclip.text.parsing import parse_json
from peclip.training.trackers import JOURNAL
from peclip.weights.folder import MODEL, is_fold, is_stage

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
"""Files written by a run and its trackers; nothing else is overwritten."""


def replaceable_files(folder: Path, *, overwrite: bool) -> list[Path]:
    """Returns what is in the folder of a new run, which replaces it.

    Raises:
        ConfigError: it is not empty, and `overwrite` is false or it is not a run folder; or it cannot be written.
    """
    if (problem := write_problem(closest_existing(folder))) is not None:
        raise ConfigError(
            f"The run folder {str(folder)!r} cannot be written: {problem}. Choose another --out."
        )
    held = sorted(folder.iterdir()) if folder.is_dir() else []
    held = [entry for entry in held if entry.name != LOCK]
    if held and not overwrite:
        raise ConfigError(
            f"The run folder {str(folder)!r} is not empty. Choose another --name or --out, "
            "resume the run with --resume, or replace it with --overwrite."
        )
    strange = [entry.name for entry in held if not _is_of_a_run(entry.name)]
    if strange:
        raise ConfigError(
            f"{str(folder)!r} will not be overwritten, because it contains {strange[0]!r}, "
            "which was not written by a run. Choose another folder."
        )
    return held


def _is_of_a_run(name: str) -> bool:
    return final_name(name) in _FILES or is_stage(Path(name)) or is_fold(Path(name))


def read_report(path: Path) -> ModelReport:
    """Reads the report of a finished training.

    Raises:
        ConfigError: it is corrupt.
    """
    try:
        return ModelReport.from_dict(parse_json(read_text(path / REPORT, limit=None)))
    except Exception:  # a corrupt report lacks fields, or has other types of any depth
        raise ConfigError(
            f"{str(path / REPORT)!r} is corrupt. Delete it and resume the run; only the "
            "evaluation on the test videos is repeated."
        ) from None


def free_path(parent: Path, name: str) -> Path:
    """Returns an unused folder path: `name`, `name2`, `name3` and so on."""
    path, number = parent / name, 2
    while path.exists():
        path, number = parent / f"{name}{number}", number + 1
    return path


def command_line() -> str:
    """Returns the command line of this process, quoted for a shell."""
    return shlex.join(["peclip", *sys.argv[1:]]) + "\n"
