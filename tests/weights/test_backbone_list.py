from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from small_backbones import CONFIGS, REFUSED, publish

from peclip.cli.app import run
from peclip.settings import load_settings
from peclip.weights import backbone_list
from peclip.weights.backbone_list import BackboneFacts, list_backbones

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refused = {name: config for name, (config, _) in REFUSED.items()}
    real = {
        name: backbone_list.published_config(name) for name in ("RN50", "ViT-B-16", "coca_base")
    }
    publish(monkeypatch, tmp_path, CONFIGS | refused | real)
    names = (*CONFIGS, *REFUSED, *real)
    monkeypatch.setattr(backbone_list, "published_names", lambda: names)


def test_facts_come_from_what_a_backbone_is_made_of(tmp_path: Path) -> None:
    facts = {backbone.name: backbone for backbone in list_backbones(load_settings())}
    assert facts["ViT-B-16"] == BackboneFacts(
        "ViT-B-16", 224, "class token", "learned", "causal", 77, "CLIP"
    )
    assert facts["tiny-SigLIP"] == BackboneFacts(
        "tiny-SigLIP", 32, "attention", "learned", "full", 77, "CLIP"
    )
    assert facts["tiny-EVA02"] == BackboneFacts(
        "tiny-EVA02", 32, "class token", "learned, rotary", "causal", 77, "CLIP"
    )
    assert facts["tiny-CLIPA"].pooling == "mean"
    assert not any(facts[name].reason for name in (*CONFIGS, "debug", "nano"))
    for name, (_, reason) in REFUSED.items():
        assert reason in facts[name].reason
        assert not facts[name].pooling
    assert "ResNet" in facts["RN50"].reason
    assert "CoCa" in facts["coca_base"].reason


def test_the_list_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    first = list_backbones(load_settings(), advance=built.append)
    assert "tiny-SigLIP" in built
    assert "ViT-B-16" not in built  # known from its sizes
    built.clear()
    assert list_backbones(load_settings(), advance=built.append) == first
    assert not built
    (kept,) = load_settings().cache_dir.glob("backbones-*.json")
    kept.write_text("{")  # damaged
    assert list_backbones(load_settings(), advance=built.append) == first
    monkeypatch.setattr(backbone_list, "version", lambda _: "another")
    built.clear()
    list_backbones(load_settings(), advance=built.append)
    assert "tiny-SigLIP" in built


def test_the_command(capsys: Output) -> None:
    assert run(["models", "list", "--backbones"]) == 0
    captured = capsys.readouterr()
    assert "without its weights" in captured.err
    lines = captured.out.splitlines()
    assert lines[0].split()[:3] == ["backbone", "pixels", "pooling"]
    assert any(line.split()[:2] == ["tiny-PE-Core", "32"] for line in lines)
    assert any(line.startswith("RN50") and "ResNet" in line for line in lines)
    assert run(["models", "list", "--backbones", "-f", "json"]) == 0
    captured = capsys.readouterr()
    assert not captured.err
    assert {one["name"] for one in json.loads(captured.out)} >= CONFIGS.keys() | REFUSED.keys()


def test_a_kept_list_of_other_backbones_is_replaced() -> None:
    first = list_backbones(load_settings())
    (kept,) = load_settings().cache_dir.glob("backbones-*.json")
    kept.write_text("[]")
    assert list_backbones(load_settings()) == first
    assert json.loads(kept.read_text())


def test_the_kept_list_needs_no_torch(capsys: Output) -> None:
    """Importing torch takes longer than everything else in this command."""
    facts = [asdict(backbone) for backbone in list_backbones(load_settings())]
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from peclip.settings import load_settings\n"
        "from peclip.weights import backbone_list\n"
        f"facts = {facts!r}\n"
        "backbone_list.published_names = lambda: [one['name'] for one in facts[2:]]\n"
        "backbone_list._read = lambda path: [backbone_list.BackboneFacts(**one) for one in facts]\n"
        "assert len(backbone_list.list_backbones(load_settings())) == len(facts)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
