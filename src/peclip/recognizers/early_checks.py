"""Checks of a model, its device and its options before torch is imported, which takes seconds."""

from __future__ import annotations

import ctypes
import re
import sys
from importlib.util import find_spec
from pathlib import Path, PurePath

from peclip.config import ModelConfig
from peclip.errors import DeviceError
from peclip.exported.registry import EXPORTED
from peclip.literals import check_device_name, check_precision_name
from peclip.predict_options import PredictOptions
from peclip.settings import load_settings
from peclip.weights.resolve import find_config

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def check_prediction(model: str, device: str, precision: str, options: PredictOptions) -> None:
    """Checks what a prediction is computed with. The file of an exported model is checked when it is loaded.

    Raises:
        UserError: the model is unknown, this machine does not have the device, or an option does not fit them.
    """
    if PurePath(model).suffix.lower() in EXPORTED:
        return
    check_computation(device, precision)
    config = check_model(model)
    if config is not None:
        options.prior_weight_for(model, config)
    if options.captions is not None:
        from peclip.data.caption_file import read_captions

        read_captions(options.captions)
    if options.decoder == "torchcodec":
        from peclip.video.reader import check_decoder

        check_decoder(options.decoder)
    crops = options.face_crop if config is None else options.crops_faces(config)
    if options.detector == "yunet" and crops:
        from peclip.video.detectors.registry import load_detector

        load_detector(options.detector, settings=load_settings())


def check_model(model: str | Path | None) -> ModelConfig | None:
    """Returns the configuration of a model with a network, or `None` if that takes the network or torch.

    Raises:
        UserError: the model is unknown, or is an exported one.
    """
    return find_config(model, settings=load_settings())


def check_computation(device: str, precision: str = "auto") -> None:
    """Checks a device and a precision, as far as this is certain without torch.

    Raises:
        ConfigError: the name of the device is invalid.
        DeviceError: this machine does not have the device, or it does not support the precision.
    """
    check_device_name(device)
    if "torch" in sys.modules:  # which says it soon, and better
        return
    kind = device.partition(":")[0]
    problem = None if kind in ("auto", "cpu") else _problem(kind)
    if problem is not None:
        raise DeviceError(f"Device {device!r} is unavailable: {problem}. Use --device auto or cpu.")
    if kind == "auto":
        if not all(map(_problem, ("cuda", "mps"))):
            return
        kind = "cpu"
    check_precision_name(precision, kind)


def _problem(kind: str) -> str | None:
    """Returns why this machine certainly has no such device; `None` if it may have one."""
    if kind == "mps":
        return None if sys.platform == "darwin" else "only Macs have it"
    built = _torch_builds()
    if built == {"cuda": False, "hip": False}:
        return "the installed torch is a build for CPUs; install one for CUDA"
    if not built.get("cuda", False):
        return None  # for AMD, or unknown
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return f"no GPU driver was found ({_DRIVER}); install it if this machine has a GPU"
    return None


def _torch_builds() -> dict[str, bool]:
    """Returns what the installed torch was built for, from its file of versions; empty if it is not understood."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return {}
    try:
        text = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return {}
    stated = re.findall(r"^(cuda|hip)\b[^=\n]*= *(.+)$", text, re.M)
    return {name: value.strip() != "None" for name, value in stated}
