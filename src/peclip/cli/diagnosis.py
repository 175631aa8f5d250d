"""Diagnosis of this machine: versions, decoders, devices, cache, optional packages."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from peclip.downloads.direct import RemoteFile
from peclip.errors import install_command, optional_requirements
from peclip.files import closest_existing, write_problem
from peclip.settings import Settings, load_settings
from peclip.video.detectors.registry import DETECTORS
from peclip.video.parts import LANDMARKER
from peclip.video.readers import pyav_probe
from peclip.video.readers.ffmpeg import torchcodec_state

_CORE = ("peclip", "torch", "torchvision", "open_clip_torch", "opencv-python-headless")
_PURPOSES = {
    "annotation": "Praat and ELAN files",
    "captions": "captions from a local model",
    "data": "tables",
    "export": "peclip export",
    "onnx": "exported models",
    "parts": "landmarks and parsing maps",
    "plot": "plots, reports and pictures of explanations",
    "ray": "Ray Data",
    "tsne": "t-SNE in peclip plots",
    "web": "peclip serve",
    **dict.fromkeys(("tensorboard", "wandb", "mlflow", "trackio"), "experiment tracking"),
}
"""Extra → its purpose; the packages are those of the installation."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one component."""

    name: str
    value: str
    state: Literal["ok", "optional", "missing"] = "ok"
    advice: str = ""

    def to_dict(self) -> dict[str, str]:
        """Returns the JSON form."""
        return asdict(self)


def diagnose() -> list[Finding]:
    """Checks everything that peclip may use; downloads nothing."""
    settings = load_settings()
    return [
        Finding("python", f"{platform.python_version()} on {platform.platform(terse=True)}"),
        *_core(),
        *_decoders(),
        *_devices(),
        *_cache(settings),
        *(
            _file(name, detector.file, settings, detector.about)
            for name, detector in DETECTORS.items()
            if detector.file is not None
        ),
        _file(
            "landmarker",
            LANDMARKER,
            settings,
            "The landmark detector, needed only to extract landmarks and parsing maps, is "
            "downloaded on first use (4 MB).",
        ),
        *_extras(),
    ]


def _core() -> Iterator[Finding]:
    for package in _CORE:
        try:
            yield Finding(package, version(package))
        except PackageNotFoundError:  # it may be installed under another name: opencv-python, conda
            yield Finding(package, "not installed", "optional", f"pip install {package}")


def _decoders() -> Iterator[Finding]:
    yield Finding("pyav", pyav_probe.version())
    about, problem = torchcodec_state()
    if about is not None:
        yield Finding("torchcodec", about)
    else:
        yield Finding(
            "torchcodec",
            f"unavailable: {problem}",
            "optional",
            "PyAV is used instead. To use torchcodec, install FFmpeg: apt install ffmpeg, brew "
            "install ffmpeg, or conda install -c conda-forge ffmpeg.",
        )


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except ImportError:  # not needed for exported models; `_core` tells
        yield Finding("cpu", f"{os.cpu_count()} cores")
        return
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(index).total_memory / 2**30
            yield Finding(f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {memory:.0f} GiB")
    elif torch.backends.mps.is_available():
        yield Finding("mps", "Apple GPU")
    else:
        yield Finding(
            "gpu",
            "none found",
            "optional",
            "Models will run on the CPU; nano is fast there, but ViT-B/16 is slow.",
        )
    yield Finding("cpu", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads for torch")


def _cache(settings: Settings) -> Iterator[Finding]:
    folder = settings.cache_dir
    existing = closest_existing(folder)
    writable = write_problem(existing) is None and _can_be_named(folder)
    yield Finding(
        "cache",
        f"{folder} ({_megabytes(folder):.0f} MB)",
        "ok" if writable else "missing",
        "" if writable else f"{existing} is not writable. Set PECLIP_CACHE_DIR to another folder.",
    )
    yield Finding("network", "offline (set in the environment)" if settings.offline else "allowed")


def _file(name: str, file: RemoteFile, settings: Settings, about: str) -> Finding:
    if os.path.isfile(settings.cache_dir / file.name):
        return Finding(name, "cached")
    return Finding(
        name,
        "not cached",
        "optional",
        f"{about} To download it now, run: peclip models download {name}",
    )


def _extras() -> Iterator[Finding]:
    known = set[str]()
    for extra, requirements in optional_requirements().items():
        advice = f"For {_PURPOSES.get(extra, extra)}: {install_command(extra)}"
        for requirement in requirements:
            package = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            if package in known:
                continue
            known.add(package)
            try:
                yield Finding(package, version(package))
            except PackageNotFoundError:
                yield Finding(package, "not installed", "optional", advice)


def _can_be_named(folder: Path) -> bool:
    return all(len(os.fsencode(part)) <= 255 for part in folder.parts)


def _megabytes(folder: Path) -> float:
    if not os.path.isdir(folder):
        return 0.0
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6
