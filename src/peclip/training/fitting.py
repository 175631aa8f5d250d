"""Training from splits; used by `Recognizer.fit` and `peclip train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from peclip.data.samples import Split
from peclip.data.splits import carve_validation
from peclip.errors import ConfigError
from peclip.models.loaded import LoadedModel
from peclip.nn.stem import stems_of
from peclip.training.calibration import OperatingPoint, operating_point
from peclip.training.checks import check_streams, check_validation
from peclip.training.config import TrainConfig
from peclip.training.evaluate import evaluate, to_tensors
from peclip.training.prior import training_prior
from peclip.training.progress import Hooks, Progress
from peclip.training.runtime import Runtime
from peclip.training.state import BEST, STATES, writing
from peclip.training.teacher import load_teacher
from peclip.training.trainer import TrainResult, train_model
from peclip.training.videos import videos_of
from peclip.weights.checkpoint import save_model


def fit(
    loaded: LoadedModel,
    splits: tuple[Split, Split | None],
    config: TrainConfig,
    runtime: Runtime,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    hooks: Hooks | None = None,
) -> TrainResult:
    """Trains a network in place on `splits`, (training, selection); see `train_model`.

    Without a second split, a part of the first is held out for it, if the epoch is selected on it.
    """
    if resume and run_dir is None:
        raise ConfigError("resume requires run_dir, the folder of the saved state.")
    train, val = splits
    if val is None and config.select_on == "val":
        train, val = carve_validation(train, config.val_fraction, config.seed)
    check_validation(config, val)
    check_streams(loaded.config, config, train, val, world=runtime.world)
    loaded = begin_training(loaded, config)
    data = videos_of(train, loaded, config)
    prior = None if config.prior == "none" else training_prior(data, loaded.labels, config)
    folder, hooks = None if run_dir is None else Path(run_dir), hooks or Hooks()
    result = train_model(
        loaded,
        data,
        val,
        config,
        runtime,
        state_folder=None if folder is None else folder / STATES,
        resume=resume,
        hooks=hooks if folder is None else _saving_best(hooks, loaded, folder, runtime),
        teacher=None if config.teacher is None else load_teacher(config.teacher, loaded, runtime),
    )
    if prior is not None:
        loaded.network.prior, loaded.network.label_frequencies = prior.targets, prior.videos
        loaded = loaded.derive(prior=prior.targets, label_frequencies=prior.videos)
    if val is None or not (config.calibrate or config.prior == "fit"):
        return replace(result, config=loaded.config)
    point = choose_point(loaded, val, config, runtime)
    network = loaded.network
    network.temperature *= point.temperature
    network.prior_weight = point.prior_weight
    loaded = loaded.derive(temperature=network.temperature, prior_weight=network.prior_weight)
    return replace(result, config=loaded.config, operating_point=point.to_dict(val.title))


def _saving_best(hooks: Hooks, loaded: LoadedModel, folder: Path, runtime: Runtime) -> Hooks:
    """Returns hooks that also save the model of the best epoch, on the first rank."""

    def on_best(progress: Progress) -> None:
        if runtime.world.is_main:
            with writing(folder):
                save_model(loaded.network, loaded.config, folder / BEST)
        hooks.on_best(progress)

    return replace(hooks, on_best=on_best)


def choose_point(
    loaded: LoadedModel, val: Split, config: TrainConfig, runtime: Runtime
) -> OperatingPoint:
    """Chooses temperature and prior weight of a trained model that has no prior weight yet."""
    return operating_point(
        *to_tensors(evaluate(loaded, val, runtime), loaded.labels),
        loaded.config if config.prior == "fit" else None,
        cost=config.prior_cost,
        calibrate=config.calibrate,
    )


def begin_training(loaded: LoadedModel, config: TrainConfig) -> LoadedModel:
    """Makes the backbone trainable if it has a learning rate, and freezes it otherwise.

    The prior, the face ranges and the baselines of the base model are removed, because they do not describe the videos of this
    training.

    Returns:
        The network with the configuration of a model whose weights may differ from the published ones.
    """
    network, trained = loaded.network, config.lr.backbone > 0
    for parameter in network.parameter_groups().get("backbone", ()):
        parameter.requires_grad_(trained)
    if config.stem.frozen:
        for stem in stems_of(network):
            for parameter in stem.trunk(config.stem.frozen):
                parameter.requires_grad_(False)
    network.prior = network.label_frequencies = network.prior_weight = None
    loaded = loaded.derive(
        prior=None, label_frequencies=None, prior_weight=None, face_ranges={}, baselines={}
    )
    return loaded.derive(pretrained=None) if trained else loaded
