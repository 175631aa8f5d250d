"""FineCLIPER: sizes, the frozen CLIP at the start, streams and their weights, the score rule, the losses."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from peclip.config import TowerSize
from peclip.data.streams.captions import CaptionStream
from peclip.data.streams.parts import PartsStream
from peclip.errors import ConfigError
from peclip.labels import LabelSet
from peclip.models import base, fine_cliper
from peclip.models.fine_cliper import FineCLIPERModel
from peclip.models.fine_cliper_config import FineCLIPERConfig
from peclip.models.pe_clip_config import PEClipConfig
from peclip.models.registry import build_model, read_config
from peclip.nn.clip import load_backbone
from peclip.nn.contrast import align, polarity_cosines
from peclip.nn.fusion import AdaptiveWeights, FixedWeights
from peclip.types import Batch
from peclip.weights.parameter_counts import count_parameters
from peclip.weights.resolve import backbone_model_config, debug_config

FULL = {"parts": True, "captions": True}


def build(**changes: Any) -> FineCLIPERModel:
    torch.manual_seed(0)
    model = build_model(debug_config("finecliper").derive(**changes)).eval()
    assert isinstance(model, FineCLIPERModel)
    return model


def randomise(model: FineCLIPERModel, size: float = 0.3) -> FineCLIPERModel:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=size)
    return model


def videos(count: int = 3, frames: int = 4, *, captions: tuple[str, ...] = ()) -> Batch:
    torch.manual_seed(2)
    return Batch(
        torch.randn(count, frames, 3, 32, 32),
        F.one_hot(torch.arange(count), 7).float(),
        {
            "parts": PartsStream(
                torch.randn(count, frames, 2, 3, 32, 32),
                torch.ones(count, frames, dtype=torch.bool),
            ),
            "captions": CaptionStream(captions or ("",) * count),
        },
    )


def parts_of(batch: Batch) -> PartsStream:
    parts = batch.streams["parts"]
    assert isinstance(parts, PartsStream)
    return parts


@pytest.mark.parametrize(
    ("changes", "paper"),
    [({}, 13), ({"parts": True}, 19), ({"captions": True}, 14), (FULL, 20)],
    ids=["base", "parts", "captions", "full"],
)
def test_the_variants_have_as_many_parameters_as_the_paper_prints(
    changes: dict[str, Any], paper: int
) -> None:
    config = FineCLIPERConfig().derive(**changes)
    trainable = sum(count_parameters(config)["trainable"].values())
    assert round(trainable / 1e6) == paper


def test_parameters_are_grouped_by_stream() -> None:
    counts = count_parameters(FineCLIPERConfig().derive(**FULL))["trainable"]
    # two adapters in each of 12 layers: down, up, and their biases
    assert counts["video"] == 24 * (2 * 768 * 192 + 192 + 768)
    assert counts["parsing"] == counts["landmarks"] == 24 * (2 * 768 * 80 + 80 + 768)
    assert counts["positive"] == counts["negative"] == 24 * (2 * 512 * 128 + 128 + 512)
    assert counts["captions"] == 24 * (2 * 512 * 40 + 40 + 512)
    assert counts["fusion"] == 4 * (512 + 1)
    assert counts["backbone"] == 0


def test_untrained_adapters_leave_the_clip_features_unchanged() -> None:
    model = build(**FULL)
    torch.manual_seed(0)
    plain = load_backbone("debug", None)
    batch = videos(captions=("the brows rise", "", "lips part"))
    with torch.inference_mode():
        expected = plain.vision(batch.frames).mean(1)
        stacked, present = model._visual_streams(batch)
        assert torch.allclose(stacked[:, 0], expected, atol=1e-5)
        parsing = plain.vision(parts_of(batch).pictures[:, :, 0]).mean(1)
        assert torch.allclose(stacked[:, 1], parsing, atol=1e-5)
        assert present.all()
        texts = [*model.texts, *(f"A person with an expression of no {n}" for n in model.labels)]
        features = F.normalize(plain.text(*plain.text.embed(texts)), dim=-1)
        assert torch.allclose(model.encode_labels().flatten(0, 1), features, atol=1e-5)
        described = F.normalize(plain.text(*plain.text.embed(["the brows rise"])), dim=-1)
        output = model(batch)
        assert torch.allclose(output.caption_features[:1], described, atol=1e-5)


def test_the_texts_are_the_papers() -> None:
    model = build()
    assert model.texts[0] == "A person with an expression of happiness"
    assert model.negative_text == "A person with an expression of no {label}"


def _unit(cosine: float, axis: int, size: int) -> Tensor:
    vector = torch.zeros(size)
    vector[0], vector[axis] = cosine, math.sqrt(1 - cosine**2)
    return vector


def scores_of(positive: list[float], negative: list[float]) -> Tensor:
    """Returns the scores of a video that has the given cosines with the texts of labels."""
    size = 1 + 2 * len(positive)
    sides = [
        torch.stack([_unit(c, 1 + number + start, size) for number, c in enumerate(cosines)])
        for cosines, start in ((positive, 0), (negative, len(positive)))
    ]
    return polarity_cosines(torch.eye(size)[:1], torch.stack(sides))[0]


# The cosines that the paper's figure prints for four videos of DFEW, as far as they are known to us.
@pytest.mark.parametrize(
    ("positive", "negative", "score"),
    [
        (0.2328, -0.0040, 0.2368),  # surprise
        (0.1499, -0.0163, 0.1662),  # happiness
        (0.2331, -0.0040, 0.2371),  # neutral
        (0.1768, 0.0270, 0.1498),  # fear
    ],
)
def test_the_worked_examples_of_the_paper(positive: float, negative: float, score: float) -> None:
    found = scores_of([positive, 0.0], [negative, 0.0])
    assert found[0].item() == pytest.approx(score, abs=1e-6)


def test_the_score_rule_is_right_where_one_side_alone_is_wrong() -> None:
    # Fear: the largest positive cosine is that of surprise, and the negative one tells them apart.
    fear = scores_of([0.1768, 0.1805], [0.0270, 0.0598])
    assert torch.tensor([0.1768, 0.1805]).argmax() == 1
    assert fear.argmax() == 0
    # Happiness: neutral has the larger positive cosine; any negative cosine of it above 0.0223 decides.
    assert scores_of([0.1499, 0.1885], [-0.0163, 0.0224])[0] > 0.1661
    assert scores_of([0.1499, 0.1885], [-0.0163, 0.0224]).argmax() == 0
    assert scores_of([0.1499, 0.1885], [-0.0163, 0.0222]).argmax() == 1


def test_a_video_does_not_depend_on_its_batch() -> None:
    model = randomise(build(**FULL)).double()
    batch = videos(captions=("the brows rise", "", "lips part and the jaw drops"))
    captions, parts = batch.streams["captions"], parts_of(batch)
    assert isinstance(captions, CaptionStream)
    pictures = parts.pictures.double()
    in_double = {"parts": replace(parts, pictures=pictures), "captions": captions}
    batch = replace(batch, frames=batch.frames.double(), streams=in_double)
    with torch.inference_mode():
        together = model(batch).logits
        for place in range(3):
            one = slice(place, place + 1)
            streams = {
                "parts": PartsStream(pictures[one], parts.found[one]),
                "captions": CaptionStream(captions.texts[one]),
            }
            alone = replace(batch, frames=batch.frames[one], streams=streams)
            assert torch.allclose(model(alone).logits[0], together[place], atol=1e-5)


def test_label_order_does_not_matter() -> None:
    model = randomise(build(**FULL))
    order = [3, 1, 6, 0, 2, 5, 4]
    other = model.with_labels(LabelSet(tuple(model.labels.names[i] for i in order)))
    with torch.inference_mode():
        assert torch.allclose(
            model(videos()).logits[:, order], other(videos()).logits, atol=1e-3, rtol=1e-4
        )


def test_frames_without_a_face_are_masked_and_not_shown_as_empty_pictures() -> None:
    model = randomise(build(parts=True))
    batch = videos()
    parts = parts_of(batch)
    parts.found[0, 2:] = False  # the first video: two frames with a face
    parts.found[1] = False  # the second: none
    changed = parts.pictures.clone()
    changed[0, 2:], changed[1] = 7.0, -3.0
    other = replace(batch, streams={"parts": replace(parts, pictures=changed)})
    with torch.inference_mode():
        first, second = model(batch), model(other)
    assert torch.allclose(first.logits, second.logits, atol=1e-4)
    assert first.weights[1].tolist() == [1, 0, 0]
    assert (first.weights[0] > 0).all()
    assert torch.allclose(first.weights.sum(1), torch.ones(3))


def test_a_model_with_parts_reports_missing_parts() -> None:
    with pytest.raises(ConfigError, match=r"prepare --parts"):
        build(parts=True)(Batch(torch.randn(1, 4, 3, 32, 32)))


def test_a_missing_caption_has_no_weight() -> None:
    model = randomise(build(captions=True))
    told = ("the brows rise", "", "lips part")
    with torch.inference_mode():
        output = model(videos(captions=told))
        silent = model(videos())
    assert output.weights[1].tolist() == [1, 0]
    assert (output.weights[0] > 0).all()
    assert torch.allclose(output.logits[1], silent.logits[1], atol=1e-4)
    assert not torch.allclose(output.logits[0], silent.logits[0], atol=1e-2)


def test_a_long_caption_is_truncated_as_clip_does() -> None:
    model = build(captions=True)
    long = "the corners of the mouth rise " * 60
    with torch.inference_mode():
        output = model(videos(captions=(long, long + "and fall", "")))
    assert torch.allclose(output.caption_features[0], output.caption_features[1])


def test_adaptive_weights_start_equal_and_learn_the_useful_stream() -> None:
    weigh = AdaptiveWeights(8, ["video", "parsing", "landmarks"])
    features = F.normalize(torch.randn(4, 3, 8), dim=-1)
    present = torch.tensor([[True, True, True]] * 3 + [[True, False, True]])
    assert torch.allclose(weigh(features, present)[0], torch.full((3,), 1 / 3))
    assert weigh(features, present)[3].tolist() == pytest.approx([0.5, 0, 0.5])
    weigh(features, present)[:, 0].sum().backward()
    assert all(score.weight.grad is not None for score in weigh.scores.values())


@pytest.mark.parametrize(
    ("present", "weights"),
    [
        ([True, True, True], [0.6, 0.2, 0.2]),
        ([True, True, False], [0.6, 0.4, 0.0]),
        ([True, False, False], [1.0, 0.0, 0.0]),
    ],
)
def test_fixed_weights_split_the_rest_after_the_video(
    present: list[bool], weights: list[float]
) -> None:
    found = FixedWeights(0.6)(torch.zeros(1, 3, 4), torch.tensor([present]))
    assert found[0].tolist() == pytest.approx(weights)


def test_parameter_names_of_a_stream_do_not_depend_on_other_streams() -> None:
    captions_only, full = (
        dict(build(**c).weights.named_parameters()) for c in ({"captions": True}, FULL)
    )
    assert set(captions_only) < set(full)
    assert {name.split(".")[1] for name in full} == {"video", "parsing", "landmarks", "captions"}


def test_texts_may_hold_braces() -> None:
    model = build(positive_text="{label} {x", negative_text="no {label} {}")
    assert model.texts[0] == "happiness {x"
    with torch.inference_mode():
        assert model.encode_labels().shape == (2, 7, 32)


def test_fusion_is_set_in_the_configuration() -> None:
    model = build(parts=True, fusion="fixed", video_weight=0.8)
    assert isinstance(model.weights, FixedWeights)
    assert sum(p.numel() for p in model.weights.parameters()) == 0
    with torch.inference_mode():
        assert model(videos()).weights[0].tolist() == pytest.approx([0.8, 0.1, 0.1])


def test_alignment_by_hand() -> None:
    eye = torch.eye(3)
    perfect = align(eye, eye, ("a", "b", "c"), 1.0)
    expected = -math.log(math.e / (math.e + 2))
    assert perfect.item() == pytest.approx(expected, abs=1e-6)
    assert align(eye, eye[[1, 2, 0]], ("a", "b", "c"), 1.0) > perfect
    # a video without a caption is left out, and so are two that have the same one as each other's wrong
    assert align(eye, eye, ("a", "", "c"), 1.0).item() == pytest.approx(
        -math.log(math.e / (math.e + 1)), abs=1e-6
    )
    same = align(eye[[0, 0]], eye[[0, 0]], ("a", "a"), 1.0)
    assert same.item() == pytest.approx(math.log(2), abs=1e-6)
    assert align(eye, None, (), 1.0).item() == 0


def test_alignment_is_in_fp32_under_autocast() -> None:
    torch.manual_seed(3)
    one, other = (F.normalize(torch.randn(8, 32), dim=-1) for _ in range(2))
    texts = tuple("abcdefgh")
    plain = align(one, other, texts, 0.01)
    with torch.autocast("cpu", torch.bfloat16):
        assert align(one, other, texts, 0.01).item() == pytest.approx(plain.item(), abs=1e-5)


def test_supervision_by_captions_does_not_look_at_the_targets() -> None:
    model = build(captions=True, supervision="captions")
    batch = videos(captions=("the brows rise", "lips part", "the jaw drops"))
    output = model(batch)
    one, other = (model.loss(output, t) for t in (batch.targets, torch.rand(3, 7)))
    assert one.item() == other.item()
    one.backward()
    trained = {
        part: any(p.grad is not None and p.grad.abs().sum() > 0 for p in members)
        for part, members in model.parameter_groups().items()
    }
    assert trained["video"]
    assert trained["captions"]
    assert not trained["positive"]
    assert not trained["negative"]


def test_supervision_by_captions_reads_labels_through_the_encoder_of_the_captions() -> None:
    model = randomise(build(captions=True, supervision="captions"))
    with torch.inference_mode():
        before = model.encode_labels()
        for parameter in (
            model.parameter_groups()["positive"] + model.parameter_groups()["negative"]
        ):
            parameter.add_(1.0)
        assert torch.equal(model.encode_labels(), before)
        for parameter in model.parameter_groups()["captions"]:
            parameter.add_(1.0)
        assert not torch.allclose(model.encode_labels(), before)


def test_every_adapter_learns() -> None:
    model = randomise(build(**FULL), size=0.05)
    batch = videos(captions=("the brows rise", "lips part", "the jaw drops"))
    assert batch.targets is not None
    model.loss(model(batch), batch.targets).backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
        assert parameter.grad is None or parameter.grad.abs().sum() > 0, name


def test_checkpointing_leaves_results_unchanged() -> None:
    model = randomise(build(**FULL), size=0.05)
    batch = videos(captions=("the brows rise", "", "the jaw drops"))
    assert batch.targets is not None
    grads = []
    for enabled in (False, True):
        model.checkpoint_activations(enabled)
        model.zero_grad()
        model.loss(model(batch), batch.targets).backward()
        grads.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"positive_text": "a face"}, r"positive_text must contain \{label\}"),
        ({"supervision": "captions"}, "captions=true"),
        ({"scale": 0}, "Invalid scale"),
        ({"prompt_length": 2}, "Invalid prompt_length"),
        ({"architecture": "finest"}, "pe-clip or finecliper"),
        ({"architecture": 3}, "pe-clip or finecliper"),
    ],
)
def test_a_configuration_is_checked(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_config({"architecture": "finecliper"} | values)


def test_a_configuration_is_read_by_its_architecture() -> None:
    config = FineCLIPERConfig(parts=True)
    assert read_config(config.model_dump_json()) == config
    assert isinstance(read_config({}), PEClipConfig)


def test_any_backbone_will_do() -> None:
    config = backbone_model_config("ViT-L-14-quickgelu", "openai", "finecliper")
    counts = count_parameters(config)["trainable"]
    assert counts["video"] == 48 * (2 * 1024 * 192 + 192 + 1024)


@pytest.mark.parametrize("changes", [{}, FULL, {"video_bottleneck": 5, "parts": True}])
def test_the_adapters_are_counted_before_they_are_built(changes: dict[str, Any]) -> None:
    config = debug_config("finecliper").derive(**changes)
    model = build_model(config)
    sizes = (TowerSize(len(t.blocks), t.width) for t in (model.vision, model.text))  # type: ignore[arg-type]
    built = [p.numel() for name, p in model.named_parameters() if "adapters" in name.split(".")]
    assert config.added_parameters(*sizes) == sum(built) > 0


def test_widths_that_fill_the_memory_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a layer of the adapters is allocated")

    monkeypatch.setattr(fine_cliper, "FineCLIPERBlock", never)
    monkeypatch.setattr(base, "MAX_ADDED", 2_000_000)
    wide = debug_config("finecliper").derive(video_bottleneck=16_384)
    with pytest.raises(ConfigError, match="at most 2,000,000 are supported. Reduce the widths"):
        build_model(wide)
    with pytest.raises(ConfigError, match="video_bottleneck"):
        debug_config("finecliper").derive(video_bottleneck=20_000_000)


def test_a_hostile_configuration_of_widths(shared_data: Path) -> None:
    """9.8 GB of adapters in 840 bytes."""
    text = (shared_data / "hard" / "config_finecliper_bomb.json").read_text()
    with pytest.raises(ConfigError, match="Invalid video_bottleneck: .*16384.*20000000"):
        read_config(text)
    text = (shared_data / "hard" / "config_labels.json").read_text()
    with pytest.raises(ConfigError, match="unpaired surrogate"):
        read_config(text)


def test_a_window_has_a_maximum_of_pixels() -> None:
    config = debug_config("finecliper")
    large = config.derive(num_frames=1024, preprocess={"image_size": 181})
    assert large.window_pixels == 1024 * 181**2
    with pytest.raises(ConfigError, match="a window has 33,918,976 pixels; use at most 33,554,432"):
        config.derive(num_frames=1024, preprocess={"image_size": 182})
