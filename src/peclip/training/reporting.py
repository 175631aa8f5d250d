"""Telling experiment trackers how a run goes, so that none of them can harm it."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from peclip.errors import ConfigError, TrainingError, UserError
from peclip.files import replacing
from peclip.training.progress import Hooks, Progress
from peclip.training.trackers import (
    TRACKERS,
    Position,
    TrackedRun,
    Tracker,
    check_names,
    flat,
    load_module,
)

_log = logging.getLogger(__name__)
SCORES = ("uar", "war", "macro_f1", "ece", "recall")
JOURNAL = "trackers.json"


class Trackers:
    """Tells trackers what happens. One that fails on the way is left out from then on, with a warning.

    Args:
        run: what they are to show.
        warn: is given the line of the warning.
        resume: go on with the runs in the trackers that the folder knows.
    """

    def __init__(self, run: TrackedRun, warn: Callable[[str], None], *, resume: bool) -> None:
        self._run, self._warn = run, warn
        self._positions = _read_journal(run.folder) if resume else {}
        self._running: dict[str, Tracker] = {}

    def start(self, name: str) -> None:
        """Begins the run in a tracker, or goes on with it where the folder holds one.

        Raises:
            UserError: its library is not installed, or it does not start.
        """
        position = self._positions.setdefault(name, Position())
        try:
            self._run.folder.mkdir(parents=True, exist_ok=True)
            with contextlib.redirect_stdout(sys.stderr):  # standard output is for data
                tracker = TRACKERS[name][1](load_module(name), self._run, position)
        except UserError:
            raise
        except Exception as error:  # every tracker has failures of its own
            raise TrainingError(
                f"{name} does not start: {_line(error)} The training did not begin. Put it right and use "
                f"--resume, with --report-to none or others if it is to go on without {name}."
            ) from None
        position.run_id = tracker.run_id
        self._running[name] = tracker
        self._keep()

    def watch(self, hooks: Hooks) -> Hooks:
        """Returns hooks that call those that are given, and then the trackers."""

        def on_step(progress: Progress) -> None:
            hooks.on_step(progress)
            rates = {f"lr/{part}": rate for part, rate in progress.rates.items()}
            step = progress.epoch * progress.steps + progress.step
            self._log({"step/loss": progress.loss, **rates}, step)

        def on_epoch(progress: Progress) -> None:
            hooks.on_epoch(progress)
            self.log_epochs(progress.history)

        return replace(hooks, on_step=on_step, on_epoch=on_epoch)

    def log_epochs(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Tells every tracker the epochs that it does not know, each once."""
        for name in list(self._running):
            position = self._positions[name]
            for entry in history[position.epoch :]:
                parts = {
                    key: entry[key] for key in ("epoch", "train", "val", "test") if key in entry
                }
                # What the journal says to be known must be written, or a SIGKILL would lose it for ever.
                if not self._tell(name, _numbers(parts), entry["step"], flush=True):
                    break
                position.epoch, position.step = entry["epoch"], max(position.step, entry["step"])
        self._keep()

    def log_report(self, report: Mapping[str, Any]) -> None:
        """Tells every tracker the scores of a report, whose keys are those of `Report.to_dict`."""
        scores = {key: report[key] for key in SCORES if key in report}
        for name in list(self._running):
            self._tell(name, _numbers({"report": scores}), self._positions[name].step)

    def finish(self, *, complete: bool) -> None:
        """Ends the runs of all trackers, or leaves them to be resumed."""
        for name, tracker in list(self._running.items()):
            with self._watched(name):
                tracker.finish(complete=complete)
        self._running.clear()
        self._keep()

    def _log(self, values: Mapping[str, float], step: int) -> None:
        for name in list(self._running):
            position = self._positions[name]
            # A resumed run does some steps again, with the same numbers.
            if step > position.step and self._tell(name, values, step):
                position.step = step

    def _tell(
        self, name: str, values: Mapping[str, float], step: int, *, flush: bool = False
    ) -> bool:
        """Returns whether the tracker took the values."""
        with self._watched(name):
            self._running[name].log(values, step)
            if flush:
                self._running[name].flush()
        return name in self._running

    @contextlib.contextmanager
    def _watched(self, name: str) -> Iterator[None]:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except Exception as error:  # no failure of a tracker may cost the training
            del self._running[name]
            self._warn(f"{name} failed and is left out from here on: {_line(error)}")

    def _keep(self) -> None:
        if not self._positions:
            return
        held = {name: asdict(position) for name, position in self._positions.items()}
        path = self._run.folder / JOURNAL
        try:
            with replacing(path) as partial:
                partial.write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise TrainingError(
                f"{str(path)!r} cannot be written: {error.strerror}. Make room; what was saved before is "
                "whole, and --resume goes on from it."
            ) from None


@contextlib.contextmanager
def reporting(
    names: Sequence[str], run: TrackedRun, warn: Callable[[str], None], *, resume: bool
) -> Iterator[Trackers]:
    """Has trackers follow what happens in the block.

    Raises:
        UserError: a tracker is not known, not installed, or does not start.
    """
    check_names(names)
    trackers = Trackers(run, warn, resume=resume)
    try:
        for name in dict.fromkeys(names):
            trackers.start(name)
        yield trackers
    except BaseException:
        with contextlib.suppress(UserError):  # what went wrong first is what is said
            trackers.finish(complete=False)
        raise
    trackers.finish(complete=True)


@contextlib.contextmanager
def following(
    names: Sequence[str],
    run_dir: str | Path | None,
    config: Mapping[str, Any],
    hooks: Hooks | None,
    *,
    resume: bool,
) -> Iterator[Hooks]:
    """Yields hooks with which trackers follow a training that keeps its files in `run_dir`.

    Raises:
        ConfigError: there are trackers and no folder.
        UserError: as `reporting`.
    """
    if names and run_dir is None:
        raise ConfigError("report_to needs run_dir: the trackers keep their place in that folder.")
    folder = Path(run_dir or ".")
    run = TrackedRun(folder.resolve().name, folder, config)
    with reporting(names, run, _log.warning, resume=resume) as trackers:
        yield trackers.watch(hooks or Hooks())


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers among nested values; the recall of a class without videos is none."""
    return {name: value for name, value in flat(values, "/").items() if value is not None}


def _line(error: Exception) -> str:
    """Returns an exception as one short sentence."""
    text = " ".join(str(error).split())[:300].removesuffix(".")
    return f"{type(error).__name__}: {text}." if text else f"{type(error).__name__}."


def _read_journal(folder: Path) -> dict[str, Position]:
    path = folder / JOURNAL
    if not path.is_file():
        return {}
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return {name: Position(**values) for name, values in held.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        raise TrainingError(
            f"{str(path)!r} is damaged, so the runs of the trackers cannot be gone on with. Remove it: they "
            "begin anew."
        ) from None
