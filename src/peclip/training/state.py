"""The state of an interrupted training on the disk: complete or not at all, and never unpickled freely."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from peclip.errors import CheckpointError, ConfigError, TrainingError, first_line
from peclip.files import replacing
from peclip.weights.checkpoint import CONFIG

STATE, BEST_NAME = "state.pt", "best"
"""The file of a state, and the folder beside that of the state, which holds the best model so far."""

_FORMAT = 3
STATES = Path("checkpoints/last")
BEST = STATES.with_name(BEST_NAME)


def save_state(state: dict[str, Any], folder: Path) -> None:
    """Writes a state of tensors, numbers, texts, lists and dicts; a failure leaves the former one.

    Raises:
        TrainingError: the disk is full, or the folder cannot be written.
    """
    content = io.BytesIO()
    torch.save({"format": _FORMAT, **state}, content)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / STATE) as partial, partial.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())  # else the new name may reach the disk before what it names
    except OSError as error:
        kept = (
            f"The state before is whole, in {str(folder)!r}: make room, and go on with --resume."
            if (folder / STATE).is_file()
            else "Give a folder that can be written and has room."
        )
        raise TrainingError(
            f"The state of the training cannot be saved in {str(folder)!r}: {error.strerror}. {kept}"
        ) from None


def load_state(folder: Path) -> dict[str, Any]:
    """Reads what `save_state` wrote.

    Raises:
        CheckpointError: there is no state, or it is damaged or of another version.
    """
    path = folder / STATE
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(
            f"There is no {STATE} in {str(folder)!r}, so nothing can be resumed. Give the folder of a run "
            "that has finished an epoch, or start without --resume."
        ) from None
    except Exception as error:  # a damaged archive fails in many ways, all of them meaning this
        raise CheckpointError(
            f"{str(path)!r} is not the state of a training: {first_line(error)}. Start anew."
        ) from None
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise CheckpointError(
            f"{str(path)!r} was written by another version of peclip. Start anew, or use that version."
        )
    return state


def best_weights(folder: Path | None) -> str:
    """Returns the sentence that names the best weights beside a state, or nothing where there are none."""
    best = None if folder is None else folder.with_name(BEST_NAME)
    if best is None or not (best / CONFIG).is_file():  # which is written after the weights
        return ""
    return f" It may start from the best weights of this one (-m {best})."


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what a full disk or a locked folder leads to into an error that says how to go on.

    Raises:
        TrainingError: something in the block could not be written.
    """
    try:
        yield
    except (OSError, ConfigError) as error:
        reason = str(getattr(error, "strerror", None) or error).removesuffix(".")
        raise TrainingError(
            f"The run folder {str(path)!r} cannot be written: {reason}. Make room or give another folder; "
            "what was saved before is whole, and --resume goes on from it."
        ) from None
