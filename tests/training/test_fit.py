"""`Recognizer.fit`: few lines from a split to a model that answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import LABELS, assert_equal, exact, fresh, quick, split_of, write_videos

import peclip
from peclip import PEClip, PredictOptions
from peclip.data import Split
from peclip.errors import ConfigError
from peclip.training.progress import Hooks
from peclip.types import Batch


@pytest.mark.parametrize("select_on", ["val", "last"])
def test_learns_saves_and_answers(tmp_path: Path, select_on: str) -> None:
    write_videos(tmp_path / "train", 6)
    write_videos(tmp_path / "test", 3, seed=1)
    model = fresh()
    before = model.label_features().clone()
    seen: list[int] = []
    result = model.fit(
        split_of(tmp_path / "train"),
        config=exact(epochs=8, select_on=select_on, val_fraction=0.3),
        run_dir=tmp_path / "run",
        hooks=Hooks(on_epoch=lambda progress: seen.append(progress.epoch)),
    )
    assert result.selected_on == select_on
    assert seen == list(range(1, 9))
    assert ("val" in result.history[0]) == (select_on == "val")
    assert not (model.label_features() == before).all(), "those of the new weights"
    options = PredictOptions(face_crop=False, window=float("inf"))
    for sample in split_of(tmp_path / "test").samples:
        assert model.predict(sample.source, options).label == sample.label
    if select_on == "val":
        assert_equal(model, peclip.load(tmp_path / "run/checkpoints/best", device="cpu"))
    assert (tmp_path / "run/checkpoints/last/state.pt").is_file()


def test_in_memory_and_resumed(videos: Split, tmp_path: Path) -> None:
    one, two, three = fresh(), fresh(), fresh()
    one.fit(videos, config=quick())
    two.fit(videos, config=quick(), run_dir=tmp_path)
    assert_equal(one, two)
    three.fit(videos, config=quick(), run_dir=tmp_path, resume=True)
    assert_equal(one, three)


def test_labels_must_be_the_models(videos: Split) -> None:
    with pytest.raises(ConfigError, match="is not a label of this model"):
        fresh().with_labels(["fear", "anger"]).fit(videos, config=quick())


def test_labels_are_matched_by_name(tmp_path: Path) -> None:
    """A model with its labels in another order, and with more of them, learns the right ones."""
    write_videos(tmp_path, 5)
    other = fresh().with_labels(["fear", *reversed(LABELS.names)])
    other.fit(split_of(tmp_path), config=exact(epochs=8))
    options = PredictOptions(face_crop=False, window=float("inf"))
    for sample in split_of(tmp_path).samples[::4]:
        assert other.predict(sample.source, options).label == sample.label


def test_after_training_the_new_weights_answer_in_bf16_too(videos: Split, tmp_path: Path) -> None:
    trained = PEClip.from_pretrained("debug", device="cpu", precision="bf16").with_labels(
        LABELS.names
    )
    batch = Batch(torch.randn(2, 4, 3, 32, 32))
    before = trained.answer(batch)
    trained.fit(videos, config=quick())
    assert trained.answer(batch) != before
    trained.save_pretrained(tmp_path / "saved")
    again = PEClip.from_pretrained(tmp_path / "saved", device="cpu", precision="bf16")
    assert again.answer(batch) == trained.answer(batch)
