"""Shared by all figures: the optional matplotlib, the colours, and saving a file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from peclip.errors import ConfigError, MissingExtraError
from peclip.files import replacing
from peclip.labels import EMOTIONS, canonical
from peclip.results.fonts import missing_letters_as_warning

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FIGURE_ENDINGS = (".png", ".pdf", ".svg")
REPORT_ENDINGS = (".html", ".htm")
"""Of reports, which contain figures."""
OVERLAY_ENDINGS = (".mp4",)
"""Of videos with boxes and labels."""

# Okabe and Ito's palette, which is safe for colour blindness, and three greys; in the order of `EMOTIONS`.
PALETTE = (
    *("#E69F00", "#0072B2", "#999999", "#D55E00", "#56B4E9", "#009E73", "#CC79A7"),
    *("#F0E442", "#000000", "#666666", "#BBBBBB"),
)

SUPPORTS, OPPOSES, UNDIRECTED = PALETTE[3], PALETTE[1], PALETTE[5]
"""Of what raises the probability of a label, of what lowers it, and of what does neither."""

_PEOPLE = tuple(PALETTE[number] for number in (0, 4, 5, 6, 3, 1, 7))
"""Of people: the colours of the palette, which differ from black, grey and each other on any picture."""


def colour_of_person(track_id: int) -> str:
    """Returns the colour of a person in all pictures, such as #E69F00; grey for the whole frame."""
    return PALETTE[2] if track_id < 0 else _PEOPLE[track_id % len(_PEOPLE)]


def ink_on(colour: str) -> str:
    """Returns black or white, whichever is easier to read on a colour."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    # Not #000000, which the report replaces on dark screens.
    return "#000001" if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else "white"


def check_matplotlib(purpose: str) -> None:
    """Checks that figures can be drawn, before a long computation for one, without importing matplotlib.

    Raises:
        MissingExtraError: matplotlib is not installed; the message names the purpose.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError(purpose, "plot")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a `.png`, `.pdf` or `.svg` file.

    Raises:
        ConfigError: the extension is unsupported, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in FIGURE_ENDINGS:
        raise ConfigError(
            f"Cannot infer the figure format of {path.name!r} from its extension; use "
            f"{', '.join(FIGURE_ENDINGS)}."
        )
    try:
        with replacing(path) as partial, missing_letters_as_warning():
            figure.savefig(partial, dpi=150, format=path.suffix[1:].lower())
    except OSError as error:
        raise ConfigError(
            f"The figure {str(path)!r} cannot be written: {error.strerror}. Choose a file in an "
            "existing, writable folder."
        ) from None


def label_colours(labels: Sequence[str]) -> dict[str, str]:
    """Returns the colour of each label in all pictures, such as #E69F00.

    The emotions of `peclip.labels.EMOTIONS` always have the same colours. Other labels take the remaining ones
    in their order; with more labels than colours, colours repeat.
    """
    fixed = dict(zip(EMOTIONS, PALETTE, strict=True))
    taken = {fixed[canonical(name)] for name in labels if canonical(name) in fixed}
    free = cycle([colour for colour in PALETTE if colour not in taken] or PALETTE)
    return {name: fixed.get(canonical(name)) or next(free) for name in labels}
