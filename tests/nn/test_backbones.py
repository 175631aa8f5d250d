"""Every kind of backbone: the towers compute what open_clip computes, with and without adapters that are untrained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_backbones import CONFIGS, REFUSED, publish, random_model, weight_file
from torch import Tensor

from peclip.errors import ConfigError
from peclip.models.frozen import FrozenModel
from peclip.models.pe_clip import PEClipModel
from peclip.models.registry import build_model
from peclip.nn.clip import _tokenizer, load_backbone
from peclip.nn.frame_encoder import encode_frames, encode_videos
from peclip.nn.lora import merge
from peclip.nn.lowered import LoweredTower, lower_frozen
from peclip.nn.packed import pack
from peclip.nn.token_pooling import ClassToken
from peclip.types import Batch
from peclip.weights.resolve import backbone_model_config

TEXTS = ["a happy face", "Inner Brow Raiser, Brow Lowerer.", "fear"]
CPU = torch.device("cpu")


class Case:
    """A backbone, and the features that open_clip computes with the same weights."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, config = name, CONFIGS[name]
        torch.manual_seed(list(CONFIGS).index(name))
        model = random_model(config)
        self.frames = torch.randn(2, 3, 3, 32, 32)
        with torch.inference_mode():
            self.images = model.encode_image(self.frames.flatten(0, 1)).unflatten(0, (2, 3))
            self.texts = model.encode_text(self.tokens(TEXTS, config["text_cfg"]))
        self.pretrained = weight_file(model, folder / f"{name}.safetensors")

    @staticmethod
    def tokens(texts: list[str], text_config: dict[str, Any]) -> Tensor:
        """Padded with zeros to the whole context, as open_clip does."""
        own = _tokenizer(text_config)
        rows = [[*own.starts, *own.encode(text), *own.ends] for text in texts]
        context = text_config["context_length"]
        return torch.tensor([row + [0] * (context - len(row)) for row in rows])

    def model(self, **changes: Any) -> PEClipModel:
        config = backbone_model_config(self.name, None)
        built = build_model(config.derive(pretrained=self.pretrained, **changes))
        assert isinstance(built, PEClipModel)
        return built.eval()


@pytest.fixture(params=CONFIGS)
def case(request: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Case:
    publish(monkeypatch, tmp_path, CONFIGS)
    return Case(request.param, tmp_path)


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def test_features_equal_those_of_open_clip(case: Case) -> None:
    backbone = load_backbone(case.name, case.pretrained)
    with torch.inference_mode():
        close(backbone.vision(case.frames), case.images)
        close(backbone.text(*backbone.text.embed(TEXTS)), case.texts)
    parts = torch.nn.ModuleList([backbone.vision, backbone.text])
    assert not any(parameter.requires_grad for parameter in parts.parameters())
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in parts.modules())


def test_untrained_adapters_leave_the_features(case: Case) -> None:
    model = case.model(prompt_length=0)
    with torch.inference_mode():
        close(model.vision(case.frames), case.images)
        close(model.text(*model.text.embed(TEXTS)), case.texts)
        output = model(Batch(case.frames))
    close(output.video_features, F.normalize(case.images.mean(1), dim=-1))


def test_low_rank_updates_and_a_temporal_head(case: Case) -> None:
    """Untrained, they leave the features; trained and merged, they give those of the unmerged model."""
    lora = {"matrices": ("q", "k", "v", "out", "fc1", "fc2"), "rank": 2, "alpha": 4}
    model = case.model(prompt_length=0, lora=lora, temporal_head={"heads": 2})
    with torch.inference_mode():
        close(model.vision(case.frames), case.images)
        close(model.text(*model.text.embed(TEXTS)), case.texts)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora." in name:
                parameter.normal_(std=0.1)
    with torch.inference_mode():
        changed = model.vision(case.frames)
        assert not torch.allclose(changed, case.images, atol=1e-2)
        close(merge(model.vision)(case.frames), changed)
        close(
            FrozenModel(model, CPU, "fp32").features(Batch(case.frames)), features_of(model, case)
        )


def features_of(model: PEClipModel, case: Case) -> Tensor:
    return model(Batch(case.frames)).video_features


def test_adapters_and_prompts_are_trained_and_nothing_else(case: Case) -> None:
    model = case.model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "adapter" in name and name.endswith("up.weight"):
                parameter.normal_(std=0.1)
    model.loss(model(Batch(case.frames)), torch.eye(7)[:2]).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        first = ".blocks.0." in name and name.endswith("up.weight")
        if first or name in ("prompts.text.0", "prompts.to_vision.0.weight"):
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 0, name
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    frozen |= {name for name, _ in model.named_buffers()}
    for name in frozen & before.keys():
        assert torch.equal(model.state_dict()[name], before[name]), name


