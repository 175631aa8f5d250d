"""Archives whose pickle builds what a module never is."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from peclip.errors import CheckpointError
from peclip.nn.jit_archive import read_jit_archive

MODULE = b"c__torch__\nM\n)\x81"
A, B = (b"X\x01\x00\x00\x00" + name for name in (b"a", b"b"))


def archive(path: Path, pickled: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/constants.pkl", b"")
        file.writestr("model/data.pkl", b"\x80\x02" + pickled + b".")
    return path


def modules_within_modules(levels: int) -> bytes:
    """Modules that contain the one before twice: 2^levels names in a few hundred bytes."""
    pickled = MODULE + b"q\x00"
    for level in range(levels):
        inner = b"h" + bytes([level])
        pickled += b"0" + MODULE + b"}(" + A + inner + B + inner + b"ubq" + bytes([level + 1])
    return pickled


@pytest.mark.parametrize(
    ("pickled", "says"),
    [
        (modules_within_modules(30), "too many modules"),
        (MODULE + b"q\x00}" + A + b"h\x00sb", "nested too deeply"),
        (b"cbuiltins\neval\n" + A + b"\x85R", r"it contains builtins\.eval"),
        (b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n", "it contains torch._utils._rebuild"),
        (b"\xff", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_odd_contents(pickled: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=says):
        read_jit_archive(archive(tmp_path / "a.pt", pickled))


def test_modules_may_be_shared(tmp_path: Path) -> None:
    assert read_jit_archive(archive(tmp_path / "a.pt", modules_within_modules(5))) == {}
