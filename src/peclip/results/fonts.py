"""Fonts of figures: those installed that have the letters of labels and names in any script."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

log = logging.getLogger(__name__)

_MISSING = re.compile(r"Glyph (\d+) .*missing from")
"""matplotlib's warning about a letter that no font of a text has."""


@contextmanager
def fonts_for(texts: Iterable[str]) -> Iterator[None]:
    """Makes texts that are added to figures use fonts with all of their letters, as far as installed."""
    from matplotlib import rc_context, rcParams

    letters = frozenset("".join(texts))
    more = [] if "".join(letters).isascii() else fallback_fonts(letters)
    with rc_context({"font.family": [*rcParams["font.family"], *more]}):
        yield


@contextmanager
def missing_letters_as_warning(*, warns: bool = True) -> Iterator[None]:
    """Combines matplotlib's warnings about missing letters while a figure is written into one that says what to do.

    Args:
        warns: false if the reader of the file may have the fonts.
    """
    with warnings.catch_warnings(record=True) as found:
        warnings.filterwarnings("always", _MISSING.pattern)
        yield
    letters = set[str]()
    for warning in found:
        missing = _MISSING.search(str(warning.message))
        if missing is None:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
        else:
            letters.add(chr(int(missing[1])))
    if letters and warns:
        _warn("".join(sorted(letters)))


@cache
def _warn(letters: str) -> None:
    log.warning(
        "No installed font has the letters %s, so figures show boxes instead. Install a font for them, such as "
        "Noto Sans (apt install fonts-noto fonts-noto-cjk), or use other label names.",
        letters if len(letters) <= 20 else f"{letters[:20]}…",
    )


@cache
def fallback_fonts(letters: frozenset[str]) -> Sequence[str]:
    """Returns installed fonts for the letters that matplotlib's own font lacks, as few as possible."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

    codes = {ord(letter) for letter in letters if letter.isprintable() and not letter.isspace()}
    default = get_font(findfont(FontProperties()))
    codes = {code for code in codes if not default.get_char_index(code)}
    found = list[str]()
    if not codes:
        return found
    covered = dict[str, set[int]]()
    for entry in sorted(fontManager.ttflist, key=lambda one: (one.name, one.fname)):
        # "Last Resort" has a box for every letter.
        if entry.style != "normal" or "Last Resort" in entry.name or entry.name in covered:
            continue
        try:
            font = get_font(entry.fname)
        except (OSError, RuntimeError):  # removed or damaged since matplotlib listed the fonts
            continue
        covered[entry.name] = {code for code in codes if font.get_char_index(code)}
    while codes and covered:
        best = max(covered, key=lambda name: (len(covered[name] & codes), "Sans" in name))
        if not covered[best] & codes:
            break
        found.append(best)
        codes -= covered.pop(best)
    return found