def test_prompts_are_attended_to_but_not_pooled(case: Case) -> None:
    """The last block outputs the own tokens of the backbone, or the class token alone."""
    model = case.model(prompt_length=2)
    lengths: list[int] = []
    pool = model.vision.pool
    pool.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1]))
    with torch.inference_mode():
        features = model(Batch(case.frames)).video_features
        plain = F.normalize(case.images.mean(1), dim=-1)
    own = model.vision.num_tokens
    assert own == 16 + (model.vision.class_embedding is not None)
    assert lengths == [1 if isinstance(pool, ClassToken) else own]
    assert model.num_tokens == own + 2
    assert not torch.allclose(features, plain, atol=1e-3)  # the random prompts have an effect


def test_frames_may_be_encoded_before_the_first_step_over_time(case: Case) -> None:
    model = trained(case)
    prompts = model.prompts()[1] if model.prompts is not None else ()
    with torch.inference_mode():
        expected = model.vision(case.frames, prompts)
        encoded = encode_frames(model.vision, case.frames.flatten(0, 1), prompts)
        found = encode_videos(model.vision, encoded.unflatten(0, (2, 3)), prompts)
    close(found, expected)


def trained(case: Case) -> PEClipModel:
    """A model whose adapters do something."""
    model = case.model()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.03)])
def test_predictions_of_packed_layers(case: Case, precision: str, tolerance: float) -> None:
    model = trained(case)
    with torch.inference_mode():
        expected = model(Batch(case.frames)).video_features
    frozen = FrozenModel(model, CPU, precision)
    close(frozen.features(Batch(case.frames)), expected, tolerance)
    packed = pack(model.vision, CPU, precision)  # whatever the processor, it must not change
    assert not [name for name, p in model.named_parameters() if p.dtype != torch.float32]
    assert type(packed) is type(model.vision)


def test_predictions_of_lowered_layers(case: Case) -> None:
    """As on CUDA, where weights and activations have 16 bits."""
    model = trained(case)
    assert model.prompts is not None
    prompts = model.prompts()[1]
    with torch.inference_mode():
        expected = F.normalize(model.vision(case.frames, prompts).mean(1), dim=-1)
        tower = LoweredTower(model.vision, torch.bfloat16)
        lowered = [prompt.to(torch.bfloat16) for prompt in prompts]
        found = F.normalize(tower(case.frames, lowered).mean(1), dim=-1)
    assert found.dtype == torch.float32
    close(found, expected, 0.03)


def test_training_with_lowered_matrices_computes_the_same(case: Case) -> None:
    model = trained(case)
    lowered = lower_frozen(model, torch.bfloat16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected, found = (m(Batch(case.frames)).logits for m in (model, lowered))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_adapted_is_refused_with_the_reason(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config, reason = REFUSED[name]
    publish(monkeypatch, tmp_path, {name: config})
    message = f"The backbone '{name}' cannot be adapted: .*{reason}.*models list --backbones"
    with pytest.raises(ConfigError, match=message):
        load_backbone(name, None)
    with pytest.raises(ConfigError, match=message):
        backbone_model_config(name, None)


def test_texts_without_a_causal_mask_are_padded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Their padding takes part in the attention, so that the whole context is computed."""
    publish(monkeypatch, tmp_path, CONFIGS)
    text = load_backbone("tiny-SigLIP", None).text
    tokens, places = text.embed(TEXTS)
    assert tokens.shape[:2] == (3, 77)
    assert places.tolist() == [76, 76, 76]
    causal = load_backbone("tiny-PE-Core", None).text
    tokens, places = causal.embed(TEXTS)
    lengths = [len(causal.tokenizer.encode(each)) + 2 for each in TEXTS]
    assert tokens.shape[:2] == (3, max(lengths))
    assert places.tolist() == [length - 1 for length in lengths]


def test_the_texts_of_a_model_fit_into_a_short_context(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    short = CONFIGS["tiny-PE-Core"]
    text = short["text_cfg"] | {"vocab_size": 49408}
    short, exact = (short | {"text_cfg": text | {"context_length": size}} for size in (16, 32))
    publish(monkeypatch, tmp_path, {"tiny-16": short, "tiny-32": exact})
    for name, style in (("tiny-16", "sentences"), ("tiny-32", "action_units")):
        config = backbone_model_config(name, None)
        assert config.descriptions == style
        build_model(config.derive(pretrained=None)).encode_labels()
