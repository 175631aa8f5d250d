"""The saved state of a training: written atomically, and read without unrestricted unpickling."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from peclip.errors import CheckpointError, ConfigError, TrainingError, first_line
from peclip.files import locked, replacing
from peclip.weights.folder import CONFIG

STATE, BEST_NAME = "state.pt", "best"
"""The state file, and the folder of the best model so far, next to the state's folder."""

_FORMAT = 3
STATES = Path("checkpoints/last")
BEST = STATES.with_name(BEST_NAME)


def save_state(state: dict[str, Any], folder: Path) -> None:
    """Writes a state of tensors, numbers, strings, lists and dicts; a failure keeps the previous one.

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
            os.fsync(file.fileno())  # else the new name may reach the disk before the content
    except OSError as error:
        kept = (
            f"The previous state in {str(folder)!r} is intact; free up disk space and continue "
            "with --resume."
            if (folder / STATE).is_file()
            else "Choose a writable folder with enough space."
        )
        raise TrainingError(
            f"The training state cannot be saved in {str(folder)!r}: {error.strerror}. {kept}"
        ) from None


def load_state(folder: Path) -> dict[str, Any]:
    """Reads a state written by `save_state`.

    Raises:
        CheckpointError: the state is missing, corrupt or of another version.
    """
    path = folder / STATE
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(
            f"No {STATE} found in {str(folder)!r}, so there is nothing to resume. Pass the folder "
            "of a run that has finished at least one epoch, or start without --resume."
        ) from None
    except Exception as error:  # a corrupt archive raises many types
        raise CheckpointError(
            f"{str(path)!r} is not a valid training state: {first_line(error)}. Start a new run."
        ) from None
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise CheckpointError(
            f"{str(path)!r} was written by a different version of peclip. Start a new run, or "
            "install that version."
        )
    return state


@contextmanager
def valid_content(folder: Path) -> Iterator[None]:
    """Converts exceptions caused by invalid state content into an error that names the file.

    Raises:
        CheckpointError: an entry is missing, or has the wrong type or shape.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"{str(folder / STATE)!r} is not a valid training state: {first_line(error)}. Start a new run."
        ) from None


def best_weights(folder: Path | None) -> str:
    """Returns the sentence that names the best weights next to a state, or an empty string."""
    best = None if folder is None else folder.with_name(BEST_NAME)
    if best is None or not (best / CONFIG).is_file():  # which is written after the weights
        return ""
    return f" The new run can start from the best weights of this one (-m {best})."


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Creates a training folder, and locks it against other runs while the block runs.

    Raises:
        ConfigError: another run is writing to it.
        TrainingError: it cannot be created.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        yield


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a full disk or a locked folder into an error that says how to continue.

    Raises:
        TrainingError: something in the block could not be written.
    """
    try:
        yield
    except (OSError, ConfigError) as error:
        reason = str(getattr(error, "strerror", None) or error).removesuffix(".")
        raise TrainingError(
            f"The run folder {str(path)!r} cannot be written: {reason}. Free up disk space or "
            "choose another folder; the last saved state is intact, and --resume continues from "
            "it."
        ) from None
