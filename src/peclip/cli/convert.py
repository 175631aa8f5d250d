"""`peclip convert`: converts a checkpoint of the authors' released code to a peclip model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peclip.cli import console


def convert(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="A .pth checkpoint written by the released code that contains a `state_dict`."
        ),
    ],
    output: Annotated[Path, typer.Argument(help="Model directory to write.")],
    backbone: Annotated[
        str, typer.Option(help="Backbone on which the checkpoint was trained, as BACKBONE/WEIGHTS.")
    ] = "ViT-B-16-quickgelu/openai",
    labels: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated label names in the order of the class ids used in training. By "
            "default, the labels are read from the texts in the checkpoint. Required for AFEW, "
            "because its lists use a different order."
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Also store the backbone, so that nothing needs to be downloaded later."
        ),
    ] = False,
) -> None:
    """Convert a checkpoint trained with the code of SAADI-Ibtissam/PE-CLIP.

    The file is read without executing any code that it contains. Example:

    peclip convert PE-CLIP_BestModel.pth my-model --full
    """
    from peclip.weights.convert import convert_release

    names = None if labels is None else labels.split(",")
    config = convert_release(checkpoint, output, backbone=backbone, labels=names, full=full)
    console.note(
        f"{output}: {config.architecture} on {config.backbone}, {', '.join(config.labels)}"
    )
