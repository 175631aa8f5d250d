"""Options shared by the commands that train."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from peclip.errors import ConfigError

SetOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Set any field of the configuration, e.g. train.lr.adapters=1e-4, or of a stage, "
        "e.g. stages.stills.train.epochs=9; can be repeated.",
    ),
]
TextsOpt = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help="YAML/JSON file with a text for each label, instead of the model's own. The labels are those of the "
        "data set.",
    ),
]
FaceCropOpt = Annotated[
    bool | None,
    typer.Option(
        "--face-crop/--no-face-crop",
        help="Whether the videos are face crops, so that predictions with the trained model crop faces, or "
        "something else, so that they use whole frames; by default, as for the initial model. Training itself "
        "always reads whole frames.",
    ),
]


def model_changes(texts: Path | None, face_crop: bool | None) -> dict[str, Any]:
    """Returns the fields of the model's configuration that `--labels` and `--face-crop` set.

    Raises:
        ConfigError: the file is invalid, or has no text.
    """
    changes: dict[str, Any] = {}
    if texts is not None:
        from peclip.models.descriptions import read_label_file

        changes["label_texts"] = read_label_file(texts)[1]
        if not changes["label_texts"]:
            raise ConfigError(
                f"The label file {str(texts)!r} contains no texts. Training takes the labels from the data set; "
                "use a mapping from each label to its text, or remove --labels."
            )
    if face_crop is not None:
        changes["preprocess"] = {"face_crop": face_crop}
    return changes


def refuse_with_resume(noun: str, flags: Mapping[str, object]) -> None:
    """Checks that no option is given that would change what is resumed.

    Args:
        noun: what is resumed.
        flags: the value of each option; falsy if it is not given.

    Raises:
        ConfigError: one is given.
    """
    given = [flag for flag, value in flags.items() if value]
    if given:
        raise ConfigError(
            f"--resume keeps the original settings of a {noun} and cannot be combined with "
            f"{', '.join(given)}. Remove these options, or start a new {noun} without --resume."
        )
