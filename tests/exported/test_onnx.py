"""A model in an ONNX file predicts like its network, and a file that is not one is refused."""

from __future__ import annotations

import csv
import json
import math
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported_models import metadata_of
from outcomes import refusal

import peclip
from peclip import PredictOptions
from peclip.cli.app import run
from peclip.engines.base import Job, fingerprint, pinned
from peclip.errors import CheckpointError, ConfigError, DeviceError, MissingExtraError, UserError
from peclip.exported import onnx as onnx_loader
from peclip.exported.facts import ExportedFacts
from peclip.exported.model import ExportedModel
from peclip.exported.onnx import load_onnx, read_facts
from peclip.exported.onnx_file import ONNXFile
from peclip.runs.fold_models import load_fold_models

onnx = pytest.importorskip("onnx", reason="needs the extra: pip install 'peclip[export]'")

OPTIONS = PredictOptions(detector="haar", decoder="pyav")


@pytest.mark.slow
@pytest.mark.parametrize("weight", [None, 0.0, 1.0])
def test_rows_are_those_of_the_network(
    exported: Path, astronaut: Path, weight: float | None
) -> None:
    options = OPTIONS.model_copy(update={"prior_weight": weight})
    model = peclip.load(exported)
    assert isinstance(model, ExportedModel)
    found = model.predict(astronaut, options)
    expected = peclip.load(exported.parent / "trained", device="cpu", precision="fp32").predict(
        astronaut, options
    )
    assert len(found.rows) == 5
    for row, other in zip(found.rows, expected.rows, strict=True):
        ours, theirs = row.to_dict(), other.to_dict()
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            if isinstance(value, float):
                assert ours[name] == pytest.approx(value, abs=1e-3), name
            else:
                assert ours[name] == value, name


def test_rows_stream_and_arrays_are_read(exported: Path) -> None:
    model = peclip.load(exported)
    frames = np.random.default_rng(0).integers(0, 256, (50, 40, 40, 3), np.uint8)
    options = PredictOptions(face_crop=False, hop=1)
    rows = list(model.stream(frames, options))
    assert [row.window for row in rows] == [0, 1]
    assert all(sum(row.scores.values()) == pytest.approx(1) for row in rows)


def test_the_description_is_that_of_the_network(exported: Path) -> None:
    ours = peclip.load(exported).describe()
    theirs = peclip.load(exported.parent / "trained", device="cpu", precision="fp32").describe()
    assert ours.pop("computed_by").startswith("onnxruntime ")
    assert ours == theirs


def test_the_rows_of_a_file_are_told_from_those_of_another(exported: Path, tmp_path: Path) -> None:
    options = PredictOptions(face_crop=False)
    before = fingerprint(peclip.load(exported), options)
    proto = onnx.load(exported)
    proto.doc_string = "changed"
    onnx.save(proto, tmp_path / "other.onnx")
    after = fingerprint(peclip.load(tmp_path / "other.onnx"), options)
    assert {name for name in before if before[name] != after[name]} == {"weights_sha256"}
    job = pinned(Job(str(exported), options=options), before)
    assert job.load().labels.names == peclip.load(exported).labels.names


@pytest.mark.parametrize("shape", [(1, 7), (3, 7), (2, 6), (14,)])
def test_a_model_returns_one_row_per_window(exported: Path, shape: tuple[int, ...]) -> None:
    model = ExportedModel(
        read_facts(exported),
        lambda crops: np.zeros(shape, np.float32),
        computed_by="test",
        digest="",
        file="wrong.onnx",
    )
    with pytest.raises(CheckpointError, match=r"wrong\.onnx.*2 windows and 7 labels"):
        model.logits(np.zeros((2, 4, 32, 32, 3), np.uint8))


def test_other_labels_are_refused(
    exported: Path, astronaut: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = refusal(
        capfd, 2, "predict", str(astronaut), "-m", str(exported), "--labels", "calm, tense"
    )
    assert "peclip export" in line


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"revision": "v1"}, ConfigError),
        ({"device": "cuda"}, DeviceError),
        ({"precision": "bf16"}, DeviceError),
    ],
)
def test_what_a_file_does_not_have_is_refused(
    exported: Path, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"trained\.onnx"):
        peclip.load(exported, **arguments)


def test_captions_and_wrong_windows_are_refused(exported: Path, tmp_path: Path) -> None:
    model = load_onnx(exported)
    with pytest.raises(ConfigError, match="captions"):
        model.prepare(PredictOptions(face_crop=False, captions=tmp_path / "captions.jsonl"))
    with pytest.raises(ConfigError, match="tta is flip"):
        model.prepare(PredictOptions(face_crop=False, tta="flip"))
    with pytest.raises(ConfigError, match=r"\(4, 32, 32, 3\)"):
        model.logits(np.zeros((1, 4, 16, 16, 3), np.uint8))


