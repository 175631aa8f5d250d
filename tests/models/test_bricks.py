"""LoRA and the temporal head in whole models: counts, identity, prediction, and what is trained and stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from peclip import PEClip
from peclip.config import ModelConfig
from peclip.data.streams.parts import PartsStream
from peclip.errors import ConfigError
from peclip.explain.explained_window import ExplainedWindow
from peclip.explain.registry import METHODS
from peclip.models.base import ExpressionModel
from peclip.models.frozen import FrozenModel
from peclip.models.registry import build_model, read_config
from peclip.nn.lora import LoraBlock, merge
from peclip.nn.lowered import lower, lower_frozen
from peclip.nn.packed import can_pack
from peclip.nn.preprocess import Preprocess, as_tensor
from peclip.nn.temporal_head import TemporalHead
from peclip.settings import load_settings
from peclip.types import Batch
from peclip.weights.checkpoint import load_model, save_model
from peclip.weights.folder import read_checkpoint
from peclip.weights.parameter_counts import count_parameters
from peclip.weights.resolve import backbone_model_config, debug_config

CPU = torch.device("cpu")
LORA, HEAD = {"lora": {"rank": 4}}, {"temporal_head": {"heads": 4}}
BOTH_TOWERS = {"lora": {"rank": 4, "towers": ["vision", "text"]}}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("pe-clip", LORA),
    ("pe-clip", HEAD),
    ("pe-clip", LORA | HEAD | {"temporal_adapter": "none"}),
    ("lora", {}),
    ("lora", BOTH_TOWERS | HEAD),
    ("clip", HEAD),
    ("finecliper", HEAD),
]
variants = pytest.mark.parametrize(("name", "changes"), VARIANTS)


def config_of(name: str, changes: dict[str, Any]) -> ModelConfig:
    """As `debug` under this name; its temperature keeps the logits below 10."""
    return debug_config(name).derive(temperature=0.1, **changes)


def build(name: str, changes: dict[str, Any], *, trained: bool = True) -> ExpressionModel:
    """A model with other random values in all of its trained parameters."""
    model = build_model(config_of(name, changes)).eval()
    for parameter in model.parameters():
        if parameter.requires_grad and trained:
            nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize(
    ("backbone", "layers", "width", "published"),
    [("ViT-B-16-quickgelu", 12, 768, 1_327_104), ("ViT-L-14-quickgelu", 24, 1024, 3_538_944)],
)
def test_lora_has_the_published_number_of_parameters(
    backbone: str, layers: int, width: int, published: int
) -> None:
    attention, mlp = 4 * (width + width), 2 * (width + 4 * width)
    assert published == layers * 8 * (attention + mlp)
    counts = count_parameters(backbone_model_config(backbone, None, "lora"))["trainable"]
    assert {part: n for part, n in counts.items() if n} == {"LoRA": published}


def test_lora_of_the_text_tower_and_the_head_are_counted() -> None:
    config = backbone_model_config("ViT-B-16-quickgelu", None)
    text = config.derive(lora={"towers": ["text"], "matrices": ["q", "v"], "rank": 2})
    assert count_parameters(text)["trainable"]["LoRA"] == 12 * 2 * 2 * (512 + 512)
    D, T = 512, 16
    layer = 4 * D * D + 4 * D + 2 * D * 2 * D + 2 * D + D + 4 * D
    expected = layer + D + T * D + 2 * D + D * D + D
    with_head = count_parameters(config.derive(temporal_head={}))["trainable"]
    assert with_head["head"] == expected == 2_375_168
    assert sum(with_head.values()) == 9_399_564 + expected


@variants
def test_untrained_bricks_change_nothing(name: str, changes: dict[str, Any]) -> None:
    """Without prompts, the model is the one without bricks, to 1e-5."""
    without = {key: value for key, value in changes.items() if key == "temporal_adapter"}
    prompts = {} if name == "finecliper" else {"prompt_length": 0}
    base = "clip" if name == "lora" else name
    features = []
    for architecture, fields in ((name, changes), (base, without)):
        torch.manual_seed(0)
        model = build(architecture, fields | prompts, trained=False)
        torch.manual_seed(1)
        output = model(Batch(torch.randn(2, 4, 3, 32, 32)))
        features.append((output.video_features, output.label_features))
    torch.testing.assert_close(features[0], features[1], rtol=0, atol=1e-5)


@variants
def test_gradients_reach_the_bricks_alone(name: str, changes: dict[str, Any]) -> None:
    model = build(name, changes)
    output = model(Batch(torch.randn(2, 4, 3, 32, 32)))
    model.loss(output, torch.eye(7)[:2]).backward()
    groups = model.parameter_groups()
    assert all(p.requires_grad == (part != "backbone") for part in groups for p in groups[part])
    assert all(p.grad is None for p in groups["backbone"])
    fields = {"lora": "LoRA", "temporal_head": "head"}
    expected = {part for field, part in fields.items() if field in (name, *changes)}
    assert groups.keys() & {"LoRA", "head"} == expected
    for part in expected:
        assert all(p.grad is not None and p.grad.any() for p in groups[part])


@variants
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_predictions_are_those_of_the_model(
    name: str, changes: dict[str, Any], precision: str
) -> None:
    """Merged and packed, with whole windows and with shared frames."""
    if precision == "bf16" and not can_pack(CPU, "bf16"):
        pytest.skip("no bf16 on this processor")
    model = build(name, changes)
    frozen, preprocess = FrozenModel(model, CPU, precision), Preprocess(32, (0.5,) * 3, (0.25,) * 3)
    assert not any(isinstance(m, LoraBlock) for m in frozen.network.encoders()[0].modules())
    video = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    for starts in ((0, 2), (2, 4)):
        shown = [video[start : start + 4] for start in starts]
        batch = Batch(preprocess(as_tensor(np.stack(shown))))
        with torch.no_grad():
            expected = model(batch).logits
        tolerance = 1e-4 if precision == "fp32" else 0.05 * float(expected.abs().max())
        for found in (frozen(batch), frozen(frozen.encode(shown, preprocess))):
            torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    before = frozen(batch)
    changed = next(p for p in model.parameters() if p.requires_grad)
    with torch.no_grad():
        changed.normal_()
    assert not torch.equal(frozen(batch), before), "changed weights are merged again"


@pytest.mark.parametrize(("name", "changes"), [VARIANTS[2], VARIANTS[4]])
def test_lowered_weights_compute_the_same(name: str, changes: dict[str, Any]) -> None:
    """As on a GPU: frozen weights in bf16, in training beside updates in fp32, in prediction merged."""
    model, batch = build(name, changes), Batch(torch.randn(2, 4, 3, 32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        expected = model(batch).logits.detach()
        in_training = lower_frozen(model, torch.bfloat16)
        found = in_training(batch).logits
    assert torch.equal(found, expected)
    own = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for p in in_training.parameters() if p.requires_grad} == own
    (encoder,) = model.encoders()
    lowered = model.with_modules({encoder: lower(merge(encoder), torch.bfloat16)})
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = lowered(batch).logits
    tolerance = 0.05 * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@variants
@pytest.mark.parametrize("num_frames", [1, 3, 7])
def test_other_numbers_of_frames_are_possible(
    name: str, changes: dict[str, Any], num_frames: int
) -> None:
    logits = build(name, changes)(Batch(torch.randn(2, num_frames, 3, 32, 32))).logits
    assert logits.isfinite().all()


def test_without_a_temporal_adapter_whole_frames_are_shared() -> None:
    frames = torch.randn(3, 3, 32, 32)
    assert build("lora", {}).encode_frames(frames).shape == (3, 32)  # features
    assert build("pe-clip", LORA).encode_frames(frames).ndim == 4  # tokens before the first TDA


@pytest.mark.parametrize(("name", "changes"), [VARIANTS[2], ("pe-clip", LORA | HEAD)])
def test_every_explanation_works_on_the_merged_model(name: str, changes: dict[str, Any]) -> None:
    model, batch = build(name, changes), Batch(torch.randn(1, 4, 3, 32, 32))
    window = ExplainedWindow(model, batch, 2, range(4))
    logits = model(batch).logits[0]
    others = torch.cat([logits[:2], logits[3:]]).logsumexp(0)
    torch.testing.assert_close(window.predict(batch), logits[2] - others, rtol=0, atol=1e-4)
    for title, method in METHODS.items():
        if not (method.missing_in_model(model) or method.missing_in_window(window)):
            finding = method.find(window)
            values = [v for v in (finding.frames, finding.maps) if v is not None]
            assert all(np.isfinite(value).all() for value in values)
            # The scales of random adapters may all be 0.
            assert title == "dynamic-scale" or all(value.any() for value in values)


def test_finecliper_pools_each_stream_by_the_head() -> None:
    model = build("finecliper", HEAD | {"parts": True})
    pictures = torch.randn(2, 4, 2, 3, 32, 32)
    found = torch.tensor([[True, True, False, True], [False] * 4])
    frames = torch.randn(2, 4, 3, 32, 32)

    def logits() -> torch.Tensor:
        with torch.no_grad():
            return model(Batch(frames, streams={"parts": PartsStream(pictures, found)})).logits

    before = logits()
    pictures[~found] = 7.0
    torch.testing.assert_close(logits(), before)
    assert isinstance(model.pooling, TemporalHead)


# Files


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backbone with published weights: those of a fixed seed."""
    monkeypatch.setattr("peclip.nn.published.check_tag", lambda *_, **__: None)

    def load(model: nn.Module, *_: object) -> None:
        generator = torch.Generator().manual_seed(5)
        for parameter in model.parameters():
            parameter.data.normal_(std=0.1, generator=generator)

    monkeypatch.setattr("peclip.nn.published.load_weights", load)


