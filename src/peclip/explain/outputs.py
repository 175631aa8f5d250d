"""The file formats of explanations, by extension."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from peclip.errors import ConfigError
from peclip.explain.explanation import Explanation
from peclip.explain.figure import save_picture
from peclip.explain.film import save_film
from peclip.files import replacing
from peclip.results.figures import FIGURE_ENDINGS


def save_document(explanation: Explanation, path: Path) -> None:
    """Writes a `.json` file.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        with replacing(path) as partial:
            partial.write_text(json.dumps(explanation.to_dict(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"The file {str(path)!r} cannot be written: {error.strerror or error}. Choose a file in an existing, "
            "writable folder."
        ) from None


WRITERS: dict[str, Callable[[Explanation, Path], None]] = {
    **dict.fromkeys(FIGURE_ENDINGS, save_picture),
    ".mp4": save_film,
    ".json": save_document,
}


def save(explanation: Explanation, path: str | Path) -> None:
    """Writes an explanation to a picture (.png, .pdf or .svg), a video (.mp4) or a document with all numbers (.json).

    Raises:
        ConfigError: the extension is unsupported, or the file cannot be written.
        MissingExtraError: it is a picture, and matplotlib is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise ConfigError(
            f"Cannot infer the output format of {path.name!r} from its extension; use one of {', '.join(WRITERS)}."
        )
    WRITERS[path.suffix.lower()](explanation, path)
