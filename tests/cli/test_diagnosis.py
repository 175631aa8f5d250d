"""`doctor` finds what is here, says what to do about the rest, and never fails itself."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from peclip.cli.diagnosis import Finding, diagnose
from peclip.errors import ConfigError
from peclip.video.parts import LANDMARKER


def found() -> dict[str, Finding]:
    findings = diagnose()
    assert len({finding.name for finding in findings}) == len(findings)
    return {finding.name: finding for finding in findings}


@pytest.fixture
def cache() -> Path:
    return Path(os.environ["PECLIP_CACHE_DIR"])


def test_everything_is_checked_and_nothing_is_written(cache: Path) -> None:
    findings = found()
    assert {"python", "peclip", "torch", "torchvision", "open_clip_torch"} <= findings.keys()
    assert {
        "torchcodec",
        "pyav",
        "cpu",
        "cache",
        "network",
        "yunet",
        "landmarker",
    } <= findings.keys()
    assert {"pandas", "pyarrow", "matplotlib"} <= findings.keys()
    assert {"mediapipe", "transformers", "ray"} <= findings.keys()
    assert findings["torch"].value == importlib.metadata.version("torch")
    assert not list(cache.iterdir())


def test_every_problem_comes_with_advice() -> None:
    for finding in diagnose():
        assert finding.state in ("ok", "optional", "missing")
        assert bool(finding.advice) == (finding.state != "ok")
        assert "\n" not in finding.value + finding.advice


def test_a_finding_goes_through_json() -> None:
    finding = Finding("gpu", "none found", "optional", "buy one")
    assert json.loads(json.dumps(finding.to_dict())) == {
        "name": "gpu",
        "value": "none found",
        "state": "optional",
        "advice": "buy one",
    }


def test_the_cache_is_named_with_its_size(cache: Path) -> None:
    (cache / "hub").mkdir()
    (cache / "hub" / "blob").write_bytes(bytes(2_400_000))
    (cache / "hub" / "link").symlink_to(cache / "hub" / "blob")  # as the hub's cache does
    finding = found()["cache"]
    assert finding.state == "ok"
    assert finding.value == f"{cache} (2 MB)"


def test_a_cache_that_does_not_exist_yet_is_fine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PECLIP_CACHE_DIR", str(tmp_path / "a" / "b"))
    assert found()["cache"].state == "ok"
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("below", ["", "a", "a/b"])
def test_a_cache_behind_a_file_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PECLIP_CACHE_DIR", str(tmp_path / "file" / below))
    finding = found()["cache"]
    assert finding.state == "missing"
    assert str(tmp_path / "file") in finding.advice
    assert "PECLIP_CACHE_DIR" in finding.advice


def test_a_cache_without_write_permission_is_missing(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    allowed = os.access  # root may write everywhere, so the result is faked here
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path) != cache and allowed(path, mode)
    )
    assert found()["cache"].state == "missing"


def test_a_cache_whose_name_is_too_long_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PECLIP_CACHE_DIR", str(tmp_path / ("x" * 300)))
    assert found()["cache"].state == "missing"


def test_the_network_is_allowed_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found()["network"].value == "offline (set in the environment)"
    monkeypatch.setenv("PECLIP_OFFLINE", "0")
    assert found()["network"].value == "allowed"


def test_yunet_is_cached_or_not(cache: Path) -> None:
    finding = found()["yunet"]
    assert (finding.value, finding.state) == ("not cached", "optional")
    assert "peclip models download yunet" in finding.advice
    (cache / "face_detection_yunet_2023mar.onnx").touch()
    assert found()["yunet"] == Finding("yunet", "cached")


def test_the_landmarker_is_cached_or_not(cache: Path) -> None:
    finding = found()["landmarker"]
    assert (finding.value, finding.state) == ("not cached", "optional")
    assert "peclip models download landmarker" in finding.advice
    (cache / LANDMARKER.name).touch()
    assert found()["landmarker"] == Finding("landmarker", "cached")


def test_every_package_of_the_extras_is_listed() -> None:
    known = importlib.metadata.requires("peclip") or []
    optional = {line.split(";")[0] for line in known if "extra ==" in line and "dev" not in line}
    assert "pympi-ling>=1.71" in optional
    names = {re.split(r"[\[<>=]", requirement)[0] for requirement in optional}
    assert names <= found().keys()


@pytest.mark.parametrize(
    ("package", "requirement"),
    [("pympi-ling", "pympi-ling>=1.71"), ("mediapipe", "mediapipe"), ("ray", "ray[data]")],
)
def test_each_missing_package_comes_with_its_command(
    package: str, requirement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == package:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("peclip.cli.diagnosis.version", version)
    finding = found()[package]
    assert (finding.value, finding.state) == ("not installed", "optional")
    assert f': pip install "{requirement}' in finding.advice
    assert f'uv pip install "{requirement}' in finding.advice


def test_an_extra_that_is_not_installed_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name in ("pandas", "matplotlib"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("peclip.cli.diagnosis.version", version)
    findings = found()
    assert findings["pandas"].state == findings["matplotlib"].state == "optional"
    assert 'pip install "pandas' in findings["pandas"].advice
    assert 'pip install "matplotlib' in findings["matplotlib"].advice
    assert findings["pyarrow"] == Finding("pyarrow", "1.0")


def test_a_missing_dependency_is_reported_without_a_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For instance OpenCV from another package: opencv-python, opencv-contrib-python, conda."""

    def version(name: str) -> str:
        if name == "opencv-python-headless":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("peclip.cli.diagnosis.version", version)
    finding = found()["opencv-python-headless"]
    assert finding.state != "ok"
    assert finding.advice


def test_torchcodec_that_does_not_load_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = None, "libavutil is not there"
    monkeypatch.setattr("peclip.cli.diagnosis.torchcodec_state", lambda: problem)
    finding = found()["torchcodec"]
    assert finding.state == "optional"
    assert finding.value == "unavailable: libavutil is not there"
    assert "ffmpeg" in finding.advice


def test_every_gpu_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda index: f"Card {index}")
    memory = SimpleNamespace(total_memory=24 * 2**30)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: memory)
    findings = found()
    assert findings["cuda:1"] == Finding("cuda:1", "Card 1, 24 GiB")
    assert "cuda:0" in findings
    assert "gpu" not in findings


def test_without_a_gpu_the_cpu_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert found()["gpu"].state == "optional"
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    findings = found()
    assert "gpu" not in findings
    assert findings["mps"].state == "ok"


def test_an_invalid_setting_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PECLIP_OFFLINE", "maybe")
    with pytest.raises(ConfigError, match="PECLIP_OFFLINE"):
        diagnose()
