"""Weights go to disk and come back, hostile files are refused, and a hub is one server away."""

from __future__ import annotations

import base64
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fake_hub import COMMIT, OLD_COMMIT, Hub, Repo, serving_hub, use_hub_at
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from peclip.config import ModelConfig, PreprocessConfig
from peclip.errors import CheckpointError, ConfigError, UserError, WeightsError
from peclip.files import locked
from peclip.models.base import ExpressionModel, Output
from peclip.models.pe_clip_config import PEClipConfig
from peclip.models.registry import untrained_configs
from peclip.nn.clip import load_backbone
from peclip.recognizers.pe_clip import PEClip
from peclip.settings import Settings, load_settings
from peclip.types import Batch
from peclip.weights.checkpoint import (
    Undrawn,
    load_model,
    load_tensors,
    save_model,
)
from peclip.weights.folder import MODEL, Checkpoint, read_checkpoint
from peclip.weights.parameter_counts import count_parameters
from peclip.weights.resolve import (
    BACKBONES,
    EMBEDDED,
    SPECIAL,
    backbone_model_config,
    debug_config,
    hub_cache,
    locate,
    resolve,
)


@pytest.fixture
def settings(_isolated: None) -> Settings:
    return load_settings()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> PEClipConfig:
    """A configuration whose backbone seems to have published weights; they are random here."""
    monkeypatch.setattr("peclip.nn.published.check_tag", lambda *_, **__: None)
    monkeypatch.setattr("peclip.nn.published.load_weights", lambda *_, **__: None)
    return debug_config().derive(pretrained="published")


def fresh(config: ModelConfig, settings: Settings, seed: int = 1) -> ExpressionModel:
    """A model whose adapters are no longer the identity that they start as."""
    model = load_model(Checkpoint("fresh", "", config, None), settings=settings)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


