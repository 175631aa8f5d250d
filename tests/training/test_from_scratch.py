"""Training the backbone too, learning from a teacher, random label texts, and calibrated probabilities."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from small import LABELS, PLAIN, assert_equal, fresh, quick, split_of, weights, write_videos
from torch import nn

from peclip import PEClip
from peclip.config import check
from peclip.data import Split
from peclip.errors import ConfigError
from peclip.models.pe_clip_config import PEClipConfig
from peclip.nn.stem import stems_of
from peclip.runs.warm_start import load_stem
from peclip.settings import load_settings
from peclip.training.calibration import fit_temperature
from peclip.training.config import LearningRates, TeacherConfig, TrainConfig
from peclip.training.ema import Ema
from peclip.training.learner import mean_squared_cosine
from peclip.training.optim import make_optimizers, set_learning_rates
from peclip.training.progress import Hooks
from peclip.training.runtime import Runtime
from peclip.training.teacher import load_teacher
from peclip.types import Batch
from peclip.weights.checkpoint import load_model
from peclip.weights.folder import Checkpoint
from peclip.weights.resolve import nano_config

CPU = torch.device("cpu")


def small_nano(labels: tuple[str, ...] = ("happiness", "sadness", "anger")) -> PEClip:
    """The network with a convolutional stem, untrained; always the same."""
    config: PEClipConfig = nano_config().derive(
        labels=labels, num_frames=1, shared_adapter="none", temporal_adapter="none"
    )
    model = load_model(Checkpoint("nano-untrained", "", config, None), settings=load_settings())
    return PEClip(model, config, device=CPU, precision="fp32")


def scratch(**changes: object) -> TrainConfig:
    rates = LearningRates(adapters=1e-3, prompts=1e-3, backbone=1e-3)
    return quick(**{"lr": rates, "mixing": PLAIN, "epochs": 1} | changes)


def test_the_backbone_trains_where_it_has_a_rate(videos: Split, tmp_path: Path) -> None:
    """Everything learns, and a loaded copy predicts the same."""
    recognizer = small_nano()
    before = {name: t.clone() for name, t in recognizer.model.state_dict().items()}
    val = videos.with_samples(videos.samples, "val")
    result = recognizer.fit(videos, val, scratch(select_on="val", ema=0.9))
    assert np.isfinite(result.history[0]["val"]["loss"])
    after = recognizer.model.state_dict()
    still = {name for name, tensor in before.items() if torch.equal(tensor, after[name])}
    assert not {name for name in still if name.startswith("vision.")}
    recognizer.save_pretrained(tmp_path / "model")
    loaded = PEClip.from_pretrained(tmp_path / "model", device="cpu")
    crops = torch.rand(2, 1, 3, 96, 96)
    ours, theirs = (r.model(Batch(crops)).logits for r in (recognizer, loaded))
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_trained_published_backbone_is_stored_whole(
    videos: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are then no longer those that its tag names, also where the training broke off."""
    monkeypatch.setattr("peclip.nn.published.check_tag", lambda *_, **__: None)
    monkeypatch.setattr("peclip.nn.published.load_weights", lambda *_, **__: None)

    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    recognizer = fresh(pretrained="published")
    with pytest.raises(KeyboardInterrupt):
        recognizer.fit(videos, config=scratch(), hooks=Hooks(on_step=stop))
    assert recognizer.config.pretrained is None
    recognizer.save_pretrained(tmp_path)
    monkeypatch.undo()
    loaded = PEClip.from_pretrained(tmp_path, device="cpu", precision="fp32")
    assert_equal(recognizer, loaded)


def assert_adapters_alone_learn(recognizer: PEClip, videos: Split) -> None:
    before = {name: t.clone() for name, t in recognizer.model.state_dict().items()}
    recognizer.fit(videos, config=quick(epochs=1))
    after = recognizer.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not {name for name in changed if "patch_embedding" in name}


def test_a_backbone_without_a_rate_is_frozen_again(videos: Split) -> None:
    recognizer = small_nano()
    recognizer.fit(videos, config=scratch())
    assert_adapters_alone_learn(recognizer, videos)
    assert not any(p.requires_grad for p in recognizer.model.parameter_groups()["backbone"])


