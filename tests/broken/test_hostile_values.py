"""Hostile numbers and text in every file that peclip reads: a value, or one clear line, and never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import Field
from safetensors.numpy import save_file
from sweeps import sweep

from peclip.captions.store import CaptionStore
from peclip.cli.captions import _read_options
from peclip.config import Config, PreprocessConfig
from peclip.data.benchmarks.annotation_list import read_list
from peclip.data.benchmarks.dfew import DFEW
from peclip.data.benchmarks.dfew import _read as read_dfew
from peclip.data.benchmarks.mafw import load_mafw_captions
from peclip.data.benchmarks.table import load_table
from peclip.data.caption_file import read_captions
from peclip.data.config import DataConfig
from peclip.data.preparation.crop_record import (
    LEFT_OUT,
    RECORD,
    CropConfig,
    crop_mismatch,
    left_out,
    record_crops,
)
from peclip.data.votes import BY_ID, read_vote_file
from peclip.engines.journal import Journal, journal_of
from peclip.errors import PEClipError
from peclip.labels import EMOTIONS, LabelSet
from peclip.metrics.scoring import score_files
from peclip.models.descriptions import read_label_file
from peclip.models.fine_cliper_config import FineCLIPERConfig
from peclip.models.pe_clip_config import PEClipConfig
from peclip.models.registry import read_config
from peclip.nn.tensor_file import count_numbers, read_tensors
from peclip.predict_options import PredictOptions
from peclip.runs.recipe import assignment, model_config, read_recipe, run_config, to_yaml
from peclip.runs.run_files import REPORT, read_report
from peclip.runtime import choose_device
from peclip.settings import load_settings
from peclip.text.comparison import differences
from peclip.text.display import MAX_SHOWN, abridged
from peclip.training.reporting import _read_journal
from peclip.training.state import STATE, load_state, valid_content
from peclip.training.trackers import JOURNAL
from peclip.video.parts import NUM_LANDMARKS, load_parts
from peclip.video.sources import expand_sources

# --- values -------------------------------------------------------------------------------------

DIGITS = "9" * 5000

CELLS: dict[str, str] = {
    "empty": "",
    "digits": DIGITS,
    "negative": f"-{DIGITS}",
    "fraction": f"0.{DIGITS}",
    "large": "1e308",
    "exponent": "1e999",
    "nan": "nan",
    "infinite": "-inf",
    "thousands": "1_000",
    "arabic": "٣" * 5000,
    "superscript": "²",
    "escape": "\x1b[2J\x1b]0;pwn\x07",
    "separator": "a\u2028b\x85c",
    "direction": "\u202eevil",
    "nul": "\0",
    "long": "a" * 150_000,
    "formula": '=HYPERLINK("x")',
    "quote": '"',
    "lines": "a\r\nb",
    "path": "../" * 2000,
    "surrogate": "\udcff",
}
"""Cells of a csv, a list or an argument."""

JSONS: dict[str, str] = {
    "digits": DIGITS,
    "four-thousand-digits": "9" * 4000,
    "large": "1e308",
    "exponent": "1e999",
    "nan": "NaN",
    "infinite": "-Infinity",
    "null": "null",
    "true": "true",
    "number": "3",
    "list": "[]",
    "lists": "[[1], [2, [3]]]",
    "object": '{"a": {"b": 1}}',
    "deep": "[" * 60 + "]" * 60,
    "deeper": "[" * 400_000,
    "deep-objects": '{"a":' * 100_000,
    "surrogate": '"\\ud800x"',
    "escape": '"\\u001b[2J"',
    "nul": '"\\u0000"',
    "text": '"text"',
    "long": f'"{"a" * 150_000}"',
    "not-json": "{",
}

YAMLS: dict[str, str] = JSONS | {
    "date": "2024-13-45",
    "time": "2024-01-01T99:99:99Z",
    "hex": f"0x{'f' * 5000}",
    "sexagesimal": f"1{':59' * 5000}",
    "bad-int": "!!int abc",
    "no-int": "!!int ''",
    "bad-bool": "!!bool x",
    "bad-date": "!!timestamp x",
    "binary": "!!binary 'x'",
    "set": "!!set {a, b}",
    "omap": "!!omap [a: 1]",
    "itself": "&a [*a]",
    "unknown-alias": "*a",
    "object-of-python": "!!python/object/apply:os.system [true]",
    "key": "{? [a] : b}",
    "number-key": "{1: 2, 2024-01-01: 3}",
    "merge": "{<<: 3}",
    "tab": "\t",
    "documents": "a\n---\nb",
    "control": "\x1b",
    "not-json": "[",
}

FEW = ("digits", "exponent", "nan", "deep", "deeper", "surrogate", "escape", "list", "hex", "date")


def checked(read: Callable[[], object], what: object) -> None:
    """Runs a reader; the only exceptions are peclip's own, with a message that can be printed."""
    said = "nothing"
    try:
        read()
    except PEClipError as error:
        said = str(error).strip()
    assert said, what
    line = abridged(said)
    assert line.isprintable(), what
    assert len(line) <= MAX_SHOWN, what
    line.encode()


