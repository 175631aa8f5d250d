from __future__ import annotations

import pytest
import torch

from peclip.errors import ConfigError
from peclip.labels import LabelSet
from peclip.models.descriptions import describe
from peclip.models.pe_clip import PEClipModel
from peclip.models.pe_clip_config import PEClipConfig
from peclip.models.registry import build_model
from peclip.nn.adapters import Adapter
from peclip.nn.clip import load_backbone
from peclip.types import Batch
from peclip.weights.resolve import backbone_model_config, debug_config


def build(**changes) -> PEClipModel:
    model = build_model(debug_config().derive(**changes))
    assert isinstance(model, PEClipModel)
    return model.eval()


def randomise_adapters(model: PEClipModel) -> None:
    """Large random values, as no training would leave them: what leaks would show."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.5)


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("backbone", "shared", "expected"),
    [
        ("ViT-B-16-quickgelu", "per_layer", 9_399_564),  # the released code's count (papers.md 1.4)
        ("ViT-B-16-quickgelu", "shared", 7_040_812),
        ("ViT-B-32-quickgelu", "per_layer", 9_399_564),  # the patch size changes no adapter
        ("ViT-L-14-quickgelu", "per_layer", None),
    ],
)
def test_parameters_of_the_released_layout(
    backbone: str, shared: str, expected: int | None
) -> None:
    config = backbone_model_config(backbone, "openai")
    with torch.device("meta"):
        model = build_model(config.derive(pretrained=None, shared_adapter=shared))
    parts = {name: sum(p.numel() for p in part) for name, part in model.parameter_groups().items()}
    assert sum(parts.values()) == sum(p.numel() for p in model.parameters())
    assert sum(parts.values()) - parts["backbone"] == count(model)
    if expected is not None:
        assert count(model) == expected
        assert parts["prompts"] == 3_555_072
    if (backbone, shared) == ("ViT-B-16-quickgelu", "per_layer"):
        assert parts["ShA"] + parts["TDA"] + parts["TA"] == 5_844_492


def test_only_adapters_and_prompts_train() -> None:
    model = build()
    for part, parameters in model.parameter_groups().items():
        assert parameters
        assert all(p.requires_grad == (part != "backbone") for p in parameters)
    randomise_adapters(model)
    output = model(Batch(torch.randn(2, 4, 3, 32, 32)))
    model.loss(output, torch.eye(7)[:2]).backward()
    for parameter in model.parameters():
        assert (parameter.grad is not None) == parameter.requires_grad
    for part, parameters in model.parameter_groups().items():
        assert part == "backbone" or any(p.grad is not None and p.grad.any() for p in parameters)


def test_an_adapted_model_is_plain_clip_before_training() -> None:
    """With adapters at their start and no prompts, the features are CLIP's own to 1e-5."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        plain = load_backbone("debug", None)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = build(prompt_length=0)
    frames = torch.randn(2, 4, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(model.vision(frames), plain.vision(frames), atol=1e-5)
        expected = plain.text(*plain.text.embed(model.texts))
        assert torch.allclose(
            model.encode_labels(), torch.nn.functional.normalize(expected, dim=-1), atol=1e-5
        )


def test_a_video_does_not_depend_on_its_batch() -> None:
    model = build().double()  # so that rounding does not hide behind the factor 100 of the logits
    randomise_adapters(model)
    videos = torch.randn(3, 4, 3, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        together = model(Batch(videos)).logits
        reordered = model(Batch(videos[[2, 0, 1]])).logits
        alone = torch.cat([model(Batch(video[None])).logits for video in videos])
    assert together.std() > 0.1
    assert torch.allclose(together, alone, rtol=0, atol=1e-5)
    assert torch.allclose(together[[2, 0, 1]], reordered, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_overfits_eight_videos() -> None:
    """Adapters and prompts alone learn eight random videos by heart: gradients reach what they must."""
    model = build().train()
    batch = Batch(torch.randn(8, 4, 3, 32, 32), torch.eye(7)[[0, 1, 2, 3, 4, 5, 6, 0]])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(200):
        loss = model.loss(model(batch), batch.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        guess = model.eval()(batch).logits.argmax(-1)
    assert guess.tolist() == batch.targets.argmax(-1).tolist()
    assert loss < 0.5


def test_label_order_does_not_matter() -> None:
    model = build()
    randomise_adapters(model)
    batch = Batch(torch.randn(2, 4, 3, 32, 32))
    order = [3, 1, 6, 0, 2, 5, 4]
    names = tuple(model.labels.names[i] for i in order)
    other = model.with_labels(LabelSet(names))
    assert other.texts == tuple(model.texts[i] for i in order)
    with torch.inference_mode():
        assert torch.allclose(model(batch).logits[:, order], other(batch).logits, atol=1e-4)
    assert model.labels.names[0] == "happiness", "the first model keeps its own labels"


def test_label_features_are_the_same_given_or_computed() -> None:
    model = build()
    batch = Batch(torch.randn(2, 4, 3, 32, 32))
    with torch.inference_mode():
        features = model.encode_labels()
        assert torch.equal(model(batch, features).logits, model(batch).logits)
    assert torch.allclose(features.norm(dim=-1), torch.ones(7))


def test_the_adapters_see_the_order_of_frames_and_mean_pooling_does_not() -> None:
    video = torch.randn(1, 4, 3, 32, 32)
    for temporal, ordered in [("gru", True), ("none", False)]:
        model = build(temporal_adapter=temporal)
        randomise_adapters(model)
        with torch.inference_mode():
            same = torch.allclose(
                model(Batch(video)).logits, model(Batch(video.flip(1))).logits, atol=1e-3
            )
        assert same is not ordered


@pytest.mark.parametrize(
    "changes",
    [
        {"shared_adapter": "none"},
        {"temporal_adapter": "none"},
        {"text_adapter": "none"},
        {"prompt_length": 0},
        {"descriptions": "names"},
        {"adapter_init": "default"},
        {"shared_adapter": "shared"},
    ],
)
def test_every_variant_builds_and_trains_the_remaining_modules(changes: dict) -> None:
    model = build(**changes)
    output = model(Batch(torch.randn(1, 4, 3, 32, 32)))
    assert output.logits.shape == (1, 7)
    output.logits.sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad is not None for p in trained)
    if "descriptions" in changes:
        assert model.texts == tuple(describe(model.labels, "names", {}))
    elif "adapter_init" in changes:
        ups = [m.up.weight for m in model.modules() if isinstance(m, Adapter)]
        assert all(weight.any() for weight in ups)
    else:
        assert count(model) < count(build())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"quick_gelu": False}, "quick_gelu=False.*Set quick_gelu to match"),
        ({"prompt_depth": 3}, "prompt_depth to at most 2"),
        ({"preprocess": {"image_size": 48}}, "takes images of 32 pixels"),
        ({"adapter_reduction": 33}, "Set adapter_reduction to at most 32"),
    ],
)
def test_an_incompatible_configuration_names_the_reason(changes: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build(**changes)


def test_the_logits_are_cosines_over_the_temperature() -> None:
    config = debug_config()
    hot, cold = build_model(config.derive(temperature=1.0)), build_model(config)
    cold.load_state_dict(hot.state_dict())
    batch = Batch(torch.randn(1, 4, 3, 32, 32))
    assert torch.allclose(hot(batch).logits * 100, cold(batch).logits, atol=1e-4)
    assert hot(batch).logits.abs().max() <= 1 + 1e-5


def test_the_default_configuration_is_the_release() -> None:
    config = PEClipConfig()
    assert (config.num_frames, config.adapter_reduction) == (16, 8)
    assert (config.prompt_length, config.prompt_depth, config.temperature) == (2, 9, 0.01)


def test_logits_are_exact_under_autocast() -> None:
    """In bf16, logits of 16 to 32 would be multiples of 0.125, and videos that differ would tie."""
    model = build_model(debug_config()).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = model(Batch(torch.rand(3, 4, 3, 32, 32)))
    assert output.logits.dtype == torch.float32
    expected = output.video_features @ output.label_features.float().T / model.temperature
    assert torch.allclose(output.logits, expected, atol=1e-4)
