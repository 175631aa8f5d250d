"""One fold of a run: data, model, training, predictions, report."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from peclip.data import Split
from peclip.data.preparation.crop_record import left_out, unlike
from peclip.labels import LabelSet
from peclip.metrics.scoring import score
from peclip.recognizers.loading import recognizer_class
from peclip.recognizers.recognizer import Recognizer
from peclip.runs.leakage import known_warning, report_warning
from peclip.runs.recipe import RunConfig, model_config, to_yaml
from peclip.runs.run_folder import COMMAND, RunFolder, read_report
from peclip.runs.run_folder import CONFIG as CONFIG_FILE
from peclip.runs.splits import RunSplits, read_run_splits
from peclip.runs.warm_start import load_stem, load_what_fits
from peclip.runtime import choose_precision, device_name
from peclip.settings import load_settings
from peclip.training.checks import batch_size_warning, check_streams
from peclip.training.distributed import SINGLE, World
from peclip.training.evaluate import evaluate
from peclip.training.fitting import fit
from peclip.training.progress import Hooks, Progress
from peclip.training.reporting import reporting
from peclip.training.runtime import Runtime
from peclip.training.state import writing
from peclip.training.trackers import TrackedRun
from peclip.training.trainer import TrainResult
from peclip.weights.checkpoint import MODEL, load_model, save_model
from peclip.weights.model_card import write_card
from peclip.weights.resolve import resolve

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """The device and folder of a run."""

    folder: Path
    device: torch.device
    world: World = SINGLE
    command: str = ""
    overwrite: bool = False
    resume: bool = False
    name: str = ""
    """Name in trackers; by default the folder's."""


Listener = Callable[[str], Hooks]
"""Title of the training videos → hooks that follow the training."""


def run_fold(config: RunConfig, place: Place, listen: Listener | None = None) -> dict[str, Any]:
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
    resume = place.resume and folder.can_resume
    if world.is_main:
        _begin(folder, config, place, recognizer, splits)
        folder.log(f"{'resuming' if resume else 'training'} {config.base} on {splits.train.title}")
        if fresh:
            new = {re.sub(r"\.\d+\.", ".*.", name).rpartition(".")[0] for name in fresh}
            folder.log(
                f"missing from the base model, randomly initialised: {', '.join(sorted(new))}"
            )
        for note in _notes(*parts):
            folder.log(note)
        for said in (
            unlike(config.data.root, recognizer.config.preprocess),
            left_out(config.data.root),
            batch_size_warning(recognizer.config, config.train, world),
        ):
            if said is not None:
                _warn(folder, said)
        if config.data.captions is not None and not recognizer.config.reads_captions:
            _warn(folder, "the model reads no captions: ignoring the given ones")
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
        hooks.on_phase("testing")
        report = _finish(config, place, recognizer, splits, result)
        trackers.log_epochs(
            result.history
        )  # including the last one of a run that stopped right after it
        trackers.log_report(report)
    return report


def base_recognizer(
    config: RunConfig, labels: LabelSet, device: torch.device
) -> tuple[Recognizer, list[str]]:
    """Loads the base model, with the changes of the run and the labels of the data.

    Returns:
        The model, and the names of trained parameters missing from its base.
    """
    settings = load_settings()
    base = resolve(config.base, settings=settings)
    own = base.config
    if set(labels) != set(own.labels):  # otherwise keep the order of the base
        own = own.with_labels(labels.names, {})
    changed = replace(base, config=model_config(own, config.model))
    fresh: list[str] = []
    seed = config.train.seed
    if base.tensors is None or not config.model:
        model = load_model(changed, settings=settings, seed=seed)
    else:
        model = load_model(replace(changed, tensors=None), settings=settings, seed=seed)
        fresh = load_what_fits(model, changed.config, base.tensors)
    if config.train.stem.weights is not None:
        load_stem(model, config.train.stem.weights)
    recognizer = recognizer_class(changed.config.architecture)(
        model,
        changed.config,
        name=base.name,
        revision=base.revision,
        device=device,
        precision=choose_precision(config.train.precision, device),
    )
    return recognizer, fresh


