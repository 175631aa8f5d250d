"""The timeline shows every label of every person, and the confusion matrix every count."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from peclip.errors import ConfigError, MissingExtraError
from peclip.metrics.confusion import ConfusionMatrix
from peclip.metrics.plots import plot_confusion
from peclip.metrics.report import Report
from peclip.results.figures import save_figure
from peclip.results.prediction import Prediction
from peclip.results.rows import Row
from peclip.results.timeline import plot_timeline

LABELS = ("anger", "fear", "neutral")


def make_row(track: int, window: int, scores: tuple[float, ...] | None) -> Row:
    values: dict[str, Any] = {}
    if scores is not None:
        by_label = dict(zip(LABELS, scores, strict=True))
        values = {"scores": by_label, "label": max(by_label, key=lambda name: by_label[name])}
    status = "no_face" if scores is None else "ok"
    return Row(
        "a.mp4", "debug", "", track, window, float(window), window + 1.0, 0, 3, 4, 1, status, **values
    )  # fmt: skip


def predict(*rows: Row, source: str = "a.mp4", labels: tuple[str, ...] = LABELS) -> Prediction:
    return Prediction(source, labels, rows)


def draw(figure: Figure) -> int:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return len(stream.getvalue())


def test_one_panel_per_person_and_one_line_per_label() -> None:
    rows = [
        make_row(0, 0, (0.7, 0.2, 0.1)),
        make_row(-1, 1, None),
        make_row(0, 2, (0.1, 0.3, 0.6)),
        make_row(3, 2, (0.2, 0.5, 0.3)),
    ]
    figure = plot_timeline(predict(*rows))
    first, second = figure.axes
    assert [panel.get_title(loc="left") for panel in figure.axes] == [
        "person 0: anger",
        "person 3: fear",
    ]
    lines = {line.get_label(): line for line in first.get_lines()}
    assert tuple(lines) == LABELS
    assert list(lines["anger"].get_xdata()) == [0.5, 2.5]
    assert list(lines["anger"].get_ydata()) == [0.7, 0.1]
    assert list(lines["neutral"].get_ydata()) == [0.1, 0.6]
    assert [list(line.get_ydata()) for line in second.get_lines()] == [[0.2], [0.5], [0.3]]
    legend = first.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == list(LABELS)
    assert figure.get_suptitle() == "a.mp4"
    assert second.get_xlabel() == "seconds"
    assert draw(figure)


def test_a_label_has_the_same_colour_in_every_panel_and_no_two_the_same() -> None:
    names = tuple(f"label {n}" for n in range(11))
    scores = dict.fromkeys(names, 1 / 11)
    rows = [
        Row("a", "m", "", track, 0, 0.0, 1.0, 0, 3, 4, 1, "ok", label=names[0], scores=scores)
        for track in (0, 1)
    ]
    colours = [
        [line.get_color() for line in panel.get_lines()]
        for panel in plot_timeline(predict(*rows, labels=names)).axes
    ]
    assert colours[0] == colours[1]
    assert len(set(colours[0])) == 11


def test_the_whole_frame_has_a_title() -> None:
    (panel,) = plot_timeline(predict(make_row(-1, 0, (0.7, 0.2, 0.1)))).axes
    assert panel.get_title(loc="left") == "whole frame: anger"


@pytest.mark.parametrize("rows", [[], [make_row(-1, 0, None)]])
def test_without_a_face_the_plot_has_a_note(rows: list[Row]) -> None:
    figure = plot_timeline(predict(*rows))
    (panel,) = figure.axes
    assert [text.get_text() for text in panel.texts] == ["no face found"]
    assert not panel.axison
    assert draw(figure)


def test_a_file_name_is_not_parsed_as_a_formula() -> None:
    figure = plot_timeline(predict(make_row(0, 0, (0.7, 0.2, 0.1)), source=r"a$\frac$b.mp4"))
    assert draw(figure)


def test_pyplot_is_not_used() -> None:
    """A figure of pyplot would stay in memory, and would open a window."""
    before = sys.modules.get("matplotlib.pyplot")
    figures = before.get_fignums() if before else []
    plot_timeline(predict(make_row(0, 0, (0.7, 0.2, 0.1))))
    after = sys.modules.get("matplotlib.pyplot")
    assert (after.get_fignums() if after else []) == figures


def test_without_matplotlib_the_error_names_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'peclip\[plot\]'"):
        plot_timeline(predict())


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
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'peclip\[plot\]'"):
        plot_confusion(Report.of(ConfusionMatrix(["a", "b"], [[1, 0], [0, 1]])))
