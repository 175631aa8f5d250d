"""Letters of any script come from installed fonts, or one line says which fonts to install."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator

import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, fontManager

from peclip.results import fonts
from peclip.results.fonts import fallback_fonts, fonts_for, missing_letters_as_warning


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Fonts and warnings are remembered."""
    fonts.fallback_fonts.cache_clear()
    fonts._warn.cache_clear()
    yield
    fonts.fallback_fonts.cache_clear()
    fonts._warn.cache_clear()


class Face:
    """A font with some letters."""

    def __init__(self, letters: str) -> None:
        self.letters = letters

    def get_char_index(self, code: int) -> int:
        return self.letters.find(chr(code)) + 1


def install(monkeypatch: pytest.MonkeyPatch, **letters: str) -> None:
    """Makes fonts with these names the installed ones."""
    entries = [
        FontEntry(fname=name, name=name.replace("_", " "), style="normal") for name in letters
    ]
    monkeypatch.setattr(fontManager, "ttflist", entries)
    monkeypatch.setattr("matplotlib.font_manager.findfont", lambda *_: "own")
    faces = {"own": Face("abc")} | {name: Face(found) for name, found in letters.items()}
    monkeypatch.setattr("matplotlib.font_manager.get_font", lambda path: faces[path])


def test_as_few_fonts_as_possible_have_the_missing_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        monkeypatch, One="開", Two_Serif="開心", Two_Sans="開心", Other="س", Last_Resort="開心سд"
    )
    assert fallback_fonts(frozenset("ab 開心سд")) == ["Two Sans", "Other"]


def test_without_missing_letters_no_font_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, One="開")
    assert fallback_fonts(frozenset("abc")) == []


def test_texts_get_the_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, One="開")
    with fonts_for(["a開"]):
        text = Figure().text(0, 0, "a開")
    assert text.get_fontfamily()[-1] == "One"
    with fonts_for(["a"]):
        assert "One" not in Figure().text(0, 0, "a").get_fontfamily()


def drawn(letters: str, *, warns: bool = True) -> None:
    figure = Figure()
    figure.text(0.5, 0.5, letters)
    with missing_letters_as_warning(warns=warns):
        figure.savefig(io.BytesIO(), format="png")


def test_missing_letters_are_one_warning_that_says_what_to_install(
    caplog: pytest.LogCaptureFixture,
) -> None:
    letters = "\U00013000\U00013001"  # hieroglyphs, which matplotlib's font lacks
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, "peclip"):
        warnings.simplefilter("error")
        drawn(letters, warns=False)
        assert not caplog.records
        drawn(letters)
        drawn(letters)
    (record,) = caplog.records
    assert letters in record.getMessage()
    assert "apt install fonts-noto" in record.getMessage()


def test_other_warnings_stay() -> None:
    with pytest.warns(UserWarning, match="something else"), missing_letters_as_warning():
        warnings.warn("something else", stacklevel=1)