def _begin(
    folder: RunFolder, config: RunConfig, place: Place, recognizer: Recognizer, splits: RunSplits
) -> None:
    if not place.resume:
        folder.begin(overwrite=place.overwrite)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write(CONFIG_FILE, to_yaml(config))
    if not (
        folder.path / COMMAND
    ).exists():  # the command that started the run, not the one that resumed it
        folder.write(COMMAND, place.command)
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    folder.write_environment(
        device_name(place.device),
        precision=recognizer.precision,
        processes=place.world.size,
        model=recognizer.config.model_dump(mode="json"),
        videos={name: len(part) for name, part in parts.items() if part is not None},
    )


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
    config: RunConfig, place: Place, recognizer: Recognizer, splits: RunSplits, result: TrainResult
) -> dict[str, Any]:
    """Predicts the reported videos, and writes all results of a run."""
    report: dict[str, Any] = {
        "dataset": config.data.dataset,
        "fold": config.data.fold,
        "base": config.base,
        "selected_on": result.selected_on,
        "selected_epoch": result.selected_epoch,
        "epochs": len(result.history),
        "stopped_early": result.stopped_early,
        "targets": config.data.targets,
    }
    if notes := _notes(splits.train, splits.val, splits.test):
        report["notes"] = notes
    if result.operating_point is not None:
        report["operating_point"] = result.operating_point
    reported = splits.test or splits.val
    folder = RunFolder(place.folder)
    if place.world.is_main:
        with writing(folder.path):
            save_model(recognizer.model, recognizer.config, folder.path / MODEL)
        folder.write_history(
            result.history
        )  # a run may have stopped between writing the state and this file
        folder.draw_curve(result.history)
    warning = _doubts(config, splits)
    if warning is not None:
        report["warning"] = warning
    if reported is not None:
        runtime = Runtime.of(config.train, place.device, place.world)
        table = evaluate(recognizer.loaded, reported, runtime)
        found = score(table)
        report |= {"reported_on": reported.title, **found.to_dict()}
        if recognizer.config.reads_captions:
            report["captions"] = reported.num_captions
            if reported.num_captions < len(reported) and place.world.is_main:
                silent = len(reported) - reported.num_captions
                _warn(folder, f"{silent} of the videos of {reported.title} had no caption")
        if place.world.is_main:
            folder.write_predictions(table, found)
    if place.world.is_main:
        _write_card(folder, recognizer, _story(config, splits, report))
        folder.write_report(report)
        folder.log("finished")
    place.world.wait()
    return report


def _notes(*splits: Split | None) -> list[str]:
    """Returns the notes on the videos of a run, without duplicates."""
    return list(
        dict.fromkeys(note for split in splits if split is not None for note in split.notes)
    )


def _doubts(config: RunConfig, splits: RunSplits) -> str | None:
    """Returns the warnings about the scores of a run, without duplicates."""
    said = [report_warning(config.train, splits)]
    reported, teacher = splits.test or splits.val, config.train.teacher
    if reported is not None:
        names = [config.base, *([] if teacher is None else [teacher.model])]
        said += [known_warning(name, reported, config.data) for name in names]
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


def _story(config: RunConfig, splits: RunSplits, report: dict[str, Any]) -> str:
    """Returns the model card's text on training and scores."""
    epoch = "the last one"
    if splits.val is not None and config.train.select_on != "last":
        epoch = f"the one with the best {config.train.select_by.upper()} on {splits.val.title}"
    told = [
        f"It was trained on the {len(splits.train):,} videos of {splits.train.title}, from {config.base}. It "
        f"has the weights of epoch {report['selected_epoch']} of {report['epochs']}, {epoch}."
    ]
    point = report.get("operating_point")
    if point is not None and config.train.prior == "fit":
        told.append(
            f"Its predictions are adjusted by its prior with the weight {point['prior_weight']:.3g}, chosen by "
            f"{point['criterion']} on {point['chosen_on']}."
        )
    if "war" in report:
        told.append(
            f"On the {report['num_videos']:,} videos of {report['reported_on']} it has UAR "
            f"{report['uar']:.2f} %, WAR {report['war']:.2f} %."
        )
    told += report.get("notes", [])
    return "\n".join([*told, report["warning"]] if "warning" in report else told)
