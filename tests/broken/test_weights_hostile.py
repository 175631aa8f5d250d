"""Weights from a stranger: nothing is run, nothing is written elsewhere, and one line says what is wrong."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import broken_videos
import pytest
import torch
from outcomes import refusal
from safetensors.torch import load_file, save_file
from sweeps import sweep

from peclip.cli.app import run
from peclip.weights import checkpoint

Edit = Callable[[Path], object]


@pytest.fixture
def saved(model: dict[str, bytes], tmp_path: Path) -> Path:
    """A copy of it."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in model.items():
        (folder / name).write_bytes(content)
    return folder


def predict_with(capfd: pytest.CaptureFixture[str], code: int, model: Path, video: Path) -> str:
    words = ("predict", str(video), "-m", str(model), "--device", "cpu", "--no-face-crop")
    return refusal(capfd, code, *words)


class Bomb:
    """What a pickle of this does when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def test_the_intact_model_loads(saved: Path, video: Path) -> None:
    words = ("predict", str(video), "-m", str(saved), "--device", "cpu", "--no-face-crop")
    assert run(words) == 0


# --- tensors ------------------------------------------------------------------------------------


def tensors(folder: Path) -> Path:
    return folder / "model.safetensors"


def changed(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    content = load_file(tensors(folder))
    edit(content)
    save_file(content, tensors(folder))


def rewritten(folder: Path, change: Callable[[bytes], bytes]) -> None:
    tensors(folder).write_bytes(change(tensors(folder).read_bytes()))


def first(content: dict[str, torch.Tensor], value: torch.Tensor) -> None:
    content[min(content)] = value


def filled(content: dict[str, torch.Tensor], number: float) -> None:
    content[min(content)].view(-1)[0] = number


def longer_header(data: bytes) -> bytes:
    return struct.pack("<Q", 2**62) + data[8:]


def with_header(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + bytes(16)


TENSORS: dict[str, Edit] = {
    "empty": lambda f: rewritten(f, lambda _: b""),
    "cut-in-the-header": lambda f: rewritten(f, lambda d: d[:100]),
    "cut-in-the-middle": lambda f: rewritten(f, lambda d: d[: len(d) // 2]),
    "cut-at-the-end": lambda f: rewritten(f, lambda d: d[:-1]),
    "too-long": lambda f: rewritten(f, lambda d: d + bytes(100)),
    "zeros": lambda f: rewritten(f, lambda d: bytes(len(d))),
    "noise": lambda f: rewritten(f, lambda d: broken_videos.noisy(d, 0, 1)),
    "endless-header": lambda f: rewritten(f, longer_header),
    "header-of-100-lists": lambda f: rewritten(f, lambda _: with_header(b"[" * 100_000)),
    "negative-shape": lambda f: rewritten(
        f, lambda _: with_header(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,16]}}')
    ),
    "overlapping": lambda f: rewritten(
        f,
        lambda _: with_header(
            b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
            b'"b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
        ),
    ),
    "page-of-an-error": lambda f: rewritten(f, lambda _: b"<!DOCTYPE html><p>404</p>" * 50),
    "git-lfs-pointer": lambda f: rewritten(f, lambda _: b"version https://git-lfs.github.com/spec/v1"),
    "a-key-missing": lambda f: changed(f, lambda t: t.pop(min(t))),
    "a-key-too-many": lambda f: changed(f, lambda t: t.update(evil=torch.zeros(1))),
    "a-key-with-escapes": lambda f: changed(f, lambda t: t.update({"\x1b[2J\n" * 9: torch.zeros(1)})),
    "another-shape": lambda f: changed(f, lambda t: first(t, torch.zeros(3, 1, 4))),
    "another-rank": lambda f: changed(f, lambda t: first(t, torch.tensor(0.0))),
    "whole-numbers": lambda f: changed(f, lambda t: first(t, t[min(t)].long())),
    "booleans": lambda f: changed(f, lambda t: first(t, t[min(t)].bool())),
    "complex-numbers": lambda f: changed(f, lambda t: first(t, t[min(t)].to(torch.complex64))),
    "not-a-number": lambda f: changed(f, lambda t: filled(t, float("nan"))),
    "infinite": lambda f: changed(f, lambda t: filled(t, float("-inf"))),
    "a-folder": lambda f: (tensors(f).unlink(), tensors(f).mkdir()),
    "a-pipe": lambda f: (tensors(f).unlink(), os.mkfifo(tensors(f))),
    "nowhere": lambda f: (tensors(f).unlink(), tensors(f).symlink_to("gone")),
    "not-there": lambda f: tensors(f).unlink(),
}  # fmt: skip


DAMAGED = [
    *("empty", "cut-at-the-end", "zeros", "endless-header", "header-of-100-lists"),  # bytes
    *("negative-shape", "overlapping", "git-lfs-pointer"),
    *("a-key-missing", "a-key-too-many", "a-key-with-escapes"),  # names
    *("another-shape", "whole-numbers", "not-a-number", "infinite"),  # values
    *("a-folder", "a-pipe", "not-there"),  # no file
]


@sweep("name", TENSORS, default=DAMAGED)
def test_broken_tensors_are_a_one_line_error(
    name: str, saved: Path, video: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    TENSORS[name](saved)
    line = predict_with(capfd, 4, saved, video)
    assert "model.safetensors" in line
    assert str(saved) in line


@pytest.mark.parametrize("how", ["pickle", "old-torch", "torch"])
@pytest.mark.parametrize("name", ["model/model.safetensors", "evil.pth", "evil.safetensors"])
def test_a_pickle_is_never_run(
    how: str, name: str, saved: Path, video: Path, capfd: Any, tmp_path: Path
) -> None:
    bomb, target = Bomb(tmp_path / "exploded"), tmp_path / name
    if how == "pickle":
        target.write_bytes(pickle.dumps(bomb))
    else:
        new = how == "torch"
        torch.save({"state_dict": bomb}, target, _use_new_zipfile_serialization=new)
    if target.parent == saved:
        predict_with(capfd, 4, saved, video)
    else:
        refusal(capfd, 4, "convert", str(target), str(tmp_path / "out"))
    assert not bomb.target.exists()
    pickle.loads(pickle.dumps(bomb))
    assert bomb.target.exists()  # it would have been


@sweep("part", [0, 0.1, 0.5, 0.9], default=[0, 0.5])
@pytest.mark.parametrize("damage", [broken_videos.noisy, broken_videos.zeroed])
def test_a_corrupt_checkpoint_is_not_converted(
    part: float, damage: Callable[..., bytes], capfd: Any, tmp_path: Path
) -> None:
    path = tmp_path / "model.pth"
    torch.save({"state_dict": {"a": torch.zeros(100)}}, path)
    path.write_bytes(damage(path.read_bytes(), part, 1))
    assert str(path) in refusal(capfd, 4, "convert", str(path), str(tmp_path / "out"))


def test_a_backbone_larger_than_its_file_is_never_built(
    saved: Path, video: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name of a few bytes would take 10 GB and minutes."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("built")

    monkeypatch.setattr(checkpoint, "build_model", never)
    config(saved, backbone="ViT-bigG-14", quick_gelu=False)
    line = predict_with(capfd, 4, saved, video)
    assert "has at least 2," in line
    assert "model.safetensors" in line


def test_an_endless_name_of_a_tensor_is_shortened(saved: Path, video: Path, capfd: Any) -> None:
    changed(saved, lambda t: t.update({"a" * 100_000: torch.zeros(1)}))
    assert f"1 unexpected ({'a' * 80})" in predict_with(capfd, 4, saved, video)


# --- config.json --------------------------------------------------------------------------------


def config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")


def raw(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)


def edited(folder: Path, **changes: Any) -> None:
    """Changes the preprocessing."""
    own = json.loads((folder / "config.json").read_text())["preprocess"]
    config(folder, preprocess=own | changes)


CONFIGS: dict[str, tuple[Edit, int]] = {
    "empty": (lambda f: raw(f, b""), 4),
    "no-json": (lambda f: raw(f, b"{"), 4),
    "a-list": (lambda f: raw(f, b"[]"), 4),
    "a-pickle": (lambda f: raw(f, pickle.dumps({"a": 1})), 4),
    "not-utf8": (lambda f: raw(f, b'{"backbone": "\xff\xfe"}'), 4),
    "deep-lists": (lambda f: raw(f, b"[" * 500_000), 4),
    "deep-objects": (lambda f: raw(f, b'{"a":' * 100_000), 4),
    "long-number": (lambda f: raw(f, b'{"num_frames": ' + b"9" * 100_000 + b"}"), 4),
    "long": (lambda f: raw(f, b" " * 5_000_000 + b"{}"), 4),
    "a-folder": (lambda f: ((f / "config.json").unlink(), (f / "config.json").mkdir()), 4),
    "a-pipe": (lambda f: ((f / "config.json").unlink(), os.mkfifo(f / "config.json")), 4),
    "a-key-with-escapes": (lambda f: config(f, **{"\x1b[2J\n" * 500: 1}), 4),
    "code-of-its-own": (lambda f: config(f, auto_map={"AutoModel": "evil.py"}), 4),
    "another-architecture": (lambda f: config(f, architecture="os.system"), 4),
    "billions-of-frames": (lambda f: config(f, num_frames=10**12), 4),
    "no-frames": (lambda f: config(f, num_frames=0), 4),
    "temperature-nan": (lambda f: config(f, temperature=float("nan")), 4),
    "temperature-0": (lambda f: config(f, temperature=0), 4),
    "reduction-0": (lambda f: config(f, adapter_reduction=0), 4),
    "long-prompts": (lambda f: config(f, prompt_length=10**9), 4),
    "deep-prompts": (lambda f: config(f, prompt_depth=10**9), 4),
    "large-images": (lambda f: edited(f, image_size=10**9), 4),
    "other-images": (lambda f: edited(f, image_size=1024), 2),
    "margin-nan": (lambda f: edited(f, face_margin=float("nan")), 4),
    "shift-inf": (lambda f: edited(f, face_shift=float("inf")), 4),
    "mean-nan": (lambda f: edited(f, mean=[float("nan")] * 3), 4),
    "std-0": (lambda f: edited(f, std=[0, 1, 1]), 4),
    "one-label": (lambda f: config(f, labels=["a"]), 4),
    "labels-twice": (lambda f: config(f, labels=["a", "a"]), 4),
    "100000-labels": (lambda f: config(f, labels=[str(i) for i in range(100_000)]), 4),
    "texts-for-nobody": (lambda f: config(f, label_texts={"\x1b[2J": "x"}), 4),
    "a-style-elsewhere": (lambda f: config(f, descriptions="../../../etc/passwd"), 2),
    "a-backbone-elsewhere": (lambda f: config(f, backbone="../../../etc/passwd"), 2),
    "a-backbone-on-the-hub": (lambda f: config(f, backbone="hf-hub:evil/model"), 2),
    "a-backbone-in-a-folder": (lambda f: config(f, backbone="local-dir:/etc"), 2),
    "weights-of-the-backbone-elsewhere": (
        lambda f: config(f, backbone="ViT-B-32-quickgelu", pretrained=str(f / "model.safetensors")), 2,
    ),
    "weights-of-nowhere": (lambda f: config(f, backbone="ViT-B-32-quickgelu", pretrained="x"), 2),
}  # fmt: skip


SAYS = {"long": "longer than 1,000,000", "100000-labels": "at most 1000 items"}


HOSTILE = [
    *("empty", "no-json", "a-list", "not-utf8", "deep-lists", "long-number", "long"),  # bytes
    *("a-pipe", "a-key-with-escapes", "code-of-its-own", "another-architecture"),
    *("billions-of-frames", "no-frames", "temperature-nan", "std-0", "long-prompts"),  # numbers
    *("large-images", "100000-labels", "labels-twice", "texts-for-nobody"),
    *("a-style-elsewhere", "a-backbone-elsewhere", "a-backbone-on-the-hub"),  # other places
    *("a-backbone-in-a-folder", "weights-of-the-backbone-elsewhere"),
]


@sweep("name", CONFIGS, default=HOSTILE)
def test_a_hostile_configuration_is_a_one_line_error(
    name: str, saved: Path, video: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edit, code = CONFIGS[name]
    edit(saved)
    line = predict_with(capfd, code, saved, video)
    assert SAYS.get(name, "") in line
    refused = "config.json' cannot be used: " in line or "config.json is missing" in line
    assert refused == (code == 4)  # before a network is built from it