def test_only_prediction_takes_a_file(exported: Path) -> None:
    with pytest.raises(ConfigError, match="original model"):
        peclip.PEClip.from_pretrained(exported)
    with pytest.raises(ConfigError, match="original model"):
        load_fold_models(
            exported, [None], labels=None, prior_weight=None, device="cpu", precision="fp32"
        )


def test_without_onnxruntime_the_extra_is_named(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="onnxruntime"):
        peclip.load(exported)


# Files that need not be trusted


def external(proto: Any) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../secret"


def custom(proto: Any) -> None:
    proto.graph.node[0].domain = "com.microsoft"


def function(proto: Any) -> None:
    proto.functions.add().name = "f"


def branch(proto: Any) -> None:
    attribute = proto.graph.node[0].attribute.add()
    attribute.name, attribute.type = "then_branch", onnx.AttributeProto.GRAPH
    attribute.g.name = "g"


def constant(proto: Any) -> None:
    attribute = proto.graph.node[0].attribute.add()
    attribute.t.data_location = onnx.TensorProto.EXTERNAL


def sparse(proto: Any) -> None:
    proto.graph.sparse_initializer.add()


def facts(change: Callable[[dict[str, Any]], object]) -> Callable[[Any], None]:
    def apply(proto: Any) -> None:
        (entry,) = [entry for entry in proto.metadata_props if entry.key == "peclip"]
        values = json.loads(entry.value)
        change(values)
        entry.value = json.dumps(values)

    return apply


def no_metadata(proto: Any) -> None:
    del proto.metadata_props[:]


def long_metadata(proto: Any) -> None:
    proto.metadata_props[0].value = " " * 1_000_001


def fixed_batch(proto: Any) -> None:
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def unknown_operator(proto: Any) -> None:
    proto.graph.node[0].op_type = "Unheard"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (external, "data in other files"),
        (constant, "data in other files"),
        (custom, "custom operators"),
        (function, "functions"),
        (branch, "loops or branches"),
        (sparse, "sparse tensors"),
        (no_metadata, "peclip export"),
        (long_metadata, "longer than 1,000,000"),
        (facts(lambda values: values.update(format_version=2)), "format_version"),
        (facts(lambda values: values.update(name="a\x1b[2J")), "control character"),
        (facts(lambda values: values.update(name=" ")), "name: is empty"),
        (facts(lambda values: values.update(licence="")), "licence: is empty"),
        (facts(lambda values: values["config"].update(architecture="")), "architecture: is empty"),
        (facts(lambda values: values["config"].update(backbone="x" * 2000)), "at most 1,000"),
        (
            facts(lambda values: values["config"].update(face_ranges={"size": [math.nan, 1]})),
            "size",
        ),
        (facts(lambda values: values["config"]["preprocess"].update(std=[math.nan] * 3)), "std"),
        (facts(lambda values: values["texts"].update(happiness="")), "'happiness' is empty"),
        (facts(lambda values: values["texts"].pop("happiness")), "texts"),
        (facts(lambda values: values["config"].update(num_frames=0)), "num_frames"),
        (facts(lambda values: values["config"].update(num_frames=5)), "do not match"),
        (facts(lambda values: values["config"]["labels"].reverse()), None),
        (fixed_batch, "do not match"),
        (unknown_operator, "onnxruntime cannot load"),
    ],
)
def test_a_file_is_checked_at_the_door(
    exported: Path, tmp_path: Path, change: Callable[[Any], None], reason: str | None
) -> None:
    proto = onnx.load(exported)
    change(proto)
    path = tmp_path / "changed.onnx"
    path.write_bytes(proto.SerializeToString())
    if reason is None:
        load_onnx(path)
        return
    with pytest.raises(CheckpointError, match=reason) as caught:
        load_onnx(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no model",
        b"\x3a\xff\xff\xff\xff\x0f",
        b"\x3b",
        b"\x38\x01",
        b"\xff" * 20,
        b"\x72\x02\x0a\x05",
    ],
    ids=["empty", "text", "cut", "group", "number", "endless", "metadata"],
)
def test_a_corrupt_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.onnx"):
        load_onnx(path)


def test_no_field_is_hidden_by_bits_that_protobuf_ignores(exported: Path) -> None:
    graph = b"\xba\x80\x80\x80\x20\x00"  # number 7, with a bit above the 32 of a key
    with pytest.raises(CheckpointError, match="corrupt"):
        ONNXFile(exported.read_bytes() + graph, "hidden.onnx")


def wrong_gru(proto: Any) -> None:
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.name == "hidden_size":
                attribute.i += 1


def other_bytes_in_names(proto: Any) -> None:
    proto.graph.node[0].op_type = proto.graph.node[0].name = "Unheard" * 3


