"""What identifies a training on resume, and the remedy in the error if it cannot be resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import exact, fresh, quick, run

from peclip.data import Sample, Split
from peclip.errors import ConfigError, TrainingError
from peclip.models.pe_clip import PEClipModel
from peclip.runs.recipe import RunConfig
from peclip.runs.run_files import CONFIG
from peclip.runs.run_folder import RunFolder
from peclip.training.progress import Hooks, Progress
from peclip.training.state import BEST
from peclip.weights.folder import CONFIG as MODEL_CONFIG


def with_first(split: Split, **changes: str) -> Split:
    """The split with another first sample."""
    first, *others = split.samples
    samples: list[Sample] = [replace(first, **changes), *others]  # type: ignore[arg-type]
    return split.with_samples(samples, split.split)


@pytest.mark.parametrize("changes", [{"id": "new"}, {"label": "happiness"}, {"caption": "Teeth."}])
def test_resuming_checks_the_validation_videos(
    videos: Split, tmp_path: Path, changes: dict[str, str]
) -> None:
    """The best value so far is of the old ones."""
    config = quick(epochs=1, select_on="val")
    val = videos.with_samples(videos.samples, "val")
    run(videos, config, val, state_folder=tmp_path)
    other = with_first(val, **changes)
    with pytest.raises(ConfigError, match=r"run with different videos to validate on\. "):
        run(videos, config, other, state_folder=tmp_path, resume=True)
    both = r"different videos to train on, different videos to validate on\. "
    with pytest.raises(ConfigError, match=both):
        run(with_first(videos, **changes), config, other, state_folder=tmp_path, resume=True)
    run(videos, config, val, state_folder=tmp_path, resume=True)


def test_resuming_checks_the_targets(videos: Split, tmp_path: Path) -> None:
    def voted(happiness: float) -> Split:
        target = (("happiness", happiness), ("anger", 1 - happiness))
        first, *others = videos.samples
        return videos.with_samples([replace(first, soft_target=target), *others])

    run(voted(0.8), quick(epochs=1), state_folder=tmp_path)
    for other in (voted(0.7), videos):
        with pytest.raises(ConfigError, match=r"different videos to train on\. "):
            run(other, quick(epochs=1), state_folder=tmp_path, resume=True)
    run(voted(0.8), quick(epochs=1), state_folder=tmp_path, resume=True)


def test_validation_videos_may_not_be_left_out(videos: Split, tmp_path: Path) -> None:
    val = videos.with_samples(videos.samples, "val")
    run(videos, quick(epochs=1), val, state_folder=tmp_path)
    with pytest.raises(ConfigError, match=r"different videos to validate on\. "):
        run(videos, quick(epochs=1), state_folder=tmp_path, resume=True)


def names_best(error: pytest.ExceptionInfo[Exception], folder: Path) -> bool:
    """Whether a message sends to the best weights of this folder, and else to none."""
    text = str(error.value)
    named = text.endswith(
        f" The new run can start from the best weights of this one (-m {folder / BEST})."
    )
    assert named or "best" not in text.replace(str(folder), "")
    return named


@pytest.mark.parametrize(
    ("select_on", "epoch", "named"), [("val", 2, True), ("val", 1, False), ("last", 2, False)]
)
def test_best_weights_are_named_where_there_are_any(
    videos: Split,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    select_on: str,
    epoch: int,
    named: bool,
) -> None:
    loss, done = PEClipModel.loss, [0]

    def broken(self: PEClipModel, output: object, targets: torch.Tensor) -> torch.Tensor:
        return loss(self, output, targets) * (float("nan") if done[0] == epoch - 1 else 1)  # type: ignore[arg-type]

    def on_epoch(progress: Progress) -> None:
        done[0] = progress.epoch

    monkeypatch.setattr(PEClipModel, "loss", broken)
    with pytest.raises(TrainingError, match=f"loss is nan in step 1 of epoch {epoch}") as caught:
        fresh().fit(
            videos,
            videos.with_samples(videos.samples, "val"),
            exact(select_on=select_on),
            run_dir=tmp_path,
            hooks=Hooks(on_epoch=on_epoch),
        )
    assert names_best(caught, tmp_path) == named


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_epoch_that_cannot_be_evaluated_names_them_too(
    videos: Split, tmp_path: Path, epoch: int
) -> None:
    begun: list[str] = []
    recognizer = fresh()

    def spoil(phase: str, done: int, videos: int) -> None:
        if done > 0:
            return
        begun.append(phase)
        if len(begun) == epoch:
            with torch.no_grad():
                next(recognizer.model.vision.parameters()).fill_(float("nan"))

    with pytest.raises(TrainingError, match=r"requires a new run\.") as caught:
        recognizer.fit(
            videos,
            videos.with_samples(videos.samples, "val"),
            exact(select_on="val"),
            run_dir=tmp_path,
            hooks=Hooks(on_phase=spoil),
        )
    assert names_best(caught, tmp_path) == (epoch == 2)


def test_best_weights_of_an_earlier_training_are_not_named(videos: Split, tmp_path: Path) -> None:
    fresh().fit(videos, videos, exact(epochs=1, select_on="val"), run_dir=tmp_path)
    recognizer = fresh()
    parameter = next(p for p in recognizer.model.parameters() if p.requires_grad)
    parameter.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(TrainingError, match="gradient is nan in step 1 of epoch 1") as caught:
        recognizer.fit(videos, videos, exact(select_on="val"), run_dir=tmp_path)
    assert not names_best(caught, tmp_path)


def test_a_run_begun_with_other_settings_names_them_too(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write(CONFIG, "data: {dataset: folder, root: videos}\n")
    other = RunConfig.model_validate({"data": {"dataset": "folder", "root": "v"}, "base": "nano"})
    with pytest.raises(ConfigError, match=r"different settings: base .*new run\.") as caught:
        folder.check_unchanged(other)
    assert not names_best(caught, tmp_path)
    (tmp_path / BEST).mkdir(parents=True)
    (tmp_path / BEST / MODEL_CONFIG).write_text("{}")
    with pytest.raises(ConfigError, match="different settings") as caught:
        folder.check_unchanged(other)
    assert names_best(caught, tmp_path)