def test_the_groups_of_adamw() -> None:
    (optimizer,) = make_optimizers(fresh().model.requires_grad_(True), scratch())
    groups = optimizer.param_groups
    assert [(g["part"], g["weight_decay"]) for g in groups] == [
        ("adapters", 0.01),
        ("prompts", 0.01),
        ("backbone", 0.01),
        ("backbone", 0.0),
    ]
    assert all(p.ndim > 1 for p in groups[2]["params"])
    assert all(p.ndim <= 1 for p in groups[3]["params"])


def test_a_step_skipped_by_one_optimiser_is_skipped_by_both(
    videos: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fp16 a gradient may overflow, and clipping makes no number of all the others."""
    monkeypatch.setattr("peclip.training.runtime.choose_precision", lambda name, device: "fp16")
    monkeypatch.setattr("peclip.training.learner.autocast", lambda device, name: nullcontext())
    recognizer = small_nano()
    matrix = recognizer.model.vision.blocks[0].block.block.mlp.c_fc.weight
    calls: list[int] = []
    kept: list[dict[str, torch.Tensor]] = [weights(recognizer)]

    def overflow(gradient: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return gradient * float("inf") if len(calls) == 1 else gradient

    matrix.requires_grad_(True)
    matrix.register_hook(overflow)
    recognizer.fit(
        videos,
        config=scratch(optimizer="muon"),
        hooks=Hooks(on_step=lambda _: kept.append(weights(recognizer))),
    )
    for name, weight in kept[0].items():
        assert torch.equal(weight, kept[1][name]), name
        assert torch.isfinite(kept[-1][name]).all(), name
    assert any(not torch.equal(weight, kept[2][name]) for name, weight in kept[0].items())


@pytest.mark.slow
def test_killed_and_resumed_with_two_optimisers(videos: Split, tmp_path: Path) -> None:
    """Weights, their average and both optimisers are part of the state."""

    def train(epochs: int, *, resume: bool) -> PEClip:
        recognizer = small_nano()
        config = scratch(epochs=2, ema=0.5, patience=None, optimizer="muon")
        if epochs == 1:

            def stop(progress: object) -> None:
                raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                recognizer.fit(videos, config=config, run_dir=tmp_path, hooks=Hooks(on_epoch=stop))
            return recognizer
        recognizer.fit(videos, config=config, run_dir=tmp_path if resume else None, resume=resume)
        return recognizer

    whole = train(2, resume=False)
    train(1, resume=False)
    again = train(2, resume=True)
    assert_equal(whole, again)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_the_average_follows_weights_and_counters() -> None:
    values = {"mean": torch.tensor([0.0]), "count": torch.tensor(0)}
    ema = Ema(values, 0.75)
    values["mean"].fill_(8.0)
    values["count"].fill_(5)
    ema.update()
    assert ema.averages["mean"].item() == 2.0
    assert ema.averages["count"].item() == 5


def test_the_stem_starts_from_its_weights_has_its_own_rate_and_keeps_its_first_layers(
    videos: Split, tmp_path: Path
) -> None:
    def trunk(recognizer: PEClip) -> list[torch.Tensor]:
        (stem,) = stems_of(recognizer.model)
        return [parameter.detach().clone() for parameter in stem.trunk()]

    recognizer = small_nano()
    before = trunk(recognizer)
    rates = LearningRates(adapters=1e-3, prompts=1e-3, backbone=1e-3, stem=5e-4)
    recognizer.fit(videos, config=scratch(lr=rates, stem={"frozen": 2}))
    (stem,) = stems_of(recognizer.model)
    frozen = len(stem.trunk(2))
    after = trunk(recognizer)
    assert all(map(torch.equal, before[:frozen], after[:frozen]))
    assert not any(map(torch.equal, before[frozen:], after[frozen:]))
    (optimizer,) = make_optimizers(recognizer.model, scratch(lr=rates))
    groups = {group["part"]: group for group in optimizer.param_groups}
    assert set_learning_rates([optimizer], scratch(lr=rates, warmup_epochs=0), 0, 5)["stem"] == 5e-4
    assert {id(p) for p in groups["stem"]["params"]} <= {id(p) for p in stem.trunk()}


def test_without_a_rate_the_stem_learns_as_the_backbone_does() -> None:
    assert LearningRates(backbone=1e-3).peak("stem") == 1e-3
    assert LearningRates(backbone=1e-3, stem=0).peak("stem") == 0


def test_weights_for_a_stem_need_a_backbone_that_has_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nano-untrained"):
        load_stem(fresh().model, tmp_path / "faces.safetensors")


def test_only_the_video_encoders_are_compiled(
    videos: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the student and of its teacher."""
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    student = fresh()
    config = quick(epochs=1, compile=True, mixing=PLAIN, teacher=teacher_of(tmp_path))
    student.fit(videos, config=config)
    assert [type(module).__name__ for module in compiled] == ["VisionTower", "VisionTower"]
    assert compiled[0] is student.model.vision
    assert compiled[1] is not student.model.vision


def test_tokens_of_a_frame() -> None:
    model = fresh().model
    assert model.num_tokens == len(model.vision.positional_embedding) + 2


def teacher_of(tmp_path: Path, **changes: object) -> TeacherConfig:
    config = fresh().config.derive(**changes)
    model = load_model(Checkpoint("debug", "", config, None), settings=load_settings())
    PEClip(model, config, device=CPU, precision="fp32").save_pretrained(tmp_path / "teacher")
    return TeacherConfig(model=str(tmp_path / "teacher"), share=0.25, temperature=2.0)


def test_targets_of_a_teacher_by_hand(tmp_path: Path) -> None:
    """The order of the teacher's labels does not matter, and the share and temperature do."""
    student = fresh()
    config = teacher_of(tmp_path, labels=("anger", "happiness", "sadness"))
    teacher = load_teacher(config, student.loaded, Runtime(CPU))
    batch = Batch(torch.rand(3, 4, 3, 32, 32))
    with torch.no_grad():
        logits = teacher.model(batch).logits
    expected = 0.25 * (logits / 2).softmax(-1)[:, [1, 2, 0]]
    expected[:, 0] += 0.75
    targets = torch.tensor([[1.0, 0, 0]]).expand(3, 3)
    assert torch.allclose(teacher.soften(batch, targets), expected, atol=1e-6)
    assert not any(p.requires_grad for p in teacher.model.parameters())


def test_a_teacher_predicts_as_in_inference(videos: Split, tmp_path: Path) -> None:
    """With the mean over both sides of a model that says so, and texts in fp32 in a training in bf16."""
    student = fresh()
    config = teacher_of(tmp_path, mirror=True, temperature=0.1)
    config = config.model_copy(update={"share": 1.0, "temperature": 1.0})
    batch = Batch(torch.rand(3, 4, 3, 32, 32))
    for precision in ("fp32", "bf16"):
        teacher = load_teacher(config, student.loaded, Runtime(CPU, precision))
        model = PEClip.from_pretrained(config.model, device="cpu", precision=precision)
        expected = torch.tensor(model.with_labels(LABELS.names).probabilities(batch))
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            found = teacher.soften(batch, torch.zeros(3, 3))
        assert torch.allclose(found, expected, atol=1e-6), precision
        with torch.no_grad():
            one_side = model.with_labels(LABELS.names).model(batch).logits.softmax(-1)
        assert not torch.allclose(found, one_side, atol=1e-4), "of both sides"
    student.fit(videos, config=quick(epochs=1, precision="bf16", teacher=config))


def test_a_teacher_changes_what_is_learned(videos: Split, tmp_path: Path) -> None:
    student = fresh()
    config = quick(epochs=1, mixing=PLAIN)
    student.fit(videos, config=config)
    taught = fresh()
    teaching = config.model_copy(update={"teacher": teacher_of(tmp_path)})
    taught.fit(videos, config=teaching)
    first, second = weights(student), weights(taught)
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_incompatible_teachers(tmp_path: Path) -> None:
    student = fresh()
    config = teacher_of(tmp_path, labels=("anger", "fear", "sadness"))
    with pytest.raises(ConfigError, match="teacher with the labels of the student"):
        load_teacher(config, student.loaded, Runtime(CPU))
    other = student.config.preprocess.model_copy(update={"grayscale": True})
    config = teacher_of(tmp_path, preprocess=other)
    with pytest.raises(ConfigError, match="same preprocess settings"):
        load_teacher(config, student.loaded, Runtime(CPU))


def test_texts_are_drawn_and_put_back(videos: Split) -> None:
    recognizer = fresh()
    own = recognizer.model.texts
    seen: set[tuple[str, ...]] = set()
    encode = recognizer.model.encode_labels

    def watched() -> torch.Tensor:
        if recognizer.model.texts != own:
            seen.add(recognizer.model.texts)
        return encode()

    recognizer.model.encode_labels = watched  # type: ignore[method-assign]
    recognizer.fit(videos, videos, quick(text_styles=("names", "sentences"), select_on="val"))
    assert recognizer.model.texts == own
    assert len(seen) > 1
    texts = {text for drawn in seen for text in drawn}
    assert "happiness" in texts
    assert "a person with a happy face." in texts


def test_an_unknown_style_is_reported(videos: Split) -> None:
    with pytest.raises(ConfigError, match="'poems'"):
        fresh().fit(videos, config=quick(text_styles=("poems",)))


@pytest.mark.parametrize("factor", [0.2, 1.0, 3.7])
def test_the_temperature_is_recovered(factor: float) -> None:
    """Answers drawn from known probabilities, then made too sure or too shy."""
    random = np.random.default_rng(0)
    logits = torch.from_numpy(random.normal(0, 2, (4000, 5)))
    cumulated = logits.softmax(-1).cumsum(-1)
    targets = (torch.from_numpy(random.random((4000, 1))) > cumulated).sum(-1).clamp(max=4)
    found = fit_temperature((logits * factor).softmax(-1), targets)
    assert found == pytest.approx(factor, rel=0.08)


def test_a_model_is_calibrated_on_validation_videos(videos: Split, tmp_path: Path) -> None:
    plain, calibrated = fresh(), fresh()
    config = quick(select_on="val")
    plain.fit(videos, videos, config)
    calibrated.fit(videos, videos, config.model_copy(update={"calibrate": True}))
    factor = calibrated.config.temperature / plain.config.temperature
    assert factor != pytest.approx(1.0, abs=1e-3)
    assert calibrated.model.temperature == calibrated.config.temperature
    crops = torch.rand(2, 4, 3, 32, 32)
    with torch.no_grad():
        ours, theirs = (r.model(Batch(crops)).logits for r in (plain, calibrated))
    assert torch.allclose(ours, theirs * factor, atol=1e-4)
    with pytest.raises(ConfigError, match="there are none"):
        fresh().fit(videos, config=quick(calibrate=True))


def test_test_videos_stay_unseen_or_select() -> None:
    with pytest.raises(ConfigError, match="set test to true"):
        check(TrainConfig, {"select_on": "test", "test": False})
    with pytest.raises(ConfigError, match="would fit the temperature on the test videos"):
        check(TrainConfig, {"select_on": "test", "calibrate": True})


def test_stills_are_trained_on_as_windows(tmp_path: Path) -> None:
    write_videos(tmp_path, 2)
    split = split_of(tmp_path)
    recognizer = fresh()
    before = weights(recognizer)
    recognizer.fit(split, config=quick(epochs=1, animate={"erase": 0.5}))
    assert any(not torch.equal(before[name], w) for name, w in weights(recognizer).items())


def test_likeness_of_texts_by_hand() -> None:
    features = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    assert mean_squared_cosine(features).item() == pytest.approx((0.36 + 0.64 + 0.0) / 3)


@pytest.mark.slow
def test_spread_keeps_texts_apart(videos: Split) -> None:
    alike = []
    for spread in (0.0, 20.0):
        recognizer = small_nano()
        recognizer.fit(videos, config=scratch(epochs=3, spread=spread))
        with torch.no_grad():
            alike.append(mean_squared_cosine(recognizer.model.encode_labels()).item())
    assert alike[1] < 0.7 * alike[0]
