"""A run in stages, each of which starts from the model of the one before: expressions from stills, then video.

S2D and S4D (Chen et al., 2024 and 2025) gain from this order; docs/training.md has the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from peclip.config import ModelConfig
from peclip.data import find_benchmark
from peclip.errors import UserError
from peclip.models.loaded import LoadedModel
from peclip.runs.all_folds import run as run_plain
from peclip.runs.one_fold import FoldListener, RunContext
from peclip.runs.recipe import (
    RunConfig,
    StageConfig,
    merged,
    model_config,
    stage_config,
    to_yaml,
)
from peclip.runs.run_files import COMMAND
from peclip.runs.run_files import CONFIG as CONFIG_FILE
from peclip.runs.run_folder import RunFolder
from peclip.runs.run_report import RunReport, StageReport
from peclip.runs.run_results import training_minutes
from peclip.runs.splits import read_run_splits
from peclip.settings import load_settings
from peclip.training.checks import check_streams, check_validation
from peclip.training.distributed import World
from peclip.training.fitting import begin_training
from peclip.training.optim import make_optimizers
from peclip.training.state import claimed, writing
from peclip.training.teacher import find_teacher
from peclip.training.trackers import load_module
from peclip.weights.folder import stage_name
from peclip.weights.parameter_counts import outline
from peclip.weights.resolve import resolve


def run(config: RunConfig, place: RunContext, listen: FoldListener | None = None) -> RunReport:
    """Runs a configuration to its report: each stage in a separate folder or, without stages, one run.

    A resumed run leaves finished stages as they are. The report is that of the last stage, and lists all of them.

    Raises:
        UserError: the configuration is inconsistent, a file cannot be read or written, or training fails.
    """
    if not config.stages:
        return run_plain(config, place, listen)
    for tracker in config.report_to:
        load_module(tracker)
    top = RunFolder(place.folder)
    if place.resume:
        top.check_unchanged(config)
    folders = [
        place.folder / stage_name(number, stage.name)
        for number, stage in enumerate(config.stages, start=1)
    ]
    configs, models = _stage_configs(config, folders)
    # Errors in any stage are reported before a folder is touched, and before the first stage takes hours.
    for number, stage in enumerate(config.stages):
        if not RunFolder(folders[number]).is_finished:
            with _naming(stage):
                _check(configs[number], models[number], folders[:number], place.world)
    with claimed(top.path) if place.world.is_main else nullcontext():
        if place.world.is_main:
            if not place.resume:
                top.begin(overwrite=place.overwrite)
                top.write(CONFIG_FILE, to_yaml(config))
                top.write(COMMAND, place.command)
            with writing(top.path):
                for folder in folders:  # all of them: the last one is the model of the run
                    folder.mkdir(exist_ok=True)
        return _run_stages(configs, config.stages, place, folders, listen)


def _stage_configs(
    config: RunConfig, folders: Sequence[Path]
) -> tuple[list[RunConfig], list[ModelConfig]]:
    """Returns the configuration of every stage and of its model, with the labels of the base.

    What a stage changes in the model, the next one changes back.
    """
    settings = load_settings()
    configs: list[RunConfig] = []
    models: list[ModelConfig] = []
    before, changed = config.base, set[str]()
    original = own = resolve(config.base, settings=settings).config
    for number, (stage, folder) in enumerate(zip(config.stages, folders, strict=True)):
        with _naming(stage):
            if stage.base is not None:
                original = own = resolve(stage.base, settings=settings).config
                changed = set()
            found = stage_config(config, number, before)
            values = original.model_dump(mode="json")
            model = merged({key: values[key] for key in values if key in changed}, found.model)
            own = model_config(own, model)
        configs.append(found.model_copy(update={"model": model}))
        models.append(own)
        before, changed = str(folder), changed | set(stage.model)
    return configs, models


def _run_stages(
    configs: Sequence[RunConfig],
    stages: Sequence[StageConfig],
    place: RunContext,
    folders: Sequence[Path],
    listen: FoldListener | None,
) -> RunReport:
    done: list[StageReport] = []
    for config, stage, folder in zip(configs, stages, folders, strict=True):
        place.world.wait()  # until the first rank has made the folders
        name = f"{place.folder.resolve().name}-{stage.name}"
        report = run_plain(
            config, replace(place, folder=folder, name=name, overwrite=False), listen
        )
        done.append(StageReport(stage.name, report, training_minutes(folder)))
    whole = replace(done[-1].report, stages=tuple(done))
    if place.world.is_main:
        RunFolder(place.folder).write_report(whole.to_dict())
    return whole


def _check(config: RunConfig, model: ModelConfig, earlier: Sequence[Path], world: World) -> None:
    """Reads the videos of a stage, and checks that its model can be built and can learn from them.

    A teacher that an earlier stage trains is checked when it exists.
    """
    data = config.data
    if config.all_folds:
        first = find_benchmark(data.dataset).fold_numbers()[0]
        data = data.model_copy(update={"fold": first})
    splits = read_run_splits(data, config.train)
    check_validation(config.train, splits.val)
    check_streams(model, config.train, splits.train, splits.val, splits.test, world=world)
    network = begin_training(LoadedModel.of(outline(model), model), config.train).network
    make_optimizers(network, config.train)
    network.drop_path(config.train.drop_path)
    teacher = config.train.teacher
    if teacher is not None and not any(Path(teacher.model).is_relative_to(f) for f in earlier):
        find_teacher(teacher, model.with_labels(splits.train.labels.names, {}))


@contextmanager
def _naming(stage: StageConfig) -> Iterator[None]:
    """Adds the name of the stage to an error."""
    try:
        yield
    except UserError as error:
        said = str(error).removeprefix(f"Stage {stage.name}: ")
        raise type(error)(f"Stage {stage.name}: {said}") from None
