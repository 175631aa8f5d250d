"""Models in ONNX files, computed by onnxruntime on a CPU."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from peclip.errors import (
    CheckpointError,
    ConfigError,
    DeviceError,
    MissingExtraError,
    cause,
)
from peclip.exported.facts import ExportedConfig, ExportedFacts
from peclip.exported.model import ExportedModel
from peclip.exported.onnx_file import ONNXFile
from peclip.literals import Precision

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

METADATA = "peclip"
"""Key of the facts in the metadata of a file."""
INPUT, OUTPUT = "crops", "logits"
_FATAL = 4
"""Severity of the messages that onnxruntime prints."""
_MAX_BYTES = 2**31 - 1
"""No protocol buffer is larger."""


def load_onnx(
    name: str | Path,
    *,
    revision: str | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> ExportedModel:
    """Loads a file that `peclip export` wrote. It need not be trusted: it contains no code.

    Raises:
        ConfigError: there is no such file, or a revision is given.
        CheckpointError: the file is corrupt, too large, or was not written by `peclip export`.
        DeviceError: another device than the CPU, or another precision than fp32.
        MissingExtraError: onnxruntime is not installed.
    """
    _check_choices(str(name), revision, device, precision)
    content, facts = _read(Path(name))
    session, version = _open(content, str(name))
    _check_shapes(session, facts.config, str(name))

    def logits(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            found: NDArray[np.float32] = session.run([OUTPUT], {INPUT: crops})[0]
        except Exception as error:  # onnxruntime's have no common base
            raise DeviceError(
                f"onnxruntime cannot compute {str(name)!r}: {cause(error)}. If memory ran out, use a "
                "smaller batch size (-b 1)."
            ) from error
        return found

    digest = hashlib.sha256(content).hexdigest()
    return ExportedModel(
        facts, logits, computed_by=f"onnxruntime {version}", digest=digest, file=str(name)
    )


def _check_choices(name: str, revision: str | None, device: str, precision: str) -> None:
    if revision is not None:
        raise ConfigError(
            f"The revision {revision!r} was passed for {name!r}, but only hub repositories have "
            "revisions. Remove the revision."
        )
    if device not in ("auto", "cpu"):
        raise DeviceError(
            f"{name!r} runs on the CPU, but the device {device!r} was requested. Use --device cpu, "
            "or the original model."
        )
    if precision not in ("auto", "fp32"):
        raise DeviceError(
            f"{name!r} is computed in fp32, but {precision!r} was requested. Use --precision fp32, "
            "or the original model."
        )


def read_facts(name: str | Path) -> ExportedFacts:
    """Returns what a file states about its model, which needs neither torch nor onnxruntime.

    Raises:
        ConfigError: there is no such file.
        CheckpointError: the file is corrupt, too large, or was not written by `peclip export`.
    """
    return _read(Path(name))[1]


def _read(path: Path) -> tuple[bytes, ExportedFacts]:
    """Returns the content of a file, and what it states about its model."""
    content = _content(path)
    file = ONNXFile(content, str(path))
    if METADATA not in file.metadata:
        raise CheckpointError(
            f"{str(path)!r} does not state its labels and its preprocessing. Use a file written by "
            "peclip export."
        )
    return content, ExportedFacts.read(file.metadata[METADATA], str(path))


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CheckpointError(
                f"{str(path)!r} has more than 2 GiB, so it is not an ONNX model in one file."
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"The model file {str(path)!r} does not exist. Write it with: peclip export MODEL -o FILE"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"The model file {str(path)!r} cannot be read: {error.strerror}."
        ) from None


def _open(content: bytes, name: str) -> tuple[InferenceSession, str]:
    """Returns the session of a model and the version of onnxruntime."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError("A model in an ONNX file", "onnx") from None
    options = onnxruntime.SessionOptions()
    # What it would print is also raised.
    options.log_severity_level = _FATAL
    onnxruntime.set_default_logger_severity(_FATAL)
    # Threads that wait would spin on the cores that decoding and face detection need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and 0 < int(threads) <= 1024:
        options.intra_op_num_threads = int(threads)  # otherwise one per core
    try:
        session = onnxruntime.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # to the same provider, with a message on standard output
        )
    except Exception as error:  # they have no common base
        raise CheckpointError(f"onnxruntime cannot load {name!r}: {cause(error)}.") from None
    return session, onnxruntime.__version__


def _check_shapes(session: InferenceSession, config: ExportedConfig, name: str) -> None:
    side = config.preprocess.image_size
    found = [_signature(one) for one in (*session.get_inputs(), *session.get_outputs())]
    expected = [
        (INPUT, "tensor(uint8)", [None, config.num_frames, side, side, 3]),
        (OUTPUT, "tensor(float)", [None, len(config.labels)]),
    ]
    if found != expected:
        raise CheckpointError(
            f"The input and the output of {name!r} do not match its metadata. Use a file written by "
            "peclip export."
        )


def _signature(value: Any) -> tuple[str, str, list[object]]:
    """Returns the name, the type and the shape of an input or output, with `None` for a free batch size."""
    shape = [
        None if place == 0 and not isinstance(size, int) else size
        for place, size in enumerate(value.shape)
    ]
    return value.name, value.type, shape
