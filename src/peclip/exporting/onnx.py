"""Writes a model to an ONNX file, with torch's exporter."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from peclip.errors import ConfigError, ExportError, MissingExtraError, cause
from peclip.exported.facts import ExportedFacts
from peclip.exported.onnx import INPUT, METADATA, OUTPUT
from peclip.exporting.window_logits import WindowLogits

_MAX_WEIGHTS = 2**31 - 2**24
"""Bytes: an ONNX file is a protocol buffer, which has at most 2 GiB."""
_EXAMPLES = 3
"""Windows in the example: a batch of 1 or 2 could be mistaken for a constant."""


def write_onnx(model: WindowLogits, facts: ExportedFacts, path: Path) -> None:
    """Writes a model to a file, for batches of any size, with its facts as metadata.

    Raises:
        ConfigError: the model is too large for a file, or the file cannot be written.
        ExportError: torch cannot export the model.
        MissingExtraError: a package is missing.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError:
            raise MissingExtraError("peclip export --format onnx", "export") from None
    size = sum(4 * tensor.numel() for tensor in model.network.encoders()[0].parameters())
    if size > _MAX_WEIGHTS:
        raise ConfigError(
            f"The weights have {size / 2**30:.1f} GiB, but an ONNX file has at most 2 GiB. Export a "
            "model with a smaller backbone."
        )
    try:
        program = _program(model)
    except Exception as error:  # any of several compilers
        raise ExportError(
            f"torch {torch.__version__} cannot export {facts.name!r}: {cause(error)}. Try other "
            "versions of torch and onnxscript."
        ) from error
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces, with the paths of this machine
    program.model.metadata_props[METADATA] = facts.model_dump_json()
    try:
        program.save(path)
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be written: {error.strerror}.") from None


def _program(model: WindowLogits) -> torch.onnx.ONNXProgram:
    """Returns the exported model.

    Raises:
        Exception: from one of the steps of torch's exporter.
    """
    example = torch.zeros(_EXAMPLES, *model.window_shape, dtype=torch.uint8)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),  # the exporter reports its steps
        _quiet("torch.onnx", "onnxscript", "onnx_ir", "torch.export"),
        # Without gradients, the layers write in place and depend on the batch size, to save memory.
        torch.enable_grad(),
    ):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={"crops": {0: torch.export.Dim("batch", min=1, max=65_536)}},
            verbose=False,
        )
    assert program is not None, "dynamo=True returns a program"
    return program


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
