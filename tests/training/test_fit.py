"""`Recognizer.fit`: few lines from a split to a model that predicts."""

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
def test_learns_saves_and_predicts(tmp_path: Path, select_on: str) -> None:
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


def test_a_trained_model_loses_the_name_of_its_base(videos: Split) -> None:
    """Not even one whose training broke off; and its name does not grow with every try."""
    model = fresh()
    begun = model.name
    assert videos.title not in begun

    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(videos, config=quick(), hooks=Hooks(on_epoch=stop))
    assert (model.name, model.revision) == (f"{begun}, trained on {videos.title}", "")
    model.fit(videos, config=quick(epochs=1))
    assert model.name == f"{begun}, trained on {videos.title}"
    options = PredictOptions(face_crop=False, window=float("inf"))
    (row,) = model.predict(videos.samples[0].source, options).rows
    assert row.model == model.name


def test_resume_needs_the_folder_to_resume_from(videos: Split) -> None:
    with pytest.raises(ConfigError, match="resume requires run_dir"):
        fresh().fit(videos, config=quick(), resume=True)


def test_a_batch_of_one_warns_that_mixup_has_no_effect(
    videos: Split, caplog: pytest.LogCaptureFixture
) -> None:
    for size, config, warned in ((1, quick, 1), (2, quick, 0), (1, exact, 0)):
        caplog.clear()
        fresh().fit(videos, config=config(epochs=1, batch_size=size))
        assert len(caplog.records) == warned
        assert not warned or "mixup and FMix have no effect" in caplog.text


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


def test_after_training_the_new_weights_predict_in_bf16_too(videos: Split, tmp_path: Path) -> None:
    trained = PEClip.from_pretrained("debug", device="cpu", precision="bf16").with_labels(
        LABELS.names
    )
    batch = Batch(torch.randn(2, 4, 3, 32, 32))
    before = trained.probabilities(batch)
    trained.fit(videos, config=quick())
    assert trained.probabilities(batch) != before
    trained.save_pretrained(tmp_path / "saved")
    again = PEClip.from_pretrained(tmp_path / "saved", device="cpu", precision="bf16")
    assert again.probabilities(batch) == trained.probabilities(batch)


def test_predictions_between_steps_use_the_current_weights(videos: Split) -> None:
    recognizer, batch = fresh(), Batch(torch.rand(2, 4, 3, 32, 32))
    found, direct = [recognizer.probabilities(batch)], []

    def record(progress: object) -> None:
        found.append(recognizer.probabilities(batch))
        recognizer.model.eval()
        with torch.no_grad():
            direct.append(recognizer.model(batch).logits.softmax(-1).tolist())

    recognizer.fit(videos, config=exact(epochs=1), hooks=Hooks(on_step=record))
    assert len(direct) > 1
    for then, now, expected in zip(found, found[1:], direct, strict=False):
        assert now != then
        assert torch.allclose(torch.tensor(now), torch.tensor(expected), atol=1e-6)


def test_an_interrupted_training_leaves_a_usable_model(videos: Split) -> None:
    recognizer = fresh()
    texts = recognizer.model.texts

    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    config = quick(text_styles=("names", "sentences"), checkpoint_activations=True)
    with pytest.raises(KeyboardInterrupt):
        recognizer.fit(videos, config=config, hooks=Hooks(on_step=stop))
    assert not any(module.training for module in recognizer.model.modules())
    assert recognizer.model.texts == texts
    assert not recognizer.model.vision.checkpoint_activations


def test_custom_texts_are_trained_in_every_style(videos: Split) -> None:
    recognizer = fresh().with_labels({"happiness": "Teeth.", "sadness": "", "anger": ""})
    seen: list[tuple[str, ...]] = []
    config = quick(epochs=1, text_styles=("names", "sentences"))
    recognizer.fit(
        videos, config=config, hooks=Hooks(on_step=lambda _: seen.append(recognizer.model.texts))
    )
    assert {texts[0] for texts in seen} == {"Teeth."}
    assert "Teeth." not in {text for texts in seen for text in texts[1:]}


def test_scores_are_named_after_select_on(videos: Split) -> None:
    """Whatever the splits are called that one gives."""
    for role in ("val", "test"):
        result = fresh().fit(videos, videos, exact(epochs=1, select_on=role))
        assert set(result.history[0]) >= {"train", role}
        assert result.history[0]["train"] != result.history[0][role]