@torch.inference_mode()
def logits(model: ExpressionModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    output: Output = model(Batch(torch.randn(2, 4, 3, 32, 32, generator=generator)))
    return output.logits


@pytest.fixture
def saved(tmp_path: Path, settings: Settings) -> Path:
    config = debug_config()
    save_model(fresh(config, settings), config, tmp_path / "model")
    return tmp_path / "model"


def reload(folder: Path, settings: Settings) -> ExpressionModel:
    return load_model(read_checkpoint(folder, name="x"), settings=settings)


# Saving and loading


def test_the_folder_of_a_run_is_its_model(saved: Path, settings: Settings) -> None:
    run = saved.parent
    assert saved.name == MODEL
    checkpoint = resolve(str(run), settings=settings)
    assert (checkpoint.name, checkpoint.tensors) == (str(run), saved / "model.safetensors")
    save_model(reload(saved, settings), debug_config().derive(temperature=0.5), run)
    assert resolve(str(run), settings=settings).config.temperature == 0.5, "a model itself"


def test_a_run_with_several_models_requires_a_choice(saved: Path, settings: Settings) -> None:
    shutil.copytree(saved, saved.parent / "all" / "fold-2" / MODEL)
    with pytest.raises(
        CheckpointError, match=r"one model per fold; use one of them, such as '.*all/fold-2'"
    ):
        resolve(str(saved.parent / "all"), settings=settings)


def test_save_load_gives_equal_logits(tmp_path: Path, settings: Settings) -> None:
    config = debug_config()
    model = fresh(config, settings)
    assert not torch.equal(logits(model), logits(fresh(config, settings, seed=2)))
    save_model(model, config, tmp_path / "new" / "folder")
    checkpoint = read_checkpoint(tmp_path / "new" / "folder", name="x")
    assert checkpoint.config == config
    again = load_model(checkpoint, settings=settings)
    assert not again.training
    assert torch.equal(logits(again), logits(model))
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize("changes", [{"shared_adapter": "shared"}, {"prompt_length": 0}])
def test_save_load_of_other_layouts(
    tmp_path: Path, settings: Settings, changes: dict[str, Any]
) -> None:
    config = debug_config().derive(**changes)
    model = fresh(config, settings)
    save_model(model, config, tmp_path)
    assert torch.equal(logits(reload(tmp_path, settings)), logits(model))


def test_checkpoint_holds_exactly_the_trainable_parameters(
    tmp_path: Path, settings: Settings, published: PEClipConfig
) -> None:
    model = fresh(published, settings)
    save_model(model, published, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert stored.keys() == trainable.keys()
    assert len(trainable) < len(list(model.parameters()))
    assert all(torch.equal(stored[name], p) for name, p in trainable.items())
    assert (
        sum(tensor.numel() for tensor in stored.values())
        == sum(count_parameters(published)["trainable"].values())
        > 0
    )
    assert json.loads((tmp_path / "config.json").read_text())["pretrained"] == "published"
    assert torch.equal(logits(reload(tmp_path, settings)), logits(model))


def test_a_full_checkpoint_holds_everything_and_needs_no_backbone(
    tmp_path: Path, settings: Settings, published: PEClipConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fresh(published, settings)
    with torch.no_grad():
        for parameter in model.parameters():  # a backbone that no random start gives
            parameter.mul_(1.25)
    save_model(model, published, tmp_path, full=True)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored.keys() == {name for name, _ in model.named_parameters()}
    checkpoint = read_checkpoint(tmp_path, name="x")
    assert checkpoint.config == published.derive(pretrained=None)
    monkeypatch.setattr("peclip.nn.published.load_weights", lambda *_, **__: pytest.fail("loaded"))
    assert torch.equal(logits(load_model(checkpoint, settings=settings)), logits(model))


def test_values_that_a_file_replaces_are_not_drawn() -> None:
    state = torch.get_rng_state()
    with Undrawn():
        layer = torch.nn.Linear(3, 2)
        torch.nn.init.normal_(layer.weight)
        assert torch.equal(layer(torch.zeros(1, 3)), layer.bias[None]), "everything else works"
    assert torch.equal(torch.get_rng_state(), state)


def test_half_is_half_the_size_and_computes_in_fp32(tmp_path: Path, settings: Settings) -> None:
    config = debug_config()
    model = fresh(config, settings)
    save_model(model, config, tmp_path / "half", half=True)
    save_model(model, config, tmp_path / "whole")
    sizes = [(tmp_path / n / "model.safetensors").stat().st_size for n in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]
    again = reload(tmp_path / "half", settings)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert torch.allclose(logits(again), logits(model), atol=0.5)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_saving_again_replaces_both_files(saved: Path, settings: Settings) -> None:
    config = debug_config().derive(temperature=0.5)
    other = fresh(config, settings, seed=9)
    save_model(other, config, saved)
    assert torch.equal(logits(reload(saved, settings)), logits(other))
    assert len(list(saved.iterdir())) == 2


def test_two_processes_do_not_save_into_one_folder(saved: Path, settings: Settings) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    config = debug_config().derive(temperature=0.5)
    model = fresh(config, settings, seed=9)
    with locked(saved), pytest.raises(ConfigError, match="Another run is writing"):
        save_model(model, config, saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_failed_save_leaves_the_old_model(
    saved: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def full_disk(tensors: object, path: Path, **_: object) -> None:
        path.write_bytes(b"half of i")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("peclip.weights.checkpoint.save_file", full_disk)
    config = debug_config().derive(temperature=0.5)
    with pytest.raises(ConfigError, match="No space left"):
        save_model(fresh(config, settings), config, saved)
    assert {name: (saved / name).read_bytes() for name in before} == before


def test_an_unwritable_folder_is_named(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "file").touch()
    config = debug_config()
    model = fresh(config, settings)
    for folder in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(ConfigError, match="file.*"):
            save_model(model, config, folder)


# Files that do not fit


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda t: t.pop(sorted(t)[0]), "1 parameters missing"),
        (lambda t: t.clear(), r"\d\d+ parameters missing .*…"),
        (lambda t: t.update(evil=torch.zeros(1)), r"1 unexpected \(evil\)"),
        (lambda t: t.update({sorted(t)[0]: torch.zeros(3, 1, 4)}), r"\(3, 1, 4\) instead of"),
        (lambda t: t.update({sorted(t)[0]: torch.tensor(0.0)}), r"is \(\) instead of"),
    ],
)
def test_incompatible_tensors_are_refused(
    saved: Path, settings: Settings, edit: Callable[[dict[str, torch.Tensor]], object], problem: str
) -> None:
    change(saved, edit)
    with pytest.raises(CheckpointError, match=problem) as caught:
        reload(saved, settings)
    assert str(saved) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_refused_file_leaves_the_model_unchanged(saved: Path, settings: Settings) -> None:
    model = fresh(debug_config(), settings, seed=5)
    before = logits(model)
    change(saved, lambda t: t.popitem())
    with pytest.raises(CheckpointError):
        load_tensors(model, debug_config(), saved / "model.safetensors")
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1])
def test_a_truncated_file_is_refused(saved: Path, settings: Settings, keep: int) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        reload(saved, settings)


