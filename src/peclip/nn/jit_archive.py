"""Reads the tensors of a TorchScript archive, such as OpenAI's `ViT-B-16.pt`, without running its code.

torch itself can only load the whole program. The tensors and their names are in one pickle of the archive, which is
read here by an unpickler that knows nothing but tensors, lists and empty objects.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from peclip.errors import CheckpointError, first_line

_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}
_DEEPEST = 32
"""Levels of modules within modules; CLIP has seven."""
_MOST_MODULES = 100_000
"""CLIP has hundreds; but modules that contain others twice, level after level, would never end."""


def is_jit_archive(path: Path) -> bool:
    """Returns whether a file is a TorchScript archive rather than a torch checkpoint."""
    return any(entry.filename.endswith("/constants.pkl") for entry in zip_entries(path))


def zip_entries(path: Path) -> list[zipfile.ZipInfo]:
    """Returns the entries of a zip archive; none of another file, or of a damaged archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return []


def read_jit_archive(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a TorchScript archive by their names in the module.

    Raises:
        CheckpointError: the archive is damaged, or contains anything but modules and tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (data,) = [
                name for name in archive.namelist() if name.count("/") == 1 and _is_data(name)
            ]
            root = data.removesuffix("data.pkl")
            with archive.open(data) as file:
                module = _Unpickler(file, archive, root).load()
        return dict(_tensors(module, (), iter(range(_MOST_MODULES))))
    except Exception as error:  # a corrupt archive raises many types
        raise CheckpointError(
            f"The TorchScript archive {str(path)!r} cannot be read: {first_line(error).rstrip('.')}. If you trust it, "
            "convert it with: python -c \"import torch; torch.save(torch.jit.load('FILE', 'cpu').state_dict(), "
            "'weights.pt')\""
        ) from None


def _is_data(name: str) -> bool:
    return name.endswith("/data.pkl")


class _Module:
    """A module of the archive: its attributes and nothing else."""


class _Unpickler(pickle.Unpickler):
    """Knows only what builds tensors and modules; everything else is an error."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file)
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Returns an inert class or function."""
        if module.startswith("__torch__"):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return list
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it contains {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        """Returns the values of a storage, one-dimensional."""
        kind, dtype, key, _, numbers = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("it contains an unknown kind of storage")
        if key not in self._storages:
            entry = self._archive.getinfo(f"{self._root}data/{key}")
            if entry.compress_type != zipfile.ZIP_STORED:
                raise pickle.UnpicklingError("it is compressed")
            content = bytearray(self._archive.read(entry))
            values = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0)
            if len(values) != numbers:
                raise pickle.UnpicklingError(f"its storage {key} has the wrong size")
            self._storages[key] = values
        return self._storages[key]


def _tensor(values: Tensor, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
    return values.as_strided(tuple(size), tuple(stride), offset)


def _tensors(
    value: object, name: tuple[str, ...], numbers: Iterator[int]
) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield ".".join(name), value
    elif isinstance(value, _Module):
        if len(name) > _DEEPEST:
            raise ValueError("its modules are nested too deeply")
        if next(numbers, None) is None:
            raise ValueError("it has too many modules")
        for key, inner in vars(value).items():
            yield from _tensors(inner, (*name, key), numbers)
