"""Checks of a run before torch is imported, which takes seconds."""

from __future__ import annotations

from pathlib import Path

from peclip.data import find_benchmark
from peclip.recognizers.early_checks import check_computation, check_model
from peclip.runs.recipe import RunConfig, model_config
from peclip.runs.run_files import replaceable_files
from peclip.runs.splits import read_run_splits
from peclip.training.trackers import check_installed


def check_run(
    config: RunConfig, folder: Path, device: str, *, resume: bool, overwrite: bool
) -> None:
    """Checks the device, trackers, model, data and folder of a run; the first fold and stage stand for the others.

    Raises:
        UserError: one of them cannot be used.
    """
    check_computation(device, config.train.precision)
    check_installed(config.report_to)
    if (base := check_model(config.base)) is not None:
        # Their labels are those of the data set, which are checked when it has been read.
        changes = {name: value for name, value in config.model.items() if name != "label_texts"}
        model_config(base, changes)
    folds = find_benchmark(config.data.dataset).fold_numbers() if config.all_folds else ()
    number = folds[0] if folds else config.data.fold
    read_run_splits(config.data.model_copy(update={"fold": number}), config.train)
    if not resume:
        replaceable_files(folder, overwrite=overwrite)
