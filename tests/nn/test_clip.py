from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from huggingface_hub.file_download import repo_folder_name
from safetensors.torch import save_file
from torch import Tensor

from peclip.errors import CheckpointError, ConfigError, WeightsError
from peclip.nn import backbone_config
from peclip.nn.clip import _tokenizer, load_backbone
from peclip.nn.clip_block import ClipBlock
from peclip.nn.towers import TextTower, VisionTower
from peclip.nn.transformers import Clip, LayerNorm

SMALL = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 3, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3},
}
TEXTS = ["a happy face", "Inner Brow Raiser, Brow Lowerer, Lip Corner Depressor.", "fear"]


@pytest.mark.parametrize("quick_gelu", [True, False])
@pytest.mark.parametrize("custom_text", [True, False])
def test_tower_equals_open_clip(quick_gelu: bool, custom_text: bool) -> None:
    kind = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
    model = kind(**SMALL, quick_gelu=quick_gelu).eval()
    frames = torch.randn(2, 3, 3, 32, 32)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    with torch.inference_mode():
        images = model.encode_image(frames.flatten(0, 1)).unflatten(0, (2, 3))
        texts = model.encode_text(tokenizer(TEXTS))
        # The towers take the parts over, so the reference comes first.
        vision = VisionTower(model.visual)
        text = TextTower(model.text if custom_text else model, _tokenizer({}))
        assert torch.allclose(vision(frames), images, atol=1e-5)
        assert torch.allclose(text(*text.embed(TEXTS)), texts, atol=1e-5)


@pytest.mark.parametrize("quick_gelu", [True, False])
@pytest.mark.parametrize("custom_text", [True, False])
@pytest.mark.parametrize("more", [{}, {"patch_size": 8, "head_width": 16, "mlp_ratio": 3.0}])
def test_own_modules_equal_those_of_open_clip(
    quick_gelu: bool, custom_text: bool, more: dict[str, float]
) -> None:
    """With the same seed: parameters of the same names and values, and the same features."""
    config = {**SMALL, "vision_cfg": {**SMALL["vision_cfg"], **more}, "quick_gelu": quick_gelu}
    assert backbone_config.is_plain(config)
    torch.manual_seed(3)
    model = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**config).eval()
    torch.manual_seed(3)
    own = Clip(**config).eval()
    text = model.text if custom_text else model
    for mine, theirs in ((own.visual, model.visual), (own.text, text)):
        values = theirs.state_dict()
        assert mine.state_dict().keys() <= values.keys()
        for name, value in mine.state_dict().items():
            assert torch.equal(value, values[name]), name
    frames = torch.randn(2, 3, 3, 32, 32)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    with torch.inference_mode():
        images = model.encode_image(frames.flatten(0, 1), normalize=True).unflatten(0, (2, 3))
        texts = model.encode_text(tokenizer(TEXTS), normalize=True)
        vision, encoder = VisionTower(own.visual), TextTower(own.text, _tokenizer({}))
        seen, read = vision(frames), encoder(*encoder.embed(TEXTS))
    torch.testing.assert_close(F.normalize(seen, dim=-1), images, atol=1e-6, rtol=0)
    torch.testing.assert_close(F.normalize(read, dim=-1), texts, atol=1e-6, rtol=0)


def test_a_layer_norm_keeps_the_type_under_autocast() -> None:
    x = torch.randn(2, 8, dtype=torch.bfloat16)
    own, theirs = LayerNorm(8), open_clip.transformer.LayerNorm(8)
    with torch.autocast("cpu", torch.bfloat16):
        assert own(x).dtype == theirs(x).dtype == torch.bfloat16
        assert torch.equal(own(x), theirs(x))


@pytest.mark.parametrize("name", ["debug", "nano", "ViT-B-32", "ViT-L-14-quickgelu"])
def test_plain_backbones_are_built_without_open_clip(name: str) -> None:
    assert backbone_config.is_plain(backbone_config.backbone_config(name))


def test_layer_scales_are_left_to_open_clip() -> None:
    """`ViT-M-16-alt` has a layer scale, which only open_clip's modules implement."""
    assert not backbone_config.is_plain(backbone_config.backbone_config("ViT-M-16-alt"))
    block: Any = load_backbone("ViT-M-16-alt", None).vision.blocks[0]
    assert isinstance(block.block.ls_1, open_clip.transformer.LayerScale)


@pytest.mark.slow
def test_the_paper_s_backbone_equals_open_clip() -> None:
    config = backbone_config.backbone_config("ViT-B-32-quickgelu")
    model = open_clip.CLIP(**config).eval()
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    frames = torch.randn(1, 2, 3, 224, 224)
    with torch.inference_mode():
        images, texts = model.encode_image(frames[0]), model.encode_text(tokenizer(TEXTS))
        vision, text = VisionTower(model.visual), TextTower(model, _tokenizer({}))
        assert torch.allclose(vision(frames)[0], images, atol=1e-5)
        assert torch.allclose(text(*text.embed(TEXTS)), texts, atol=1e-5)


def test_a_text_does_not_depend_on_the_longest_one() -> None:
    text = load_backbone("debug", None).text
    alone = text(*text.embed(TEXTS[:1]))
    together = text(*text.embed(TEXTS))
    assert torch.allclose(alone[0], together[0], atol=1e-6)


def test_prompts_reach_the_layers_up_to_their_depth() -> None:
    backbone = load_backbone("debug", None)
    frames = torch.randn(1, 2, 3, 32, 32)
    prompts = [torch.randn(2, backbone.vision.width) for _ in range(2)]
    base = backbone.vision(frames, prompts)
    for depth in range(2):
        other = list(prompts)
        other[depth] = torch.randn(2, backbone.vision.width)  # LN removes a mere shift
        assert not torch.allclose(backbone.vision(frames, other), base, atol=1e-3)
    assert backbone.vision(frames, prompts[:1]).shape == base.shape


