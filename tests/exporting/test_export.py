"""`export_model` writes what the network computes, or nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from exported_models import metadata_of, save_trained
from outcomes import refusal

import peclip
from peclip import PEClip, export_model
from peclip.cli.app import run
from peclip.errors import ConfigError, ExportError
from peclip.exported.onnx import load_onnx
from peclip.exported.registry import EXPORTED
from peclip.exporting.parity import face_windows, noise_windows
from peclip.exporting.registry import FORMATS, Format
from peclip.literals import ExportFormat
from peclip.models.registry import build_model
from peclip.weights.model_card import licence_of

onnx = pytest.importorskip("onnx", reason="needs the extra: pip install 'peclip[export]'")

Change = Callable[[Any], None]


def attributes(proto: Any, kind: str) -> list[Any]:
    return [one for node in proto.graph.node if node.op_type == kind for one in node.attribute]


def flip_reset(proto: Any) -> None:
    """Writes the GRUs as older exporters did."""
    flags = [one for one in attributes(proto, "GRU") if one.name == "linear_before_reset"]
    assert [flag.i for flag in flags] == [1, 1]
    for flag in flags:
        flag.i = 0


def change_weight(proto: Any) -> None:
    """Changes one weight of the last projection by a thousandth."""
    tensors = [one for one in proto.graph.initializer if len(one.dims) == 2]
    weights = onnx.numpy_helper.to_array(tensors[-1]).copy()
    weights.flat[0] += 0.01
    tensors[-1].CopyFrom(onnx.numpy_helper.from_array(weights, tensors[-1].name))


def remove_weight(proto: Any) -> None:
    """Makes one weight NaN."""
    tensor = next(one for one in proto.graph.initializer if len(one.dims) == 2)
    weights = onnx.numpy_helper.to_array(tensor).copy()
    weights[:] = np.nan
    tensor.CopyFrom(onnx.numpy_helper.from_array(weights, tensor.name))


def wrong_writer(good: Path, change: Change) -> Format:
    """A format whose exporter makes one mistake."""

    def write(model: Any, facts: Any, path: Path) -> None:
        proto = onnx.load(good)
        change(proto)
        onnx.save(proto, path)

    return Format(".onnx", write)


@pytest.mark.parametrize("change", [flip_reset, change_weight])
def test_a_wrong_export_is_refused(
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    change: Change,
) -> None:
    monkeypatch.setitem(FORMATS, "onnx", wrong_writer(exported, change))
    output = tmp_path / "wrong.onnx"
    line = refusal(capfd, 6, "export", str(exported.parent / "trained"), "-o", str(output))
    assert "0.0001" in line
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_kept_if_its_replacement_is_refused(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "model.onnx"
    output.write_text("before")
    monkeypatch.setitem(FORMATS, "onnx", wrong_writer(exported, flip_reset))
    with pytest.raises(ExportError):
        export_model(exported.parent / "trained", output)
    assert output.read_text() == "before"


def test_nan_is_a_difference(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "onnx", wrong_writer(exported, remove_weight))
    with pytest.raises(peclip.UserError, match="NaN"):
        export_model(exported.parent / "trained", tmp_path / "nan.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_same_file_without_a_mistake_is_written(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "onnx", wrong_writer(exported, lambda proto: None))
    assert export_model(exported.parent / "trained", tmp_path / "right.onnx") <= 1e-4
    assert (tmp_path / "right.onnx").is_file()


def test_the_file_states_everything_about_the_model(exported: Path) -> None:
    model = PEClip.from_pretrained(exported.parent / "trained", device="cpu")
    facts = json.loads(metadata_of(exported))
    assert facts["name"] == str(exported.parent / "trained")
    assert facts["texts"] == model.texts
    assert facts["licence"] == "research-only"  # that of the card
    config = model.config.model_dump(mode="json")
    assert facts["config"].items() <= config.items()
    assert {"labels", "num_frames", "prior", "baselines", "face_ranges", "preprocess"} <= facts[
        "config"
    ].keys()


def test_the_text_encoder_is_not_in_the_file(exported: Path) -> None:
    weights = exported.parent / "trained" / "model.safetensors"
    model = PEClip.from_pretrained(exported.parent / "trained", device="cpu").model
    vision = 4 * sum(parameter.numel() for parameter in model.encoders()[0].parameters())
    assert vision < exported.stat().st_size < vision + 150_000 < weights.stat().st_size
    assert str(Path(peclip.__file__).parent).encode() not in exported.read_bytes()


@pytest.mark.slow
def test_finecliper_is_exported(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    assert (
        export_model("finecliper:debug", tmp_path / "model.onnx", labels=["calm", "tense"]) < 1e-4
    )
    model = load_onnx(tmp_path / "model.onnx")
    assert model.labels.names == ("calm", "tense")
    assert model.texts["calm"] == "A person with an expression of calm"
    assert model.config.architecture == "finecliper"


@pytest.mark.slow
def test_lora_is_exported_merged_and_the_head_with_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    model = PEClip.from_pretrained("debug", device="cpu")
    config = model.config.derive(lora={"rank": 16}, temporal_head={"heads": 4})
    network = build_model(config).eval()
    for parameter in network.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    PEClip(network, config, device=torch.device("cpu"), precision="fp32").save_pretrained(tmp_path)
    assert export_model(tmp_path, tmp_path / "model.onnx") < 1e-4
    shapes = [tuple(t.dims) for t in onnx.load(tmp_path / "model.onnx").graph.initializer]
    assert not any(16 in shape and len(shape) == 2 for shape in shapes), "no matrix of rank 16"


@pytest.mark.slow
def test_nano_is_exported(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    assert export_model("nano", tmp_path / "nano.onnx") < 1e-4
    assert load_onnx(tmp_path / "nano.onnx").facts.licence == "research-only"


def test_a_model_with_other_inputs_is_refused(tmp_path: Path) -> None:
    model = peclip.FineCLIPER.from_pretrained("debug", device="cpu")
    config = model.config.derive(captions=True)
    from peclip.models.registry import build_model

    kind = type(model)(build_model(config).eval(), config, device=model.device, precision="fp32")
    kind.save_pretrained(tmp_path / "captions", full=True)
    with pytest.raises(ConfigError, match="captions"):
        export_model(tmp_path / "captions", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_cheap_mistakes_are_refused_first(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "model.onnx"
    assert ".onnx" in refusal(capfd, 2, "export", "debug", "-o", str(tmp_path / "model.pt"))
    output.touch()
    assert "--overwrite" in refusal(capfd, 2, "export", "debug", "-o", str(output))
    assert "nowhere" in refusal(capfd, 2, "export", "nowhere", "-o", str(output), "--overwrite")
    assert "original model" in refusal(
        capfd, 2, "export", str(output), "-o", str(tmp_path / "again.onnx")
    )


def test_the_windows_of_the_check_have_the_input_size() -> None:
    config = PEClip.from_pretrained("debug", device="cpu").config
    for windows in (noise_windows(config), face_windows(config)):
        assert windows.shape == (5, config.num_frames, 32, 32, 3)
        assert windows.dtype == np.uint8
        assert len({window.tobytes() for window in windows}) == 5


def test_every_format_is_written_and_read_and_named() -> None:
    assert FORMATS.keys() == set(get_args(ExportFormat))
    assert {form.suffix for form in FORMATS.values()} == EXPORTED.keys()


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: other\nlicense_name: research-only\n---\n# m", "research-only"),
        ("---\nlicense: mit\n---\n", "mit"),
        ("---\n[\n---\n", "unknown"),
        ("no metadata", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_licence_is_that_of_the_card(tmp_path: Path, card: str | None, expected: str) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert licence_of(tmp_path) == expected


def test_the_command_reports_the_difference(
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(FORMATS, "onnx", wrong_writer(exported, lambda proto: None))
    assert run(["export", str(exported.parent / "trained"), "-o", str(tmp_path / "m.onnx")]) == 0
    assert "m.onnx" in capfd.readouterr().err


def test_a_saved_model_has_another_gru_than_the_identity(tmp_path: Path) -> None:
    """Otherwise no test here would notice a wrong GRU."""
    save_trained(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    model = PEClip.from_pretrained(tmp_path / "b", device="cpu")
    ups = [m.up.weight for m in model.model.modules() if hasattr(m, "gru")]
    assert len(ups) == 2
    assert all(bool(up.any()) for up in ups)