class Bomb:
    """What a pickle of this does when it is loaded."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(self.target),))


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_pickle_is_never_executed(
    saved: Path, settings: Settings, tmp_path: Path, how: str
) -> None:
    bomb = Bomb(str(tmp_path / "exploded"))
    with (saved / "model.safetensors").open("wb") as stream:
        if how == "pickle":
            pickle.dump(bomb, stream)
        else:
            torch.save({"state_dict": bomb}, stream)
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        reload(saved, settings)
    assert not (tmp_path / "exploded").exists()
    pickle.loads(pickle.dumps(bomb))
    assert (tmp_path / "exploded").exists()  # it would have been


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,400]}}',
        b'{"a":{"dtype":"F32","shape":[18446744073709551615,4],"data_offsets":[0,4]}}',
        b"[]",
        b"\xff\xff",
    ],
)
def test_a_hostile_header_is_refused(saved: Path, settings: Settings, header: bytes) -> None:
    content = len(header).to_bytes(8, "little") + header + bytes(4)
    (saved / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError):
        reload(saved, settings)


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"architecture": "evil"}, "architecture"),
        ({"architecture": None}, "architecture"),
        ({"trust_remote_code": True}, "trust_remote_code"),
        ({"num_frames": 10**12}, "num_frames"),
        ({"labels": ["a"]}, "two names"),
    ],
)
def test_a_hostile_configuration_is_refused(
    saved: Path, changes: dict[str, Any], problem: str
) -> None:
    edit_config(saved, **changes)
    with pytest.raises(CheckpointError, match=rf"config\.json.*{problem}"):
        read_checkpoint(saved, name="x")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"quick_gelu": False}, "quick_gelu=False.*'debug' has quick_gelu=True"),
        ({"preprocess": {"image_size": 48}}, "takes images of 32 pixels.*48"),
        ({"prompt_depth": 3}, "prompt_depth is 3"),
        ({"adapter_reduction": 64}, "adapter_reduction is 64"),
        ({"backbone": "evil"}, "'evil'"),
        ({"backbone": "../backbones/debug"}, "Unknown backbone"),
        ({"backbone": "RN50"}, "cannot be adapted: .*ResNet"),
        ({"pretrained": "openai"}, "'openai' for the backbone 'debug'"),
    ],
)
def test_a_configuration_with_an_incompatible_backbone_is_refused(
    saved: Path, settings: Settings, changes: dict[str, Any], problem: str
) -> None:
    edit_config(saved, **changes)
    with pytest.raises(UserError, match=problem):
        reload(saved, settings)


@pytest.mark.parametrize("backbone", ["hf-hub:evil/model", "local-dir:/etc", "hf-hub:"])
def test_a_configuration_cannot_make_open_clip_look_elsewhere(
    saved: Path, settings: Settings, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("open_clip.factory._get_hf_config", lambda *_: pytest.fail("network"))
    edit_config(saved, backbone=backbone)
    with pytest.raises(ConfigError, match="Unknown backbone"):
        reload(saved, settings)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe{}", b'"debug"'])
def test_an_invalid_configuration_is_refused(saved: Path, content: bytes) -> None:
    (saved / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_checkpoint(saved, name="x")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(saved: Path, settings: Settings, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        resolve(saved, settings=settings)
    (saved / name).mkdir()
    with pytest.raises(CheckpointError, match=name):
        resolve(saved, settings=settings)


# Names


def test_debug_is_the_same_in_every_run_and_leaves_the_generator_alone(settings: Settings) -> None:
    checkpoint = resolve("debug", settings=settings)
    assert (checkpoint.name, checkpoint.tensors) == ("debug", None)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    a = load_model(checkpoint, settings=settings)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    b = load_model(checkpoint, settings=settings)
    assert torch.equal(logits(a), logits(b))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_nano_is_the_default(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []

    def note(folder: Path, *, name: str) -> None:
        seen.append((f"{folder.parent.name}/{folder.name}", name))

    monkeypatch.setattr("peclip.weights.resolve.read_checkpoint", note)
    resolve(None, settings=settings)
    resolve("nano", settings=settings)
    assert seen == [("assets/nano", "nano")] * 2


def test_a_directory_is_a_model(
    saved: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (saved, str(saved), f"{saved}/"):
        checkpoint = resolve(name, settings=settings)
        assert checkpoint.tensors == saved / "model.safetensors"
        assert checkpoint.config == debug_config()
    monkeypatch.chdir(saved.parent)
    assert resolve("model", settings=settings).config == debug_config()
    assert resolve("./model", settings=settings).config == debug_config()
    (saved.parent / "org").mkdir()
    saved.rename(saved.parent / "org" / "repo")
    assert resolve("org/repo", settings=settings).revision == ""


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_and_its_weights_are_a_model(name: str, settings: Settings) -> None:
    checkpoint = resolve(name, settings=settings)
    backbone, tag = name.split("/")
    assert (checkpoint.config.backbone, checkpoint.config.pretrained) == (backbone, tag)
    assert checkpoint.config.quick_gelu
    assert checkpoint.tensors is None
    assert checkpoint.name == name


def test_a_backbone_of_other_sizes_is_fitted() -> None:
    config = backbone_model_config("ViT-L-14-336-quickgelu", "openai")
    assert config.preprocess.image_size == 336
    assert config.prompt_depth == 9
    assert not backbone_model_config("ViT-B-32", "laion2b_s34b_b79k").quick_gelu
    assert backbone_model_config("debug", "none").prompt_depth == 2


def test_the_baseline_is_clip_itself(settings: Settings, tmp_path: Path) -> None:
    """Without adapters and prompts, untrained, and unchanged by saving."""
    checkpoint = resolve("clip:debug", settings=settings)
    assert checkpoint.name == "clip:debug"
    model = load_model(checkpoint, settings=settings, seed=3)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    with torch.random.fork_rng():
        torch.manual_seed(3)
        plain = load_backbone("debug", None)
    frames = torch.rand(2, 4, 3, 32, 32)
    with torch.inference_mode():
        seen = F.normalize(plain.vision(frames).mean(1), dim=-1)
        read = F.normalize(plain.text(*plain.text.embed(model.texts)), dim=-1)
        found = model(Batch(frames)).logits
    assert torch.allclose(found, seen @ read.T / checkpoint.config.temperature, atol=1e-4)
    save_model(model, checkpoint.config, tmp_path, full=True)
    again = load_model(resolve(str(tmp_path), settings=settings), settings=settings)
    with torch.inference_mode():
        assert torch.equal(again(Batch(frames)).logits, found)
    assert resolve(str(tmp_path), settings=settings).config.architecture == "pe-clip"


@pytest.mark.parametrize("architecture", untrained_configs())
def test_pixels_are_normalised_as_the_weights_were_trained(architecture: str) -> None:
    clip = PreprocessConfig()
    for tag in ("openai", "laion400m_e32", "unknown", None):
        found = backbone_model_config("ViT-L-14", tag, architecture).preprocess
        assert (found.mean, found.std) == (clip.mean, clip.std)
    other = backbone_model_config("ViT-L-14", "laion2b_s32b_b82k", architecture).preprocess
    assert other.mean == other.std == (0.5,) * 3


@pytest.mark.parametrize(
    "name",
    [
        *("nanno", "a/b/c", "../x", "../x/y", "./x", "/nowhere/x", "~/x", "org/", "/repo"),
        *("org/re po", "org/repo..", "o/-x", "", " "),
        *("hf-hub:evil/model", "local-dir:/etc", "nul\0/byte"),
        pytest.param("x" * 5000, id="long"),
        pytest.param("x/" + "y" * 5000, id="long with a slash"),
    ],
)
def test_an_invalid_name_is_refused_with_the_valid_forms(
    name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("open_clip.factory._get_hf_config", lambda *_: pytest.fail("network"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"Unknown model|not a valid repository ID"):
        resolve(name, settings=settings)


def test_the_error_lists_the_known_names(settings: Settings) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("nanno", settings=settings)
    assert all(name in str(caught.value) for name in ("'nanno'", *EMBEDDED, *SPECIAL))
    assert "peclip models list" in str(caught.value)


@pytest.mark.parametrize("name", ["RN50/openai", "coca_ViT-B-32/laion2b_s13b_b90k"])
def test_a_backbone_that_cannot_be_adapted_is_not_looked_for_on_the_hub(
    name: str, settings: Settings
) -> None:
    with pytest.raises(ConfigError, match="cannot be adapted: "):
        resolve(name, settings=settings)


def test_missing_offline_backbone_weights_give_the_download_command(settings: Settings) -> None:
    checkpoint = resolve("ViT-B-32-quickgelu/openai", settings=settings)
    with pytest.raises(WeightsError, match=r"offline.*peclip models download ViT-B-32"):
        load_model(checkpoint, settings=settings)


def test_locate_is_the_directory_or_the_cache(
    saved: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert locate(str(saved), settings=settings) == saved
    name = "ViT-B-16-quickgelu/openai"
    assert locate(name, settings=settings) == settings.cache_dir / "hub"
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert locate(name, settings=settings) == Path(constants.HF_HUB_CACHE)
    with pytest.raises(ConfigError):
        locate("nanno", settings=settings)


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE"])
def test_the_cache_of_hugging_face_is_used_where_the_user_set_one(
    variable: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert hub_cache(settings) == settings.cache_dir / "hub"
    monkeypatch.setenv(variable, "")
    assert hub_cache(settings) == settings.cache_dir / "hub"
    monkeypatch.setenv(variable, str(tmp_path))
    assert hub_cache(settings) is None


# Counts


def test_the_parameters_of_the_paper_are_counted_without_weights(settings: Settings) -> None:
    counts = count_parameters(PEClipConfig())
    assert sum(counts["trainable"].values()) == 9_399_564
    assert counts["trainable"]["prompts"] == 3_555_072
    assert counts["trainable"]["backbone"] == 0
    assert sum(counts["total"].values()) - sum(counts["trainable"].values()) > 149_000_000
    assert not list(settings.cache_dir.iterdir())


def test_counts_match_the_model(settings: Settings) -> None:
    config = debug_config()
    before = torch.get_rng_state()
    counts = count_parameters(config)
    assert torch.equal(torch.get_rng_state(), before)
    model = fresh(config, settings)
    assert sum(counts["total"].values()) == sum(p.numel() for p in model.parameters())
    assert counts["total"].keys() == counts["trainable"].keys() == model.parameter_groups().keys()
    none = count_parameters(config.derive(shared_adapter="none", prompt_length=0))
    assert none["total"]["ShA"] == none["total"]["prompts"] == 0
    assert none["total"]["backbone"] == counts["total"]["backbone"]


# The hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on the loopback in place of the real one; the network is allowed for it."""
    with serving_hub(monkeypatch) as hub:
        yield hub


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def repo(hub: Hub, saved: Path, settings: Settings) -> Repo:
    """`org/repo`, whose `v1` has other weights than its `main`, and unrelated files."""
    new = files_of(saved) | {"README.md": b"# Card\n", "evil.py": b"boom()", "pytorch.bin": b"x"}
    config = debug_config()
    save_model(fresh(config, settings, seed=2), config, saved)
    hub.repos["org/repo"] = Repo(files={COMMIT: new, OLD_COMMIT: files_of(saved)})
    return hub.repos["org/repo"]


