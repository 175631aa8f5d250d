"""`peclip export`: writes a model to a file that predicts without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peclip.cli import console
from peclip.cli.options import LabelsOpt, OverwriteOpt, check_output, read_labels
from peclip.literals import ExportFormat


def export(
    model: Annotated[str, typer.Argument(help="Model name, as for --model.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output file (.onnx).")],
    form: Annotated[
        ExportFormat, typer.Option("-f", "--format", help="Format of the file.")
    ] = "onnx",
    labels: LabelsOpt = None,
    overwrite: OverwriteOpt = False,
) -> None:
    """Write a model to a file that predicts without torch, and check it against the original.

    Requires the `export` extra. If a logit differs by more than 1e-4, no file is written. Example:

    peclip export nano -o nano.onnx

    peclip predict clip.mp4 -m nano.onnx
    """
    check_output(output, overwrite=overwrite, endings=(f".{form}",))
    names = None if labels is None else read_labels(labels)
    from peclip.recognizers.early_checks import check_model

    check_model(model)
    from peclip.exporting.export import export_model

    difference = export_model(model, output, form=form, labels=names)
    console.note(
        f"{output}: {output.stat().st_size / 1e6:.1f} MB; its logits are within {difference:.1g} of "
        f"{model}'s"
    )