def no_nodes(proto: Any) -> None:
    del proto.graph.node[:]


@pytest.mark.parametrize("change", [wrong_gru, other_bytes_in_names, no_nodes, unknown_operator])
def test_onnxruntime_prints_nothing(
    exported: Path, tmp_path: Path, change: Callable[[Any], None], capfd: pytest.CaptureFixture[str]
) -> None:
    proto = onnx.load(exported)
    change(proto)
    content = proto.SerializeToString().replace(b"Unheard" * 3, b"\xff" * 21)
    path = tmp_path / "changed.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"changed\.onnx"):
        load_onnx(path).logits(np.zeros((1, 4, 32, 32, 3), np.uint8))
    assert capfd.readouterr() == ("", "")


def test_models_info_and_path_take_a_file(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "info", str(exported), "-f", "json"]) == 0
    about, facts = json.loads(capsys.readouterr().out), read_facts(exported)
    assert about["labels"] == facts.texts
    assert (about["name"], about["licence"]) == (facts.name, facts.licence)
    assert about["config"]["num_frames"] == 4
    assert run(["models", "info", str(exported)]) == 0
    assert f"licence        {facts.licence}" in capsys.readouterr().out
    assert run(["models", "path", str(exported)]) == 0
    assert capsys.readouterr().out == f"{exported}\n"


def test_every_cut_of_a_file_is_refused_or_read(exported: Path) -> None:
    content = exported.read_bytes()
    for length in range(0, 2000, 7):
        with suppress(CheckpointError):  # a cut between two fields is not an error by itself
            assert "peclip" not in ONNXFile(content[:length], "cut.onnx").metadata


def test_a_file_has_a_largest_size_and_number_of_fields(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peclip.exported.onnx_file._MAX_FIELDS", 10)
    with pytest.raises(CheckpointError, match="10 fields"):
        load_onnx(exported)
    monkeypatch.setattr(onnx_loader, "_MAX_BYTES", 10)
    with pytest.raises(CheckpointError, match="2 GiB"):
        load_onnx(exported)
    with pytest.raises(ConfigError, match="does not exist"):
        peclip.load(tmp_path / "missing.onnx")


def test_the_facts_are_read_as_they_were_written(exported: Path) -> None:
    text = metadata_of(exported)
    assert ExportedFacts.read(text, "x").model_dump_json() == text


# A process without torch

ROOT = Path(__file__).parents[2]
UNNEEDED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "torchcodec": "torchcodec",
    "open_clip_torch": "open_clip",
    "ftfy": "ftfy",
    "huggingface_hub": "huggingface_hub",
    "regex": "regex",
}
"""Core packages that prediction with a file does not need, and their modules."""
BLOCKED = (*UNNEEDED.values(), "safetensors", "timm", "transformers", "onnx", "onnxscript")
PROGRAM = f"""
import sys

for name in {BLOCKED!r}:
    sys.modules[name] = None  # every import fails

from peclip.cli.app import run

sys.exit(run(sys.argv[1:]))
"""


def test_the_documented_installation_has_what_prediction_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {re.split("[^a-z_A-Z-]", package)[0]: package for package in project["dependencies"]}
    assert core.keys() >= UNNEEDED.keys()
    needed = {package for name, package in core.items() if name not in UNNEEDED}
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^uv pip install ('(?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert set(re.findall("'([^']+)'", command)) == needed | {
        *project["optional-dependencies"]["onnx"]
    }


def test_a_process_without_torch_predicts_a_video(
    exported: Path, astronaut: Path, tmp_path: Path
) -> None:
    names = ("people.csv", "frames.csv", "faces.mp4", "page.html", "timeline.png")
    flags = ("--summary", "--per-frame", "--save-video", "--report", "--plot")
    sides = [
        argument
        for flag, name in zip(flags, names, strict=True)
        for argument in (flag, str(tmp_path / name))
    ]
    command = ["predict", str(astronaut), "-m", str(exported), "--detector", "haar", "-o"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command, str(tmp_path / "a.csv"), *sides],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / name).stat().st_size > 0 for name in names)
    trained = str(exported.parent / "trained")
    same = ["--decoder", "pyav", "--device", "cpu", "--precision", "fp32"]
    assert run([*command[:3], trained, *command[4:], str(tmp_path / "b.csv"), *same]) == 0
    ours, theirs = (
        list(csv.DictReader((tmp_path / name).read_text().splitlines()))
        for name in ("a.csv", "b.csv")
    )
    assert len(ours) == 5
    for row, other in zip(ours, theirs, strict=True):
        for name, value in other.items():
            if name.startswith("prob_"):
                assert float(row[name]) == pytest.approx(float(value), abs=1e-3)
            elif name not in ("score", "margin", "entropy"):
                assert row[name] == value
