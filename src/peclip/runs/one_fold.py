"""One fold of a run: data, model, training, predictions, report."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from peclip.data import Split
from peclip.data.preparation.crop_record import crop_mismatch, left_out
from peclip.data.streams.audio import silent_warning
from peclip.metrics.scoring import score
from peclip.recognizers.recognizer import Recognizer
from peclip.runs.leakage import known_warning, recordings_warning, report_warning
from peclip.runs.recipe import RunConfig, to_yaml
from peclip.runs.run_files import COMMAND, CONFIG, read_report
from peclip.runs.run_folder import RunFolder
from peclip.runs.run_report import ModelReport
from peclip.runs.splits import RunSplits, read_run_splits
from peclip.runs.training_story import training_story
from peclip.runs.warm_start import base_recognizer
from peclip.runtime import device_name
from peclip.training.checks import batch_size_warning, check_streams
from peclip.training.distributed import SINGLE, World
from peclip.training.evaluate import evaluate
from peclip.training.fitting import fit
from peclip.training.progress import Hooks, Progress
from peclip.training.reporting import reporting
from peclip.training.runtime import Runtime
from peclip.training.state import claimed, writing
from peclip.training.trackers import TrackedRun
from peclip.training.trainer import TrainResult
from peclip.weights.checkpoint import save_model
from peclip.weights.folder import MODEL
from peclip.weights.model_card import write_card

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunContext:
    """The device and folder of a run."""

    folder: Path
    device: torch.device
    world: World = SINGLE
    command: str = ""
    overwrite: bool = False
    resume: bool = False
    name: str = ""
    """Name in trackers; by default the folder's."""


FoldListener = Callable[[str], Hooks]
"""Title of the training videos → hooks that follow the training."""


def run_fold(
    config: RunConfig, place: RunContext, listen: FoldListener | None = None
) -> ModelReport:
    """Trains one model, predicts the reported videos, and fills the run folder."""
    folder, world = RunFolder(place.folder), place.world
    if place.resume:
        folder.check_unchanged(config)
    if place.resume and folder.is_finished:
        if world.is_main:
            _log.warning("%s is already complete; skipping training", place.folder)
        return read_report(place.folder)
    splits = read_run_splits(config.data, config.train)
    recognizer, fresh = base_recognizer(config, splits.train.labels, place.device)
    parts = (splits.train, splits.val, splits.test)
    check_streams(recognizer.config, config.train, *parts, world=world)
    with claimed(folder.path) if world.is_main else nullcontext():
        resume = place.resume and folder.can_resume
        if world.is_main:
            _begin(folder, config, place, recognizer, splits)
            done = "resuming" if resume else "training"
            folder.log(f"{done} {config.base} on {splits.train.title}")
            _log_start(folder, config, world, recognizer, splits, fresh)
        return _train(config, place, recognizer, splits, listen, resume=resume)


def _train(
    config: RunConfig,
    place: RunContext,
    recognizer: Recognizer,
    splits: RunSplits,
    listen: FoldListener | None,
    *,
    resume: bool,
) -> ModelReport:
    """Trains the model and predicts the reported videos, followed by the trackers."""
    folder, world = RunFolder(place.folder), place.world
    told = config.model_dump(mode="json") | {"model": recognizer.config.model_dump(mode="json")}
    tracked = TrackedRun(place.name or place.folder.resolve().name, place.folder, told)
    names = config.report_to if world.is_main else ()
    with (
        folder.logging_failures() if world.is_main else nullcontext(),
        reporting(names, tracked, partial(_warn, folder), resume=place.resume) as trackers,
    ):
        hooks = listen(splits.train.title) if listen is not None else Hooks()
        result = fit(
            recognizer.loaded,
            (splits.train, splits.val),
            config.train,
            Runtime.of(config.train, place.device, world),
            run_dir=place.folder,
            resume=resume,
            hooks=trackers.watch(_hooks(folder if world.is_main else None, hooks)),
        )
        recognizer.loaded = replace(recognizer.loaded, config=result.config)
        report = _finish(config, place, recognizer, splits, result, hooks)
        # Including the last one of a run that stopped right after it.
        trackers.log_epochs(result.history)
        trackers.log_report(report.to_dict())
    return report


def _begin(
    folder: RunFolder,
    config: RunConfig,
    place: RunContext,
    recognizer: Recognizer,
    splits: RunSplits,
) -> None:
    if not place.resume:
        folder.begin(overwrite=place.overwrite)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write(CONFIG, to_yaml(config))
    if not (folder.path / COMMAND).exists():  # keep the command that started a resumed run
        folder.write(COMMAND, place.command)
    folder.write_environment(
        device_name(place.device),
        precision=recognizer.precision,
        processes=place.world.size,
        model=recognizer.config.model_dump(mode="json"),
        videos={name: len(split) for name, split in splits.found.items()},
    )


