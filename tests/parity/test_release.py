"""`peclip convert`: a checkpoint of the release gives the release's logits."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from released import PAPER, SMALL, ReleasedPECLIP, release

from peclip import PEClip
from peclip.cli.app import run
from peclip.errors import CheckpointError, ConfigError
from peclip.labels import EMOTIONS
from peclip.models.descriptions import load_descriptions
from peclip.types import Batch
from peclip.weights.convert import convert_release, our_name, read_release


class RecorderMeter:
    """Replaces the object that the release pickles with the weights."""

    def __init__(self) -> None:
        self.epoch_losses = np.zeros((5, 2), dtype=np.float32)


def save(
    model: ReleasedPECLIP, path: Path, monkeypatch: pytest.MonkeyPatch, *, module: bool
) -> None:
    state = {f"module.{k}" if module else k: v for k, v in model.state_dict().items()}
    monkeypatch.setattr(RecorderMeter, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "RecorderMeter", RecorderMeter, raising=False)
    content = {
        "epoch": 3,
        "state_dict": state,
        "best_acc": np.float64(75.35),
        "recorder": RecorderMeter(),
    }
    torch.save(content, path)


AU_TEXTS = [load_descriptions("action_units")[name] for name in EMOTIONS[:7]]


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ReleasedPECLIP, Path]:
    model = release("debug", SMALL, AU_TEXTS)
    save(model, tmp_path / "release.pth", monkeypatch, module=True)
    return model, tmp_path / "release.pth"


def test_a_converted_checkpoint_gives_the_logits_of_the_release(
    checkpoint: tuple[ReleasedPECLIP, Path], tmp_path: Path
) -> None:
    model, path = checkpoint
    assert run(["convert", str(path), str(tmp_path / "ours"), "--backbone", "debug", "--full"]) == 0
    ours = PEClip.from_pretrained(tmp_path / "ours", device="cpu")
    assert ours.labels.names == EMOTIONS[:7]
    frames = torch.rand(5, 3, 32, 32)
    with torch.inference_mode():
        expected = model(frames)
        logits = ours.model(Batch(frames[None])).logits[0]
    assert expected.std() > 0.5, "logits that are all alike would prove nothing"
    assert torch.allclose(logits, expected, atol=1e-4)


@pytest.mark.slow
def test_the_same_on_the_paper_s_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = release("ViT-B-16-quickgelu", PAPER, AU_TEXTS)
    save(model, tmp_path / "release.pth", monkeypatch, module=False)
    convert_release(tmp_path / "release.pth", tmp_path / "ours", full=True)
    ours = PEClip.from_pretrained(tmp_path / "ours", device="cpu")
    frames = torch.rand(3, 3, 224, 224)
    with torch.inference_mode():
        expected = model(frames)
        logits = ours.model(Batch(frames[None])).logits[0]
    assert expected.std() > 0.5
    assert torch.allclose(logits, expected, atol=1e-4)
    trainable = sum(p.numel() for p in ours.model.parameters() if p.requires_grad)
    assert trainable == 9_399_564


def test_the_labels_are_read_back_from_the_texts(tmp_path: Path, monkeypatch) -> None:
    order = ["surprise", "anger", "happiness"]
    texts = [load_descriptions("action_units")[name] for name in order]
    save(release("debug", SMALL, texts), tmp_path / "a.pth", monkeypatch, module=False)
    config = convert_release(tmp_path / "a.pth", tmp_path / "ours", backbone="debug", full=True)
    assert config.labels == tuple(order)


def test_unknown_texts_need_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a face that waits", "a face that hopes"]
    save(release("debug", SMALL, texts), tmp_path / "a.pth", monkeypatch, module=False)
    with pytest.raises(ConfigError, match="a face that waits.*--labels"):
        convert_release(tmp_path / "a.pth", tmp_path / "ours", backbone="debug")
    config = convert_release(
        tmp_path / "a.pth",
        tmp_path / "b",
        backbone="debug",
        labels=["waiting", "hoping"],
        full=True,
    )
    assert config.labels == ("waiting", "hoping")
    assert config.label_texts["hoping"] == "a face that hopes"


def test_the_wrong_backbone_is_named(
    checkpoint: tuple[ReleasedPECLIP, Path], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="does not match the backbone.*--backbone"):
        convert_release(checkpoint[1], tmp_path / "ours", backbone="nano")


def test_a_backbone_of_another_activation_is_refused(
    checkpoint: tuple[ReleasedPECLIP, Path], tmp_path: Path
) -> None:
    """With `--full` no weights are loaded whose tag would tell."""
    with pytest.raises(ConfigError, match="trained with QuickGELU"):
        convert_release(checkpoint[1], tmp_path / "a", backbone="ViT-B-16/openai", full=True)


@pytest.mark.parametrize("module", ["adapter_pre_attn.middle", "adapter_pre_mlp.middle"])
def test_an_adapter_of_another_kind_is_unexpected(
    module: str, checkpoint: tuple[ReleasedPECLIP, Path], tmp_path: Path
) -> None:
    state = read_release(checkpoint[1])
    state[f"image_encoder.transformer.resblocks.0.{module}.weight"] = torch.zeros(2, 2)
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    with pytest.raises(
        CheckpointError, match=r"1 unexpected \(vision\.blocks\.0.*middle\.weight\)"
    ):
        convert_release(tmp_path / "other.pth", tmp_path / "ours", backbone="debug", full=True)


def test_a_nan_or_infinite_number_is_refused(
    checkpoint: tuple[ReleasedPECLIP, Path], tmp_path: Path
) -> None:
    state = read_release(checkpoint[1])
    state["prompt_learner.ctx"][0, 0] = torch.nan
    torch.save({"state_dict": state}, tmp_path / "nan.pth")
    with pytest.raises(CheckpointError, match=r"1 tensors .* \(prompts\.text\.0\)"):
        convert_release(tmp_path / "nan.pth", tmp_path / "ours", backbone="debug", full=True)
    assert not (tmp_path / "ours").exists()


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path, capsys) -> None:
    victim = tmp_path / "executed"
    payload = type("P", (), {"__reduce__": lambda self: (Path.touch, (victim,))})()
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": {}, "x": payload}, path)
    assert run(["convert", str(path), str(tmp_path / "out")]) == 4
    assert not victim.exists()
    assert "can run code" in capsys.readouterr().err
    with path.open("wb") as file:  # the old format, a bare pickle
        pickle.dump(payload, file)
    with pytest.raises(CheckpointError):
        read_release(path)
    assert not victim.exists()


def test_names_without_weights_are_left_out() -> None:
    assert our_name("clip_model.visual.proj") is None
    assert our_name("prompt_learner.token_prefix") is None
    assert our_name("prompt_learner.proj.bias") == "prompts.to_vision.0.bias"
    assert our_name("prompt_learner.compound_prompts_text.7") == "prompts.text.8"
