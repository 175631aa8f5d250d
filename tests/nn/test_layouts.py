"""Files that would exhaust the memory or the time are rejected before they do, and damaged ones name what is wrong."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from peclip.errors import CheckpointError, ConfigError
from peclip.nn.layouts import canonical_tensors, read_state
from peclip.nn.weight_file import WeightFile, _check_activation


def test_parallel_training_may_have_left_its_prefix(tmp_path: Path) -> None:
    state = {"module.visual.proj": torch.ones(2), "module.token_embedding.weight": torch.ones(3)}
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        assert set(read_state(tmp_path / name)) == {"visual.proj", "token_embedding.weight"}


@pytest.mark.parametrize("name", ["a.pt", "a.bin"])
def test_a_damaged_zip_archive(name: str, tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content.replace(b"PK\x01\x02", b"XXXX"))
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_state(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"version https://git-lfs\noid"])
def test_what_is_no_checkpoint_is_not_called_untrusted(content: bytes, tmp_path: Path) -> None:
    """The advice of torch is to load it with `weights_only=False`, which runs code."""
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or not a torch checkpoint") as error:
        read_state(tmp_path / "a.pt")
    assert "weights_only" not in str(error.value)


def test_a_compressed_archive_is_not_unpacked(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    assert (tmp_path / "bomb.pt").stat().st_size < 10_000
    with pytest.raises(CheckpointError, match="unpacked, it is many times larger"):
        read_state(tmp_path / "bomb.pt")
    assert read_state(tmp_path / "plain.pt")["a"].shape == (1_000_000,)


def test_tensors_larger_than_their_file_are_not_joined(tmp_path: Path) -> None:
    """A few bytes can be a tensor of any size, of which conversion makes a copy."""
    attention = "vision_model.encoder.layers.0.self_attn"
    state = {
        f"{attention}.{part}_proj.weight": torch.zeros(1).expand(2_000_000, 2_000_000)
        for part in "qkv"
    }
    state["text_model.embeddings.token_embedding.weight"] = torch.zeros(2, 2)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="tensors are many times larger than the file"):
        canonical_tensors(read_state(tmp_path / "a.pt"), tmp_path / "a.pt")


@pytest.mark.filterwarnings("ignore:.*[Ss]parse")  # worded differently by versions of torch
def test_tensors_without_values_are_rejected(tmp_path: Path) -> None:
    for kind in (torch.eye(2).to_sparse(), torch.empty(2, device="meta")):
        torch.save({"a": torch.ones(1), "b": kind}, tmp_path / "a.pt")
        with pytest.raises(CheckpointError, match=r"1 tensors are sparse or have no values \(b\)"):
            read_state(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("[]", "is not a configuration"),
        ('{"vision_config": 3}', "is not a configuration"),
        ("{", "config.json' is not valid JSON"),
        ('{"vision_config": {"hidden_act": ["a"]}}', "trained with .* and quick_gelu"),
    ],
)
def test_a_damaged_configuration_next_to_the_file(config: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises((CheckpointError, ConfigError), match=says):
        _check_activation(tmp_path / "a.bin", "Hugging Face", "ViT-B-16", False)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x"])
def test_a_hub_file_is_inside_its_repository(path: str) -> None:
    with pytest.raises(ConfigError, match="Invalid weights"):
        WeightFile.parse(f"hub:owner/name/{path}")
