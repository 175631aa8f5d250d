"""Models on other backbones are exported, or refused: `export_model` itself compares the file with the network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_backbones import CONFIGS, publish, random_model, weight_file

from peclip import PEClip, export_model
from peclip.exported.onnx import load_onnx
from peclip.exporting.parity import noise_windows

pytest.importorskip("onnx", reason="needs the extra: pip install 'peclip[export]'")

NAMES = ["tiny-SigLIP2", "tiny-EVA02", "tiny-MobileCLIP"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_model_on_another_backbone_is_exported(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish(monkeypatch, tmp_path, CONFIGS)
    torch.manual_seed(0)
    weights = weight_file(random_model(CONFIGS[name]), tmp_path / "weights.safetensors")
    model = PEClip.from_pretrained(f"{name}/{weights}", device="cpu", precision="fp32")
    with torch.no_grad():
        for parameter in model.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "model")
    assert export_model(tmp_path / "model", tmp_path / "model.onnx") < 1e-4
    exported = load_onnx(tmp_path / "model.onnx")
    logits = exported.logits(noise_windows(model.config), None)
    assert logits.shape == (5, 7)
    assert logits.std() > 0