def _log_start(
    folder: RunFolder,
    config: RunConfig,
    world: World,
    recognizer: Recognizer,
    splits: RunSplits,
    fresh: Sequence[str],
) -> None:
    """Logs what is special about the weights, the videos and the settings of a run."""
    if fresh:
        modules = Counter(name.rpartition(".")[0] for name in fresh)
        # A single one may be the only new parameter of its module, such as the positions of a temporal head.
        new = {name if modules[m := name.rpartition(".")[0]] == 1 else m for name in fresh}
        new = {re.sub(r"\.\d+\.", ".*.", name) for name in new}
        folder.log(f"randomly initialised (not in the base model): {', '.join(sorted(new))}")
    for note in splits.notes:
        folder.log(note)
    for said in (
        crop_mismatch(config.data.root, recognizer.config.preprocess),
        left_out(config.data.root),
        recordings_warning(config.data, splits),
        batch_size_warning(recognizer.config, config.train, world),
        silent_warning(recognizer.config, splits.found.values()),
    ):
        if said is not None:
            _warn(folder, said)
    if config.data.captions is not None and not recognizer.config.reads_captions:
        _warn(folder, "the model does not read captions; the given captions are ignored")


def _warn(folder: RunFolder, line: str) -> None:
    folder.log(f"warning: {line}")
    _log.warning(line)


def _hooks(folder: RunFolder | None, hooks: Hooks) -> Hooks:
    """Returns hooks that also fill the run folder."""

    def on_epoch(progress: Progress) -> None:
        hooks.on_epoch(progress)
        if folder is None:
            return
        folder.write_history(progress.history)
        entry = progress.history[-1]
        parts = [
            f"{name} loss {entry[name]['loss']:.4f} UAR {entry[name]['uar']:.2f} WAR {entry[name]['war']:.2f}"
            for name in ("train", "val", "test")
            if name in entry
        ]
        best = " (best so far)" if progress.best_epoch == entry["epoch"] else ""
        folder.log(f"epoch {entry['epoch']} of {progress.epochs}: {'; '.join(parts)}{best}")

    return replace(hooks, on_epoch=on_epoch)


def _finish(
    config: RunConfig,
    place: RunContext,
    recognizer: Recognizer,
    splits: RunSplits,
    result: TrainResult,
    hooks: Hooks,
) -> ModelReport:
    """Predicts the reported videos, and writes all results of a run."""
    folder, is_main = RunFolder(place.folder), place.world.is_main
    if is_main:
        with writing(folder.path):
            save_model(recognizer.model, recognizer.config, folder.path / MODEL)
        # A run may have stopped between writing the state and this file.
        folder.write_history(result.history)
        folder.draw_curve(result.history)
    report = ModelReport(
        dataset=config.data.dataset,
        fold=config.data.fold,
        base=config.base,
        selected_on=result.selected_on,
        selected_epoch=result.selected_epoch,
        epochs=len(result.history),
        stopped_early=result.stopped_early,
        targets=config.data.targets,
        notes=splits.notes,
        operating_point=result.operating_point,
        warning=_doubts(config, splits),
    )
    if splits.reported is not None:
        report = _with_scores(report, splits.reported, config, place, recognizer, hooks)
    if is_main:
        _write_card(folder, recognizer, training_story(config, splits, report))
        folder.write_report(report.to_dict())
        folder.log("finished")
    place.world.wait()
    return report


def _with_scores(
    report: ModelReport,
    split: Split,
    config: RunConfig,
    place: RunContext,
    recognizer: Recognizer,
    hooks: Hooks,
) -> ModelReport:
    """Predicts the reported videos, and writes the predictions."""
    folder, is_main = RunFolder(place.folder), place.world.is_main
    runtime = Runtime.of(config.train, place.device, place.world)
    table = evaluate(recognizer.loaded, split, runtime, hooks.follow("testing", len(split)))
    scores = score(table)
    captions = split.num_captions if recognizer.config.reads_captions else None
    if is_main:
        if captions is not None and captions < len(split):
            silent = len(split) - captions
            _warn(folder, f"{silent} videos in {split.title} had no caption")
        folder.write_predictions(table, scores)
    return replace(report, reported_on=split.title, scores=scores, captions=captions)


def _doubts(config: RunConfig, splits: RunSplits) -> str | None:
    """Returns the warnings about the scores of a run, without duplicates."""
    said = [report_warning(config.train, splits), recordings_warning(config.data, splits)]
    teacher = config.train.teacher
    if splits.reported is not None:
        names = [config.base, *([] if teacher is None else [teacher.model])]
        said += [known_warning(name, splits.reported, config.data) for name in names]
    return " ".join(dict.fromkeys(filter(None, said))) or None


def _write_card(folder: RunFolder, recognizer: Recognizer, story: str) -> None:
    """Writes a card next to the weights, which are saved before testing, where errors may occur."""
    with writing(folder.path):
        write_card(
            folder.path / MODEL,
            folder.path.name,
            recognizer.config,
            recognizer.model.texts,
            full=False,
            story=story,
        )
