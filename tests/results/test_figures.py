"""Labels have fixed colours, and the confusion matrix shows every count."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from peclip.errors import ConfigError, MissingExtraError
from peclip.labels import EMOTIONS
from peclip.metrics.confusion import ConfusionMatrix
from peclip.metrics.plots import plot_confusion
from peclip.metrics.report import Report
from peclip.results.figures import PALETTE, label_colours, save_figure

LABELS = ("anger", "fear", "neutral")


def draw(figure: Figure) -> int:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return len(stream.getvalue())


def test_emotions_have_the_same_colours_whatever_the_labels() -> None:
    seven = label_colours(EMOTIONS[:7])
    few = label_colours(("fear", "happiness"))
    assert (few["happiness"], few["fear"]) == (seven["happiness"], seven["fear"])
    assert label_colours(("Happy",)) == {"Happy": seven["happiness"]}
    assert label_colours(EMOTIONS) == dict(zip(EMOTIONS, PALETTE, strict=True))


def test_other_labels_take_the_colours_that_are_left() -> None:
    colours = label_colours(("bored", "happiness", "awake"))
    assert colours == {"bored": PALETTE[1], "happiness": PALETTE[0], "awake": PALETTE[2]}
    many = label_colours([f"label {n}" for n in range(25)])
    assert list(many.values()) == [*PALETTE, *PALETTE, *PALETTE[:3]]


# The confusion matrix ---------------------------------------------------------------------------


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_confusion_matrix_shows_per_cent_counts_and_names() -> None:
    confusion = ConfusionMatrix(LABELS, [[3, 1, 0], [0, 0, 0], [1, 0, 1]])
    figure = plot_confusion(Report.of(confusion, resamples=0))
    (axes,) = figure.axes
    assert texts(figure) == [
        *("75.0", "3", "25.0", "1", "0.0", "0"),
        *("-", "0", "-", "0", "-", "0"),  # a class that never occurs
        *("50.0", "1", "0.0", "0", "50.0", "1"),
    ]
    assert [text.get_text() for text in axes.get_xticklabels()] == list(LABELS)
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["anger (4)", "fear (0)", "neutral (2)"]
    assert figure.get_suptitle() == "UAR 62.50, WAR 66.67, 6 videos"
    assert axes.images[0].get_array().tolist() == [[75, 25, 0], [0, 0, 0], [50, 0, 50]]
    assert draw(figure)


@pytest.mark.parametrize("size", [1, 7, 11])
def test_nothing_of_the_confusion_matrix_is_cut_off(size: int) -> None:
    names = [f"disappointment {n}" for n in range(size)]
    figure = plot_confusion(Report.of(ConfusionMatrix(names, np.full((size, size), 1234))))
    draw(figure)
    whole = figure.bbox
    for text in figure.findobj(Text):
        if text.get_text():
            box = text.get_window_extent()
            assert box.x0 >= whole.x0 - 1
            assert box.x1 <= whole.x1 + 1
            assert box.y0 >= whole.y0 - 1
            assert box.y1 <= whole.y1 + 1


def test_a_label_is_not_parsed_as_a_formula() -> None:
    report = Report.of(ConfusionMatrix([r"$\frac$", "_b"], [[1, 0], [0, 1]]))
    assert draw(plot_confusion(report, title="of mine"))


def test_a_figure_is_saved_in_the_format_of_its_extension(tmp_path: Path) -> None:
    figure = plot_confusion(Report.of(ConfusionMatrix(["a", "b"], [[1, 0], [0, 1]])))
    for ending, start in ((".png", b"\x89PNG"), (".pdf", b"%PDF"), (".SVG", b"<?xml")):
        save_figure(figure, tmp_path / f"picture{ending}")
        assert (tmp_path / f"picture{ending}").read_bytes().startswith(start)
    with pytest.raises(ConfigError, match=r"use \.png, \.pdf, \.svg"):
        save_figure(figure, tmp_path / "picture.txt")
    with pytest.raises(ConfigError, match="cannot be written"):
        save_figure(figure, tmp_path / "none" / "picture.png")


def test_without_matplotlib_the_confusion_matrix_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match='pip install "matplotlib'):
        plot_confusion(Report.of(ConfusionMatrix(["a", "b"], [[1, 0], [0, 1]])))
