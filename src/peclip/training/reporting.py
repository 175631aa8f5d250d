"""Reports a run to experiment trackers; a failing tracker never stops it."""

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
from peclip.text.comparison import flatten
from peclip.text.parsing import parse_json
from peclip.training.progress import Hooks, Progress
from peclip.training.trackers import (
    JOURNAL,
    TRACKERS,
    Position,
    TrackedRun,
    Tracker,
    check_names,
    load_module,
)

_log = logging.getLogger(__name__)
SCORES = ("uar", "war", "macro_f1", "ece", "recall")


class Trackers:
    """Reports to trackers. One that fails is disabled, with a warning.

    Args:
        run: the run to report.
        warn: called with the warning.
        resume: resume the tracker runs recorded in the folder.
    """

    def __init__(self, run: TrackedRun, warn: Callable[[str], None], *, resume: bool) -> None:
        self._run, self._warn = run, warn
        self._positions = _read_journal(run.folder) if resume else {}
        self._running: dict[str, Tracker] = {}

    def start(self, name: str) -> None:
        """Starts the run in a tracker, or resumes the one recorded in the folder.

        Raises:
            UserError: its library is not installed, or it failed to start.
        """
        position = self._positions.setdefault(name, Position())
        try:
            self._run.folder.mkdir(parents=True, exist_ok=True)
            with contextlib.redirect_stdout(sys.stderr):  # standard output is for data
                tracker = TRACKERS[name][1](load_module(name), self._run, position)
        except UserError:
            raise
        except Exception as error:  # trackers raise different types
            raise TrainingError(
                f"{name} failed to start: {_line(error)} Training has not started. Fix the "
                "problem and pass --resume, or pass --resume with --report-to none (or other "
                f"trackers) to train without {name}."
            ) from None
        position.run_id = tracker.run_id
        self._running[name] = tracker
        self._keep()

    def watch(self, hooks: Hooks) -> Hooks:
        """Returns hooks that call the given ones, then the trackers."""

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
        """Reports new epochs to every tracker, each once."""
        for name in list(self._running):
            position = self._positions[name]
            for entry in history[position.epoch :]:
                parts = {
                    key: entry[key] for key in ("epoch", "train", "val", "test") if key in entry
                }
                # Flush before the journal marks it as reported, or a SIGKILL would lose it forever.
                if not self._tell(name, _numbers(parts), entry["step"], flush=True):
                    break
                position.epoch, position.step = entry["epoch"], max(position.step, entry["step"])
        self._keep()

    def log_report(self, report: Mapping[str, Any]) -> None:
        """Reports the scores of a report, with the keys of `Report.to_dict`, to every tracker."""
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
            # A resumed run repeats some steps, with the same numbers.
            if step > position.step and self._tell(name, values, step):
                position.step = step

    def _tell(
        self, name: str, values: Mapping[str, float], step: int, *, flush: bool = False
    ) -> bool:
        """Returns whether the tracker accepted the values."""
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
        except Exception as error:  # a tracker failure must not stop the training
            del self._running[name]
            self._warn(f"{name} failed and is now disabled: {_line(error)}")

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
                f"{str(path)!r} cannot be written: {error.strerror}. Free up disk space; the last "
                "saved state is intact, and --resume continues from it."
            ) from None


@contextlib.contextmanager
def reporting(
    names: Sequence[str], run: TrackedRun, warn: Callable[[str], None], *, resume: bool
) -> Iterator[Trackers]:
    """Reports the run in the block to trackers.

    Raises:
        UserError: a tracker is unknown, not installed, or failed to start.
    """
    check_names(names)
    trackers = Trackers(run, warn, resume=resume)
    try:
        for name in dict.fromkeys(names):
            trackers.start(name)
        yield trackers
    except BaseException:
        with contextlib.suppress(UserError):  # report the first error
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
    """Yields hooks that report a training with its files in `run_dir` to trackers.

    Raises:
        ConfigError: there are trackers but no folder.
        UserError: as `reporting`.
    """
    if names and run_dir is None:
        raise ConfigError(
            "report_to requires run_dir, the folder in which the tracker journal is stored."
        )
    folder = Path(run_dir or ".")
    run = TrackedRun(folder.resolve().name, folder, config)
    with reporting(names, run, _log.warning, resume=resume) as trackers:
        yield trackers.watch(hooks or Hooks())


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers among nested values; the recall of a class without videos is `None`."""
    return {name: value for name, value in flatten(values, "/").items() if value is not None}


def _line(error: Exception) -> str:
    """Returns an exception as one short sentence."""
    text = " ".join(str(error).split())[:300].removesuffix(".")
    return f"{type(error).__name__}: {text}." if text else f"{type(error).__name__}."


def _read_journal(folder: Path) -> dict[str, Position]:
    path = folder / JOURNAL
    if not path.is_file():
        return {}
    try:
        held = parse_json(path.read_text(encoding="utf-8"))
        return {name: Position(**values) for name, values in held.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        raise TrainingError(
            f"{str(path)!r} is corrupt, so tracker runs cannot be resumed. Remove it to start new tracker "
            "runs."
        ) from None