def test_a_hub_repository_is_downloaded_once_and_then_works_offline(
    hub: Hub, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = PEClip.from_pretrained("org/repo", device="cpu")
    assert (online.name, online.revision) == ("org/repo", COMMIT)
    cache = load_settings().cache_dir
    folder = cache / "hub" / "models--org--repo" / "snapshots" / COMMIT
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    asked = len(hub.seen)
    assert asked > 0
    monkeypatch.setenv("PECLIP_OFFLINE", "1")
    offline = PEClip.from_pretrained("org/repo", device="cpu")
    assert len(hub.seen) == asked
    assert (offline.name, offline.revision) == ("org/repo", COMMIT)
    assert torch.equal(logits(offline.model), logits(online.model))
    assert locate("org/repo", settings=load_settings()) == folder


def test_a_revision_follows_an_at_sign_or_is_an_argument(
    hub: Hub, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = PEClip.from_pretrained("org/repo", device="cpu")
    behind = PEClip.from_pretrained("org/repo@v1", device="cpu")
    given = PEClip.from_pretrained("org/repo", revision="v1", device="cpu")
    assert behind.revision == given.revision == OLD_COMMIT
    assert torch.equal(logits(behind.model), logits(given.model))
    assert not torch.equal(logits(behind.model), logits(main.model))
    monkeypatch.setenv("PECLIP_OFFLINE", "1")
    assert resolve("org/repo@v1", settings=load_settings()).revision == OLD_COMMIT


def test_a_branch_may_have_a_slash_in_its_name(hub: Hub, repo: Repo) -> None:
    repo.revisions["refs/pr/1"] = OLD_COMMIT
    by_argument = resolve("org/repo", revision="refs/pr/1", settings=load_settings())
    assert by_argument.revision == OLD_COMMIT
    assert resolve("org/repo@refs/pr/1", settings=load_settings()).revision == OLD_COMMIT


def test_the_token_goes_to_the_hub(hub: Hub, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    resolve("org/repo", settings=load_settings())
    assert hub.tokens == {"Bearer hf_secret"}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("org/none", r"no repository 'org/none', or it is private"),
        ("org/repo@v9", r"no repository 'org/repo' at 'v9'"),
    ],
)
def test_a_repository_missing_on_the_hub_is_reported(
    hub: Hub, repo: Repo, name: str, problem: str
) -> None:
    with pytest.raises(WeightsError, match=problem) as caught:
        resolve(name, settings=load_settings())
    assert "HF_TOKEN" in str(caught.value)


def test_a_repository_without_a_model_is_refused(hub: Hub, repo: Repo) -> None:
    del repo.files[COMMIT]["model.safetensors"]
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        resolve("org/repo", settings=load_settings())


def test_a_hostile_repository_is_refused(hub: Hub, repo: Repo, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(str(tmp_path / "exploded")))
    repo.files[COMMIT]["model.safetensors"] = bomb
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        PEClip.from_pretrained("org/repo", device="cpu")
    assert not (tmp_path / "exploded").exists()


def test_offline_an_uncached_repository_gives_the_download_command(settings: Settings) -> None:
    with pytest.raises(
        WeightsError, match=r"'org/repo' is not in the cache.*offline.*peclip models download"
    ):
        resolve("org/repo", settings=settings)


def test_an_unreachable_hub_is_reported(
    hub: Hub, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub_at(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="the hub cannot be reached"):
        resolve("org/repo", settings=load_settings())


def test_a_failing_hub_is_reported_unless_the_model_is_cached(hub: Hub, repo: Repo) -> None:
    hub.status = 500
    with pytest.raises(WeightsError, match="the hub cannot be reached"):
        resolve("org/repo", settings=load_settings())
    hub.status = None
    resolve("org/repo", settings=load_settings())
    hub.status = 500
    assert resolve("org/repo", settings=load_settings()).revision == COMMIT


def test_an_interrupted_download_is_a_weights_error(hub: Hub, repo: Repo) -> None:
    hub.break_downloads = True
    with pytest.raises(WeightsError, match="the hub cannot be reached"):
        resolve("org/repo", settings=load_settings())
    hub.break_downloads = False
    assert resolve("org/repo", settings=load_settings()).revision == COMMIT


# Pushing


@pytest.fixture
def debug(settings: Settings) -> PEClip:
    return PEClip.from_pretrained("debug", device="cpu")


def pushed(hub: Hub) -> dict[str, bytes]:
    (lines,) = hub.commits
    return {
        line["value"]["path"]: base64.b64decode(line["value"]["content"])
        for line in lines
        if line["key"] == "file"
    }


def test_push_to_hub_is_one_private_commit(hub: Hub, debug: PEClip, tmp_path: Path) -> None:
    address = debug.push_to_hub("org/repo", message="First")
    assert address == f"{hub.address}/org/repo/commit/{COMMIT}"
    (created,) = hub.created
    assert (created["organization"], created["name"]) == ("org", "repo")
    assert created.get("private") is True or created.get("visibility") == "private"
    files = pushed(hub)
    assert sorted(files) == ["README.md", "config.json", "model.safetensors"]
    assert hub.commits[0][0]["value"]["summary"] == "First"
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    again = PEClip.from_pretrained(tmp_path, device="cpu")
    assert torch.equal(logits(again.model), logits(debug.model))


def test_a_card_on_the_hub_stays(hub: Hub, repo: Repo, debug: PEClip) -> None:
    """Somebody may have written it; ours knows nothing of a training."""
    debug.push_to_hub("org/repo")
    assert sorted(pushed(hub)) == ["config.json", "model.safetensors"]


def test_push_to_hub_is_public_only_on_request(hub: Hub, debug: PEClip) -> None:
    debug.push_to_hub("org/repo", private=False)
    (created,) = hub.created
    assert created.get("private") in (None, False)
    assert created.get("visibility") in (None, "public")


def test_the_pushed_card_names_the_repository(hub: Hub, debug: PEClip) -> None:
    debug.push_to_hub("org/repo")
    assert 'peclip.load("org/repo")' in pushed(hub)["README.md"].decode()


def test_push_can_store_the_backbone_too(
    hub: Hub, settings: Settings, published: PEClipConfig
) -> None:
    model = fresh(published, settings)
    cpu = torch.device("cpu")
    recognizer = PEClip(model, published, device=cpu, precision="fp32")
    recognizer.push_to_hub("org/repo", full=True)
    assert json.loads(pushed(hub)["config.json"])["pretrained"] is None


def test_push_is_refused_offline_before_anything_is_sent(
    hub: Hub, debug: PEClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PECLIP_OFFLINE", "1")
    with pytest.raises(WeightsError, match="offline"):
        debug.push_to_hub("org/repo")
    assert hub.seen == []


def test_a_refusing_hub_is_a_weights_error(hub: Hub, debug: PEClip) -> None:
    hub.status = 403
    with pytest.raises(WeightsError, match="'org/repo'.*HF_TOKEN"):
        debug.push_to_hub("org/repo")


def test_a_bad_name_is_not_pushed(hub: Hub, debug: PEClip) -> None:
    for name in ("a/b/c", "../x", "org/re po"):
        with pytest.raises(WeightsError, match="HF_TOKEN"):
            debug.push_to_hub(name)
    assert hub.commits == []


def test_a_push_to_an_unreachable_hub_is_a_weights_error(
    hub: Hub, debug: PEClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub_at(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="'org/repo'"):
        debug.push_to_hub("org/repo")
