"""Runs a configuration to its report: one fold, or all folds and their mean."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from peclip.data import find_benchmark
from peclip.runs.one_fold import FoldListener, RunContext, run_fold
from peclip.runs.recipe import RunConfig, to_yaml
from peclip.runs.run_files import COMMAND
from peclip.runs.run_files import CONFIG as CONFIG_FILE
from peclip.runs.run_folder import RunFolder
from peclip.runs.run_report import RunReport
from peclip.runs.splits import read_run_splits
from peclip.settings import load_settings
from peclip.training.state import claimed
from peclip.training.trackers import load_module
from peclip.weights.resolve import resolve


def run(config: RunConfig, place: RunContext, listen: FoldListener | None = None) -> RunReport:
    """Runs one fold, or every fold in a separate folder and then their mean; returns the report.

    Raises:
        UserError: the configuration is inconsistent, a file cannot be read or written, or training fails.
    """
    assert not config.stages, "see peclip.runs.stages"
    for tracker in config.report_to:
        load_module(tracker)  # report a missing one before anything is read
    folds = find_benchmark(config.data.dataset).fold_numbers()
    if not config.all_folds or folds == (None,):
        return RunReport((run_fold(config, place, listen),))
    top = RunFolder(place.folder)
    first = config.data.model_copy(update={"fold": folds[0]})
    # Errors in the data or the base model are reported before a folder is touched.
    read_run_splits(first, config.train)
    resolve(config.base, settings=load_settings())
    if place.resume:
        top.check_unchanged(config)
    with claimed(top.path) if place.world.is_main else nullcontext():
        if place.world.is_main:
            if not place.resume:
                top.begin(overwrite=place.overwrite)
            if not (top.path / CONFIG_FILE).is_file():  # nor of a stage that a resumed run begins
                top.write(CONFIG_FILE, to_yaml(config))
                top.write(COMMAND, place.command)
        return _run_folds(config, place, folds, listen)


def _run_folds(
    config: RunConfig,
    place: RunContext,
    folds: Sequence[int | None],
    listen: FoldListener | None,
) -> RunReport:
    reports = []
    for fold in folds:
        data = config.data.model_copy(update={"fold": fold})
        own = config.model_copy(update={"data": data, "all_folds": False})
        name = f"{place.name or place.folder.resolve().name}-fold-{fold}"
        folder = place.folder / f"fold-{fold}"
        here = replace(place, folder=folder, name=name, overwrite=False)
        place.world.wait()  # until the first rank has made the folders
        reports.append(run_fold(own, here, listen))
    report = RunReport(tuple(reports))
    if place.world.is_main:
        RunFolder(place.folder).write_report(report.to_dict())
    return report
