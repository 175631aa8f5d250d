"""Experiment trackers that follow a run: TensorBoard, Weights & Biases, MLflow and trackio."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from peclip.errors import ConfigError, MissingExtraError
from peclip.text.comparison import flatten

PROJECT = "peclip"
JOURNAL = "trackers.json"
"""File in the run folder with what was reported to each tracker."""
_BATCH = 100
"""MLflow's limit of parameters per request; a request per step would be slow."""


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """Description of a run for trackers."""

    name: str
    folder: Path
    """Folder of the trackers' files and of the journal needed to resume their runs."""
    config: Mapping[str, Any]
    """May be nested."""


@dataclass(slots=True)
class Position:
    """How much has been reported to a tracker."""

    run_id: str | None = None
    """The run's id in the tracker; `None` before it starts."""
    epoch: int = 0
    """Number of complete epochs that have been reported."""
    step: int = 0
    """Last reported step, from 1, counted over all epochs."""


class Tracker(Protocol):
    """One run in a tracker; created with (the tracker's module, the run, its position)."""

    run_id: str

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Logs numbers of a step; steps never decrease."""
        ...

    def flush(self) -> None:
        """Sends pending values, so that they outlive this process."""
        ...

    def finish(self, *, complete: bool) -> None:
        """Sends pending values, and reports whether the run is complete."""
        ...


class TensorBoard:
    """Event files in the folder `tensorboard` of the run."""

    def __init__(self, module: Any, run: TrackedRun, left: Position) -> None:
        self.run_id = "tensorboard"
        # Hides later steps left in the folder by a crashed or earlier run.
        purged = 0 if left.run_id is None else left.step + 1
        self._writer = module.SummaryWriter(str(run.folder / self.run_id), purge_step=purged)
        if left.run_id is None:
            text = json.dumps(run.config, indent=4, default=str)
            self._writer.add_text("config", "    " + text.replace("\n", "\n    "))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        self._writer.flush()

    def finish(self, *, complete: bool) -> None:
        self._writer.close()


class WandB:
    """A run of Weights & Biases, in the project `WANDB_PROJECT` or `peclip`."""

    def __init__(self, module: Any, run: TrackedRun, left: Position) -> None:
        self.run_id = left.run_id or uuid.uuid4().hex[:8]
        self._run = module.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            id=self.run_id,
            resume="allow",
            dir=str(run.folder),
            config=dict(run.config),
            settings={"console": "off"},  # do not log the progress bar
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def flush(self) -> None:
        """Does nothing: wandb passes values to a separate process immediately."""

    def finish(self, *, complete: bool) -> None:
        self._run.finish(exit_code=0 if complete else 1)


class MLflow:
    """A run of MLflow, in the experiment `MLFLOW_EXPERIMENT_NAME` or `peclip`."""

    def __init__(self, module: Any, run: TrackedRun, left: Position) -> None:
        self._entities, self._client = module.entities, module.MlflowClient()
        self._waiting: list[Any] = []
        if left.run_id is not None:
            self.run_id = left.run_id
            self._client.update_run(self.run_id, status="RUNNING")
            return
        experiment = module.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        begun = self._client.create_run(experiment.experiment_id, run_name=run.name)
        self.run_id = begun.info.run_id
        params = [self._entities.Param(k, str(v)[:5000]) for k, v in flatten(run.config).items()]
        for start in range(0, len(params), _BATCH):
            self._client.log_batch(self.run_id, params=params[start : start + _BATCH])

    def log(self, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        self._waiting += [self._entities.Metric(k, v, now, step) for k, v in values.items()]
        if len(self._waiting) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._client.log_batch(self.run_id, metrics=self._waiting)
        self._waiting = []

    def finish(self, *, complete: bool) -> None:
        self.flush()
        self._client.set_terminated(self.run_id, "FINISHED" if complete else "KILLED")


class Trackio:
    """A run of trackio, in the project `TRACKIO_PROJECT` or `peclip`; runs are identified by name."""

    def __init__(self, module: Any, run: TrackedRun, left: Position) -> None:
        self.run_id = left.run_id or f"{run.name}-{uuid.uuid4().hex[:8]}"
        self._run = module.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=self.run_id,
            config=flatten(run.config),
            resume="allow",
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def flush(self) -> None:
        """Does nothing: trackio sends values in a background thread."""

    def finish(self, *, complete: bool) -> None:
        self._run.finish()


TRACKERS: dict[str, tuple[str, Callable[[Any, TrackedRun, Position], Tracker]]] = {
    "tensorboard": ("torch.utils.tensorboard", TensorBoard),
    "wandb": ("wandb", WandB),
    "mlflow": ("mlflow", MLflow),
    "trackio": ("trackio", Trackio),
}
"""Name for `--report-to` and the extra → module, and the class of its runs."""


def check_names(names: Sequence[str]) -> None:
    """Checks the tracker names.

    Raises:
        ConfigError: a name is unknown.
    """
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(
                f"Unknown tracker {name!r}; choose one or more of {', '.join(TRACKERS)}, "
                "separated by commas."
            )


def check_installed(names: Sequence[str]) -> None:
    """Checks that the libraries of trackers are installed, without importing them.

    Raises:
        MissingExtraError: one is not.
    """
    for name in names:
        module = "tensorboard" if name == "tensorboard" else TRACKERS[name][0]
        if not _is_installed(module):
            raise MissingExtraError(f"Reporting to {name}", name)


def _is_installed(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    return find_spec(module) is not None


def load_module(name: str) -> Any:
    """Imports the library of a tracker.

    Raises:
        MissingExtraError: it is not installed.
    """
    module = TRACKERS[name][0]
    try:
        return import_module(module)
    except ModuleNotFoundError:
        raise MissingExtraError(f"Reporting to {name}", name) from None
