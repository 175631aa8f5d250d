"""`pretrained` as a file: three layouts of the same weights give the same features, and anything else is refused."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from small_backbones import CONFIGS, publish, weight_file

from peclip.config import PreprocessConfig
from peclip.errors import CheckpointError, ConfigError
from peclip.models.registry import build_model
from peclip.nn.clip import load_backbone
from peclip.nn.jit_archive import is_jit_archive
from peclip.nn.layouts import read_state, sizes_of_backbones
from peclip.nn.weight_name import WeightFile
from peclip.settings import load_settings
from peclip.weights.checkpoint import save_model
from peclip.weights.folder import CONFIG, read_checkpoint
from peclip.weights.resolve import backbone_model_config, resolve

SMALL: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 3, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 1024, "width": 32, "heads": 2, "layers": 2},
}
QUICK = SMALL | {"quick_gelu": True}
TEXTS = ["a happy face", "fear"]


@pytest.fixture(autouse=True)
def _published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, tmp_path, CONFIGS | {"small": SMALL, "small-quickgelu": QUICK})
    sizes_of_backbones.cache_clear()


def openai_model() -> Any:
    torch.manual_seed(5)
    model = open_clip.CLIP(**SMALL).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def state_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.contiguous() for name, value in model.state_dict().items()}


def features(pretrained: str, name: str = "small") -> tuple[torch.Tensor, torch.Tensor]:
    backbone = load_backbone(name, pretrained, offline=True)
    frames = torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(1, 2, 3, 32, 32)
    with torch.inference_mode():
        return backbone.vision(frames), backbone.text(*backbone.text.embed(TEXTS))


def write(kind: str, model: Any, folder: Path) -> Path:
    state, path = state_of(model), folder / f"face-{kind}.pt"
    if kind == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(state, path)
    elif kind == "farl":  # OpenAI's names in a container, in fp16, with what is not a tensor
        half = {name: value.half() for name, value in state.items()}
        torch.save({"state_dict": half | {"context_length": 77}, "epoch": 64}, path)
    elif kind == "parallel":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    elif kind == "custom text":
        text = {
            n if n.startswith(("visual.", "logit")) else f"text.{n}": v for n, v in state.items()
        }
        torch.save(text, path)
    return path


@pytest.mark.parametrize("kind", ["safetensors", "farl", "parallel", "custom text"])
def test_files_of_openai_and_open_clip(kind: str, tmp_path: Path) -> None:
    model = openai_model()
    image, text = features(f"file:{write(kind, model, tmp_path)}")
    expected = features(weight_file(model, tmp_path / "plain.safetensors"))
    tolerance = 0.02 if kind == "farl" else 0  # fp16
    torch.testing.assert_close(image, expected[0], atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(text, expected[1], atol=tolerance, rtol=tolerance)


def test_a_model_of_transformers(tmp_path: Path) -> None:
    """As FLIP is published: `CLIPModel` computes the features itself."""
    transformers = pytest.importorskip("transformers")
    sizes = {"num_attention_heads": 2, "num_hidden_layers": 2, "hidden_act": "quick_gelu"}
    text = {"hidden_size": 32, "intermediate_size": 128, "vocab_size": 1024}
    text |= {"bos_token_id": 1022, "eos_token_id": 1023, "pad_token_id": 0}
    vision = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3}
    vision |= {"image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(
        text_config=sizes | text, vision_config=sizes | vision, projection_dim=24
    )
    model = transformers.CLIPModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    pretrained = f"file:{tmp_path / 'model.safetensors'}"
    image, text_features = features(pretrained, "small-quickgelu")
    frames = torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)
    tokenizer = load_backbone("small-quickgelu", None).text.tokenizer
    rows = [[*tokenizer.starts, *tokenizer.encode(t), *tokenizer.ends] for t in TEXTS]
    longest = max(len(row) for row in rows)
    tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    with torch.inference_mode():
        seen = model.visual_projection(model.vision_model(pixel_values=frames).pooler_output)
        read = model.text_model(input_ids=tokens, attention_mask=mask).pooler_output
        read = model.text_projection(read)
    torch.testing.assert_close(image[0], seen, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(text_features, read, atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match=r"trained with quick_gelu.*Use small-quickgelu\."):
        features(pretrained, "small")
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    again = features(f"file:{tmp_path / 'pytorch_model.bin'}", "small-quickgelu")
    assert torch.equal(again[0], image)


class Traced(torch.nn.Module):
    """The modules of a CLIP in a program, as OpenAI published it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.visual, self.transformer = model.visual, model.transformer
        self.token_embedding, self.ln_final = model.token_embedding, model.ln_final
        self.positional_embedding = model.positional_embedding
        self.text_projection, self.logit_scale = model.text_projection, model.logit_scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.visual(x)
        return features + self.ln_final(self.token_embedding.weight[:1]).sum()