def test_a_deep_prompt_replaces_the_one_before_it() -> None:
    vision = load_backbone("debug", None).vision
    seen: list[int] = []
    for block in vision.blocks:
        block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    vision(torch.randn(1, 1, 3, 32, 32), [torch.randn(2, 64), torch.randn(2, 64)])
    assert seen == [1 + 4 + 2, 1 + 4 + 2]


def test_everything_is_frozen_and_nothing_is_registered_twice() -> None:
    backbone = load_backbone("debug", None)
    towers = torch.nn.ModuleList([backbone.vision, backbone.text])
    assert not any(p.requires_grad for p in towers.parameters())
    names = [name for name, _ in towers.named_parameters(remove_duplicate=False)]
    assert len(names) == len({id(p) for p in towers.parameters()})


def test_a_short_vocabulary_spells_every_text() -> None:
    full, short = load_backbone("ViT-S-16", None).text, load_backbone("nano", None).text
    for word in ["Brow", "Überraschung", "kŕdeľ", "表情", "a b"]:
        tokens = short.tokenizer.encode(word)
        assert max(tokens) < short.token_embedding.num_embeddings
        assert short.tokenizer.decode(tokens).strip() == word.lower()
        assert len(tokens) >= len(full.tokenizer.encode(word))


def test_a_text_beyond_the_context_is_refused() -> None:
    text = load_backbone("debug", None).text
    with pytest.raises(ConfigError, match=r"has \d+ tokens.*at most 77"):
        text.embed(["brow " * 99], prompt_length=2)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ViT-B-61", "'ViT-B-61'.*ViT-B-16"),
        ("RN50", "'RN50' cannot be adapted: .*ResNet.*peclip models list --backbones"),
        ("convnext_tiny", "cannot be adapted: .*ConvNeXt"),
        ("coca_ViT-B-32", "cannot be adapted: .*CoCa"),
        ("roberta-ViT-B-32", "cannot be adapted: .*roberta-base"),
        ("", "Unknown backbone"),
        ("../clip", "Unknown backbone"),
    ],
)
def test_an_incompatible_backbone_is_refused(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_backbone(name, None)


def test_the_quickgelu_trap_is_an_error() -> None:
    with pytest.raises(ConfigError, match="trained with QuickGELU.*ViT-B-16-quickgelu/openai"):
        load_backbone("ViT-B-16", "openai", offline=True)
    with pytest.raises(ConfigError, match="Unknown weights .*openai"):
        load_backbone("ViT-B-16-quickgelu", "nobody", offline=True)


def test_missing_offline_weights_give_the_download_command(tmp_path) -> None:
    with pytest.raises(
        WeightsError, match="offline.*peclip models download ViT-B-32-quickgelu/openai"
    ):
        load_backbone("ViT-B-32-quickgelu", "openai", cache_dir=tmp_path, offline=True)


def cached_file(cache: Path, name: str) -> Path:
    """Returns where a hub cache keeps a file of OpenAI's ViT-B/32; the names are those of the hub."""
    weights = open_clip.get_pretrained_cfg("ViT-B-32-quickgelu", "openai")
    repo = weights["hf_hub"].rpartition("/")[0]
    folder = cache / repo_folder_name(repo_id=repo, repo_type="model")
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    return snapshot / name


@pytest.fixture
def _small_vit_b_32(monkeypatch: pytest.MonkeyPatch) -> None:
    """ViT-B/32 with three narrow layers: its file has 1 MB instead of 600."""
    config = {**SMALL, "quick_gelu": True}
    monkeypatch.setattr(backbone_config, "published_config", lambda _: config)


@pytest.mark.usefixtures("_small_vit_b_32")
@pytest.mark.parametrize(
    ("name", "save"),
    [("open_clip_model.safetensors", save_file), ("open_clip_pytorch_model.bin", torch.save)],
)
def test_cached_weights_load_without_a_network(
    name: str, save: Callable[[dict[str, Tensor], Path], None], tmp_path: Path
) -> None:
    """A cache that holds the file, by either of its names, is all that is needed; half a file is named."""
    model = open_clip.CLIP(**backbone_config.backbone_config("ViT-B-32-quickgelu"))
    path = cached_file(tmp_path, name)
    save({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    backbone = load_backbone("ViT-B-32-quickgelu", "openai", cache_dir=tmp_path, offline=True)
    assert torch.equal(backbone.vision.projection, model.visual.proj)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(
        CheckpointError, match=f"openai cannot be loaded: .*If '{path}' is corrupt, delete it"
    ) as caught:
        load_backbone("ViT-B-32-quickgelu", "openai", cache_dir=tmp_path, offline=True)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("_small_vit_b_32")
@pytest.mark.parametrize("content", [b"", b"no pickle", b"garbage\n"])
def test_corrupt_cached_weights(content: bytes, tmp_path: Path) -> None:
    cached_file(tmp_path, "open_clip_pytorch_model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be loaded: .*is corrupt, delete it"):
        load_backbone("ViT-B-32-quickgelu", "openai", cache_dir=tmp_path, offline=True)


def test_a_plain_block_equals_that_of_clip() -> None:
    model = open_clip.CLIP(**SMALL).eval()
    block = model.visual.transformer.resblocks[0]
    x = torch.randn(4, 5, 64)
    assert torch.allclose(ClipBlock(block)(x), block(x), atol=1e-6)
