"""`peclip convert`: converts a checkpoint of the authors' released code to a peclip model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peclip.cli import console
from peclip.errors import CheckpointError


def convert(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="A .pth checkpoint saved by the PE-CLIP code; it must contain a `state_dict`."
        ),
    ],
    output: Annotated[Path, typer.Argument(help="Output model directory.")],
    backbone: Annotated[
        str, typer.Option(help="Backbone of the checkpoint, as BACKBONE/WEIGHTS.")
    ] = "ViT-B-16-quickgelu/openai",
    labels: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated label names, in the order of the class indices used in "
            "training. By default, the labels are inferred from the text prompts in the "
            "checkpoint. Required for AFEW, because its annotation lists use a different "
            "order."
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Also save the backbone weights, so that the model can be loaded without a "
            "download.",
        ),
    ] = False,
) -> None:
    """Convert a checkpoint of the SAADI-Ibtissam/PE-CLIP code to a peclip model.

    The file is read without executing any code that it contains. Example:

    peclip convert PE-CLIP_BestModel.pth my-model --full
    """
    if not checkpoint.is_file():  # before torch is imported
        raise CheckpointError(f"{str(checkpoint)!r} does not exist or is not a file.")
    from peclip.weights.convert import convert_release

    names = None if labels is None else labels.split(",")
    config = convert_release(checkpoint, output, backbone=backbone, labels=names, full=full)
    console.note(
        f"{output}: {config.architecture} on {config.backbone}, {', '.join(config.labels)}"
    )