# --- YAML and JSON ------------------------------------------------------------------------------

RECIPE = {
    "base": "debug",
    "data": {"dataset": "folder", "root": "."},
    "train": {"epochs": 1},
    "model": {"num_frames": 4},
}


def fields(kind: type[Config], prefix: str = "") -> Iterator[str]:
    """Yields the dotted names of all fields, nested ones too."""
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Config):
            yield from fields(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


RECIPE_FIELDS = [
    *("base", "data", "train", "model", "report_to", "all_folds", "model.labels", "model.prior"),
    *("data.dataset", "data.root", "data.fold", "data.test_subjects", "data.label_votes"),
    *("train.epochs", "train.seed", "train.lr", "train.lr.adapters", "train.mixing.mixup_range"),
    *("train.animate", "train.augment.crop_scale", "train.text_styles", "train.stem.weights"),
]


@sweep("value", YAMLS, default=FEW)
def test_recipes(value: str, tmp_path: Path) -> None:
    text = YAMLS[value]
    path = tmp_path / "recipe.yaml"
    base = PEClipConfig(backbone="debug", pretrained=None)

    def read() -> None:
        config = run_config(read_recipe(str(path)))
        model_config(base, config.model)
        to_yaml(config).encode()

    for document in (text, f"{text}: 1", f"data: {text}", f"- {text}"):
        path.write_text(document, encoding="utf-8")
        checked(read, document[:80])
    for name in RECIPE_FIELDS if len(text) < 20_000 else ():
        lines = [f"{key}: {json.dumps(inner)}" for key, inner in RECIPE.items() if key != name]
        section, _, field = name.partition(".")
        lines = [line for line in lines if not line.startswith(f"{section}:")]
        known = RECIPE.get(section) if field else None
        rest = dict(known) if isinstance(known, dict) else {}
        *outer, last = field.split(".") if field else [section]
        body = f"{last}: {text}"
        for key in reversed(outer):
            body = f"{key}: {{{body}}}"
        if field:
            kept = "".join(f"{k}: {json.dumps(v)}, " for k, v in rest.items() if k != field)
            body = f"{section}: {{{kept}{body}}}"
        path.write_text("\n".join([*lines, body]), encoding="utf-8")
        checked(read, (name, value))
        checked(lambda name=name: assignment(f"{name}={text}"), (name, value))  # type: ignore[misc]


@sweep("value", YAMLS, default=FEW)
def test_label_files(value: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    text = YAMLS[value]
    for document in (text, f"- {text}\n- b", f"a: {text}\nb: c", f"? {text}\n: c\nb: d"):
        path.write_text(document, encoding="utf-8")
        checked(lambda: read_label_file(path), document[:80])


@pytest.mark.parametrize("kind", [PEClipConfig, FineCLIPERConfig])
@sweep("value", JSONS, default=[value for value in FEW if value in JSONS])
def test_every_field_of_a_model_configuration(kind: type[Any], value: str) -> None:
    whole = kind(backbone="debug", pretrained=None).model_dump(mode="json")
    mark = "@@"
    for name in fields(kind):
        outer, _, inner = name.rpartition(".")
        changed = whole | ({outer: whole[outer] | {inner: mark}} if outer else {name: mark})
        text = json.dumps(changed).replace(f'"{mark}"', JSONS[value])
        checked(lambda text=text: read_config(text).model_dump_json(), (name, value))  # type: ignore[misc]
    for document in (JSONS[value], f"[{JSONS[value]}]", f'{{"\\u001b": {JSONS[value]}}}'):
        checked(lambda document=document: read_config(document), document[:80])  # type: ignore[misc]


@sweep("value", JSONS, default=[value for value in FEW if value in JSONS])
def test_journals_records_and_reports(value: str, tmp_path: Path) -> None:
    text = JSONS[value]
    output = tmp_path / "rows.jsonl"
    entry = {"source": "a", "end": 0, "failed": False, "partly": False}
    lines = [text, *(_with(entry, name, text) for name in entry), _with(entry, "more", text)]
    for line in lines:
        output.write_text("")
        journal_of(output).write_text(f"{{}}\n{line}\n", encoding="utf-8")
        checked(lambda: Journal.resume(output, {}).close(keep=True), line[:80])
    journal_of(output).write_text(f"{text}\n", encoding="utf-8")
    checked(lambda: Journal.resume(output, {"a": 1}).close(keep=True), value)

    made = PreprocessConfig()
    own = CropConfig.of(made, size=None, detector="haar", threshold=0.7)
    for name in (None, *CropConfig.model_fields):
        document = text if name is None else _with(own.model_dump(), name, text)
        (tmp_path / RECORD).write_text(document, encoding="utf-8")
        checked(lambda: crop_mismatch(tmp_path, made), (name, value))
        checked(lambda: record_crops(Path("/nowhere"), tmp_path, own), (name, value))
    for document in (text, f'{{"a": {text}}}'):
        (tmp_path / LEFT_OUT).write_text(document, encoding="utf-8")
        checked(lambda: left_out(tmp_path), value)
        (tmp_path / JOURNAL).write_text(document, encoding="utf-8")
        checked(lambda: _read_journal(tmp_path), value)
        (tmp_path / REPORT).write_text(document, encoding="utf-8")
        checked(lambda: read_report(tmp_path), value)
        checked(lambda document=document: _read_options(document), value)  # type: ignore[misc]


def _with(values: dict[str, Any], name: str, text: str) -> str:
    return json.dumps(values | {name: "@@"}).replace('"@@"', text)


# --- records ------------------------------------------------------------------------------------

PREDICTION = {"source": "a", "target": "happy", "label": "happy", "prob_happy": 1, "prob_sad": 0}
WINDOW = PREDICTION | {
    "track_id": 1,
    "window": 0,
    "status": "ok",
    "face_coverage": 1,
    "w": 9,
    "h": 9,
}


@sweep("value", JSONS, default=[value for value in FEW if value in JSONS])
def test_records_of_json(value: str, tmp_path: Path) -> None:
    text = JSONS[value]
    captions = tmp_path / "captions.jsonl"
    for row in (PREDICTION, WINDOW):
        for name in row:
            changed = _with(row, name, text)
            _write_and_score(tmp_path / "a.jsonl", changed)
            _write_and_score(tmp_path / "a.json", f'{{"rows": [{changed}]}}')
    for name in ("id", "source", "caption", "refined"):
        line = _with({"id": "a", "caption": "A face."}, name, text)
        captions.write_text(f"{line}\n", encoding="utf-8")
        checked(lambda: read_captions(captions), (name, value))
        checked(lambda: CaptionStore(captions).close(), (name, value))
    for document in (text, f'{{"rows": {text}}}', f'[{{"rows": [{text}]}}]'):
        _write_and_score(tmp_path / "a.json", document)
        _write_and_score(tmp_path / "a.jsonl", document)


def _write_and_score(path: Path, text: str) -> None:
    path.write_text(f"{text}\n", encoding="utf-8")
    checked(lambda: json.dumps(score_files([path], resamples=10).to_dict()), text[:200])


FEW_CELLS = ("empty", "digits", "exponent", "nan", "arabic", "escape", "separator", "nul", "long")


@sweep("value", CELLS, default=FEW_CELLS)
def test_records_of_csv(value: str, tmp_path: Path) -> None:
    cell = CELLS[value].replace('"', '""')
    labels = LabelSet(EMOTIONS[:7])
    votes = {"id": "a", **dict.fromkeys(labels, "1"), "contempt": "0"}
    table = {"path": "a.mp4", "label": "happy", "split": "train", "votes": "happy:1 sad:2"}
    more = "b.mp4,sad,test,\n"
    path = tmp_path / "a.csv"

    def write(row: dict[str, Any], after: str = "") -> None:
        cells = ",".join(f'"{inner}"' for inner in row.values())
        content = f"{','.join(row)}\n{cells}\n{after}"
        path.write_text(content, encoding="utf-8", errors="surrogateescape", newline="")

    for name in (*PREDICTION, *WINDOW):
        for row in (PREDICTION, WINDOW):
            if name in row:
                write(row | {name: cell})
                checked(lambda: score_files([path], resamples=10).to_dict(), (name, value))
                write({key if key != name else cell: inner for key, inner in row.items()})
                checked(lambda: score_files([path], resamples=10).to_dict(), (name, value))
    for name in votes:
        write(votes | {name: cell})
        checked(lambda: read_vote_file(path, BY_ID, labels), (name, value))
        checked(lambda: read_vote_file(path, DFEW.vote_key or BY_ID, labels), (name, value))
    for name in table:
        for given in (cell, f"happy:{cell}", f"{cell}:1"):
            write(table | {name: given}, more)
            checked(lambda: load_table(tmp_path, None, "train", path), (name, value))
    for name in ("id", "caption"):
        write({"id": "a", "caption": "A face."} | {name: cell})
        checked(lambda: read_captions(path), (name, value))


@sweep("value", CELLS, default=FEW_CELLS)
def test_annotation_lists(value: str, tmp_path: Path) -> None:
    cell = CELLS[value]
    path = tmp_path / "DFEW_set_1_train.txt"
    official = tmp_path / "set_1.csv"
    for line in (f"a {cell} 0", f"a 16 {cell}", f"{cell} 16 0", cell, f"a {cell}"):
        path.write_text(line, encoding="utf-8", errors="surrogateescape")
        checked(lambda: read_list(path, EMOTIONS[:7]), line[:80])
        checked(lambda: DFEW.load(tmp_path, 1, "train"), line[:80])
    for line in (f"{cell},1", f"1,{cell}", cell):
        official.write_text(f"video_name,label\n{line}", encoding="utf-8", errors="surrogateescape")
        checked(lambda: read_dfew(official, EMOTIONS[:7]), line[:80])
    captions = tmp_path / "single" / "with_caption" / "set_1"
    captions.mkdir(parents=True)
    for name in ("train", "test"):
        text = f"{cell}\t{cell}\t{cell}\t{cell}\n"
        (captions / f"{name}.txt").write_text(text, encoding="utf-8", errors="surrogateescape")
    checked(lambda: load_mafw_captions(tmp_path), value)


@sweep("value", CELLS, default=FEW_CELLS)
def test_arguments_and_settings(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = CELLS[value]
    checked(lambda: expand_sources([cell]), value)
    checked(lambda: choose_device(f"cuda:{cell}"), value)
    if "\0" not in cell and "\udcff" not in cell:
        for name in ("MAX_DOWNLOAD_BYTES", "HTTP_TIMEOUT", "OFFLINE"):
            monkeypatch.setenv(f"PECLIP_{name}", cell)
            checked(load_settings, (name, value))
            monkeypatch.delenv(f"PECLIP_{name}")


# --- tensors ------------------------------------------------------------------------------------

DTYPES = [
    "BOOL",
    "F4",
    "F6_E2M3",
    "F6_E3M2",
    "U8",
    "I8",
    "F8_E5M2",
    "F8_E4M3",
    "F8_E8M0",
    "I16",
    "U16",
    "F16",
    "BF16",
    "I32",
    "U32",
    "F32",
    "C64",
    "F64",
    "X",
]
SHAPES = [[], [0], [1] * 100, [2**31], [2**62, 4], [-1], ["a"], [1.5], [10**30], [None], [4]]


@sweep("dtype", DTYPES, default=["F32", "F8_E8M0", "F4", "C64", "X"])
def test_headers_of_tensors(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for shape in SHAPES:
        for offsets in ([0, 16], [0, 0], [8, 0], [0, 2**63], [-1, 15]):
            about = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
            header = json.dumps({"a": about, "__metadata__": {"side": DIGITS}}).encode()
            path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
            checked(lambda: count_numbers(path), about)
            checked(lambda: read_tensors(path), about)
            checked(lambda: load_parts(path), about)


@pytest.mark.parametrize("side", [DIGITS, "-1", "0", "9999", str(2**40), "a", "1e3", ""])
def test_maps_of_parts(side: str, tmp_path: Path) -> None:
    path = tmp_path / "a.parts.safetensors"
    frames = 100
    arrays = {
        "landmarks": np.zeros((frames, NUM_LANDMARKS, 2), np.float16),
        "found": np.ones(frames, np.bool_),
        "maps": np.zeros(100, np.uint8),
    }
    save_file(arrays, path, {"side": side})
    with pytest.raises(PEClipError, match="cannot be read"):
        load_parts(path)


@pytest.mark.parametrize(
    "content", [{}, {"identity": 3}, {"identity": {}, "learner": []}, {"identity": {"a": [[]]}}]
)
def test_states_of_other_content(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"format": 3, **content}, tmp_path / STATE)
    state = load_state(tmp_path)
    with pytest.raises(PEClipError, match="is not a valid training state"), valid_content(tmp_path):
        differences(state["identity"], {"a": 1}, ignored=state["learner"]["weights"])


# --- the ranges of numbers ----------------------------------------------------------------------

UNBOUNDED = {"window", "end", "detect_rate"}
"""Numbers whose upper bound is infinity, by name: `all`, and every frame."""


def _configs(kind: type[Config]) -> Iterator[type[Config]]:
    for inner in kind.__subclasses__():
        if inner.__module__.startswith("peclip."):
            yield inner
            yield from _configs(inner)


def test_every_number_of_a_configuration_has_bounds() -> None:
    known = sorted(set(_configs(Config)), key=lambda kind: kind.__name__)
    assert {PredictOptions, DataConfig, FineCLIPERConfig, CropConfig} <= set(known)
    unbounded = {
        f"{kind.__name__}.{name}"
        for kind in known
        for name, field in kind.model_fields.items()
        if field.annotation in (int, float, int | None, float | None)
        and name not in UNBOUNDED
        and not _bounded(field.metadata)
    }
    assert unbounded == set()


def _bounded(metadata: list[Any]) -> bool:
    lower = any(hasattr(bound, "ge") or hasattr(bound, "gt") for bound in metadata)
    upper = any(hasattr(bound, "le") or hasattr(bound, "lt") for bound in metadata)
    return lower and upper


def test_a_number_without_bounds_would_be_found() -> None:
    class Loose(Config):
        number: int = Field(1, ge=0)

    assert not _bounded(Loose.model_fields["number"].metadata)