@variants
def test_a_checkpoint_holds_the_bricks_and_not_the_backbone(
    name: str, changes: dict[str, Any], tmp_path: Path, published: None
) -> None:
    config = config_of(name, changes).derive(pretrained="published")
    model = build_model(config).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.1)
    save_model(model, config, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored.keys() == {n for n, p in model.named_parameters() if p.requires_grad}
    if name == "lora" and not changes:
        assert all(".lora." in key and key.endswith((".down", ".up")) for key in stored)
    loaded = load_model(read_checkpoint(tmp_path, name="x"), settings=load_settings())
    batch = Batch(torch.randn(2, 4, 3, 32, 32))
    with torch.no_grad():
        assert torch.equal(loaded(batch).logits, model(batch).logits)


def test_a_configuration_from_before_the_bricks_is_read(tmp_path: Path) -> None:
    recognizer = PEClip.from_pretrained("debug", device="cpu")
    recognizer.save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    assert fields.pop("lora") is fields.pop("temporal_head") is None
    (tmp_path / "config.json").write_text(json.dumps(fields))
    again = PEClip.from_pretrained(tmp_path, device="cpu")
    batch = Batch(torch.randn(1, 4, 3, 32, 32))
    with torch.no_grad():
        assert torch.equal(again.model(batch).logits, recognizer.model(batch).logits)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"lora": {"rank": 33, "towers": ["text"]}}, "lora.rank to at most 32"),
        ({"lora": {"rank": 0}}, "lora.rank"),
        ({"lora": {"matrices": ["q", "q"]}}, "duplicates: q, q"),
        ({"lora": {"matrices": ["w"]}}, "lora.matrices.0.*'q', 'k', 'v', 'out', 'fc1' or 'fc2'"),
        ({"lora": {"towers": []}}, "lora.towers"),
        ({"temporal_head": {"heads": 5}}, "heads is 5, .* 32. Change temporal_head.heads"),
        ({"temporal_head": {"width": 12, "heads": 8}}, "temporal head, 12"),
        (
            {"temporal_head": {"width": 16, "mlp_ratio": 0.06}},
            r"width 16 .*\.mlp_ratio to at least 0\.063",
        ),
    ],
)
def test_an_invalid_brick_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build_model(read_config(debug_config().model_dump() | fields))