@pytest.mark.filterwarnings("ignore")  # of torch.jit, which is deprecated
def test_an_archive_of_torchscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenAI's own files: only the tensors are read, and its program is not loaded."""
    model = openai_model()
    program = torch.jit.trace(Traced(model), torch.randn(1, 3, 32, 32), check_trace=False)
    path = tmp_path / "ViT-B-16.pt"
    torch.jit.save(program, path)
    assert is_jit_archive(path)
    monkeypatch.setattr(torch.jit, "load", lambda *_: pytest.fail("ran the program"))
    found, expected = read_state(path), program.state_dict()
    for name in expected:
        assert torch.equal(found[name], expected[name]), name
    image, _ = features(f"file:{path}")
    assert torch.equal(image, features(weight_file(model, tmp_path / "a.safetensors"))[0])


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"state_dict": {"visual.conv1.weight": Evil()}}, tmp_path / "evil.pt")
    (tmp_path / "raw.pkl").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "raw.pkl"):
        with pytest.raises(CheckpointError, match="cannot be read.*state dict"):
            features(f"file:{tmp_path / name}")
    assert not (tmp_path / "ran").exists()


def test_code_in_an_archive_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "evil.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps(Evil(), protocol=2))
        archive.writestr("evil/constants.pkl", b"")
    with pytest.raises(
        CheckpointError, match=r"cannot be read: it contains posix.mkdir.*torch\.jit\.load"
    ):
        features(f"file:{path}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"vision_cfg": {"patch_size": 8}}, "patches of pixels 8 instead of 16.*It fits other"),
        ({"vision_cfg": {"layers": 2}}, "image layers 2 instead of 3"),
        ({"text_cfg": {"vocab_size": 600}}, "vocabulary 600 instead of 1024"),
        ({"embed_dim": 16}, "feature width 16 instead of 24"),
    ],
)
def test_weights_of_another_backbone_are_refused(
    change: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SMALL | {
        key: SMALL[key] | value if isinstance(value, dict) else value
        for key, value in change.items()
    }
    publish(monkeypatch, tmp_path, {"other": other})
    sizes_of_backbones.cache_clear()
    pretrained = weight_file(open_clip.CLIP(**other), tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=f"layout of OpenAI, but not small: {says}") as error:
        load_backbone("small", pretrained)
    assert "Hugging Face" in str(error.value)
    assert "It fits other" in str(error.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    save_file({"head.weight": torch.zeros(2)}, tmp_path / "head.safetensors")
    with pytest.raises(CheckpointError, match=r"1 tensors \(head\.weight, …\).*OpenAI, open_clip"):
        features(f"file:{tmp_path / 'head.safetensors'}")
    with pytest.raises(CheckpointError, match="do not exist"):
        features(f"file:{tmp_path / 'absent.pt'}")
    state = state_of(openai_model())
    state["visual.conv1.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        features(f"file:{tmp_path / 'nan.pt'}")
    torch.save(state | {"visual.extra": torch.zeros(1)}, tmp_path / "more.pt")
    with pytest.raises(CheckpointError, match=r"1 unexpected \(visual\.extra\)"):
        features(f"file:{tmp_path / 'more.pt'}")


def test_a_checksum_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "face.safetensors"
    weight_file(openai_model(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    features(f"file:{path}#{digest}")
    with pytest.raises(CheckpointError, match=f"SHA-256 {digest} instead of 0000"):
        features(f"file:{path}#{'0' * 64}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("openai", None),
        ("file:a/b.pt", WeightFile("a/b.pt")),
        ("hub:o/n/f.bin", WeightFile("f.bin", "o/n")),
        ("hub:o/n/a/f.bin@main", WeightFile("a/f.bin", "o/n", "main")),
        (f"hub:o/n/f@v1#{'a' * 64}", WeightFile("f", "o/n", "v1", "a" * 64)),
    ],
)
def test_names_of_files(text: str, expected: WeightFile | None) -> None:
    assert WeightFile.parse(text) == expected


@pytest.mark.parametrize("text", ["file:", "hub:owner/name", "hub:a", "file:x#12", "hub:a/b/"])
def test_incomplete_names_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="Invalid"):
        WeightFile.parse(text)


def test_a_hub_file_is_verified_by_its_name_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub keeps a large file under its checksum, and links to it."""
    blob = tmp_path / "blob"
    weight_file(openai_model(), blob)
    digest = hashlib.sha256(blob.read_bytes()).hexdigest()
    asked: list[tuple[Any, ...]] = []

    def download(
        repo: str, revision: str | None, files: Any, settings: Any, *, advice: str
    ) -> Path:
        asked.append((repo, revision, files, settings.offline, advice))
        return tmp_path

    monkeypatch.setattr("peclip.nn.weight_file.download_repository", download)
    (tmp_path / digest).write_bytes(blob.read_bytes())
    (tmp_path / "face.safetensors").symlink_to(tmp_path / digest)
    features("hub:owner/face/face.safetensors@main")
    files = ("face.safetensors", "config.json")
    assert [call[:4] for call in asked] == [("owner/face", "main", files, True)]
    assert asked[0][4].endswith(" peclip models download small/hub:owner/face/face.safetensors")
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    (tmp_path / digest).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"instead of {digest}"):
        features("hub:owner/face/face.safetensors")
    with pytest.raises(CheckpointError, match="has no file 'other.bin'"):
        features("hub:owner/face/other.bin")


def test_a_model_on_a_local_file_stores_its_backbone(tmp_path: Path) -> None:
    pretrained = weight_file(openai_model(), tmp_path / "face.safetensors")
    checkpoint = resolve(f"small/{pretrained}", settings=load_settings())
    assert checkpoint.revision == checkpoint.config.pretrained == pretrained
    assert checkpoint.config.preprocess == PreprocessConfig(image_size=32)
    model = build_model(checkpoint.config)
    save_model(model, checkpoint.config, tmp_path / "saved")
    saved = read_checkpoint(tmp_path / "saved", name="saved")
    assert saved.config.pretrained is None
    text = (tmp_path / "saved" / CONFIG).read_text()
    assert str(tmp_path) not in text
    (tmp_path / "saved" / CONFIG).write_text(text.replace("null", '"file:/etc/passwd"', 1))
    with pytest.raises(CheckpointError, match="names a file of another machine"):
        read_checkpoint(tmp_path / "saved", name="saved")


@pytest.mark.parametrize("prefix", ["", "clip:", "finecliper:"])
def test_every_architecture_takes_a_file(prefix: str, tmp_path: Path) -> None:
    pretrained = weight_file(openai_model(), tmp_path / "face.safetensors")
    config = resolve(f"{prefix}small/{pretrained}", settings=load_settings()).config
    assert config.backbone == "small"
    assert config.pretrained == pretrained


def test_sizes_of_published_backbones() -> None:
    found = sizes_of_backbones()["ViT-B-16-quickgelu"]
    assert list(found.values()) == [16, 197, 768, 12, 512, 512, 12, 49408, 77]
    assert backbone_model_config("ViT-B-16-quickgelu", None).preprocess.image_size == 224
