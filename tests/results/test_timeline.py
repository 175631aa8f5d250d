"""The timeline shows every person with bands of labels, lines of probabilities, gaps and low quality."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from peclip.errors import MissingExtraError
from peclip.results.figures import label_colours
from peclip.results.prediction import Prediction
from peclip.results.rows import Row, Status, failure_row
from peclip.results.timeline import plot_timeline

LABELS = ("anger", "fear", "neutral")


def make_row(
    track: int, window: int, scores: tuple[float, ...] | None, status: Status | None = None
) -> Row:
    values: dict[str, Any] = {}
    if scores is not None:
        by_label = dict(zip(LABELS, scores, strict=True))
        values = {"scores": by_label, "label": max(by_label, key=lambda name: by_label[name])}
    status = status or ("no_face" if scores is None else "ok")
    return Row(
        "a.mp4", "debug", "", track, window, float(window), window + 1.0, 0, 3, 4, 1, status, **values
    )  # fmt: skip


def predict(*rows: Row, source: str = "a.mp4", labels: tuple[str, ...] = LABELS) -> Prediction:
    return Prediction(source, labels, rows)


def draw(figure: Figure) -> int:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return len(stream.getvalue())


def lanes(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if not axes.get_label().startswith("picture")]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def bands(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """Returns start and end of the bands by colour."""
    found = dict[str, list[tuple[float, float]]]()
    for collection in axes.collections:
        colour = to_hex(collection.get_facecolor()[0]).upper()
        for path in collection.get_paths():
            left, right = path.vertices[:, 0].min(), path.vertices[:, 0].max()
            found.setdefault(colour, []).append((float(left), float(right)))
    return found


def test_a_lane_per_person_with_bands_and_lines() -> None:
    rows = [
        make_row(0, 0, (0.7, 0.2, 0.1)),
        make_row(0, 1, (0.6, 0.3, 0.1)),
        make_row(0, 2, (0.1, 0.3, 0.6)),
        make_row(3, 2, (0.2, 0.5, 0.3)),
    ]
    figure = plot_timeline(predict(*rows, source="videos/a.mp4"))
    first, second = lanes(figure)
    colours = label_colours(LABELS)
    assert bands(first) == {colours["anger"]: [(0, 2)], colours["neutral"]: [(2, 3)]}
    assert bands(second) == {colours["fear"]: [(2, 3)]}
    lines = {line.get_label(): line for line in first.get_lines()}
    assert lines.keys() == {"_anger", "_fear", "_neutral"}
    assert list(lines["_anger"].get_xdata()) == [0.5, 1.5, 2.5]
    assert list(lines["_anger"].get_ydata()) == [0.7, 0.6, 0.1]
    assert to_hex(lines["_anger"].get_color()).upper() == colours["anger"]
    assert {"a.mp4", "person 0", "person 3", *LABELS} <= set(texts(figure))
    # anger (0.7 + 0.6 + 0.1) / 3 s, of 3 s of the source
    assert {"mean: anger 0.47", "seen 3 s (100%)", "mean: fear 0.50", "seen 1 s (33%)"} <= set(
        texts(figure)
    )
    assert second.get_xlabel() == "seconds"
    assert draw(figure)


def test_a_line_is_broken_where_the_person_is_not_seen() -> None:
    rows = [make_row(0, n, (0.7, 0.2, 0.1)) for n in (0, 1, 3)]
    (lane,) = lanes(plot_timeline(predict(*rows, make_row(-1, 2, None))))
    times = [list(line.get_xdata()) for line in lane.get_lines() if line.get_label() == "_anger"]
    assert times == [[0.5, 1.5], [3.5]]
    (gap,) = [patch for patch in lane.patches if patch.get_hatch()]
    assert (gap.get_x(), gap.get_width()) == (2, 1)  # type: ignore[attr-defined]


def test_low_quality_is_shaded_and_explained() -> None:
    good, poor = make_row(0, 0, (0.7, 0.2, 0.1)), make_row(0, 1, (0.7, 0.2, 0.1), "low_quality")
    figure = plot_timeline(predict(good, poor))
    (shade,) = lanes(figure)[0].patches
    assert (shade.get_x(), shade.get_width()) == (1, 1)  # type: ignore[attr-defined]
    assert any("low quality" in text for text in texts(figure))
    assert not any("low quality" in text for text in texts(plot_timeline(predict(good))))
    unlike = replace(poor, status="ok", unlike_training=("size",))
    figure = plot_timeline(predict(good, unlike))
    assert [patch.get_x() for patch in lanes(figure)[0].patches] == [1]  # type: ignore[attr-defined]
    assert any("unlike the training" in text for text in texts(figure))


def test_at_most_four_labels_have_lines_and_only_drawn_ones_are_in_the_legend() -> None:
    names = tuple(f"label {n}" for n in range(11))
    scores = {name: (11 - n) / 66 for n, name in enumerate(names)}
    row = Row("a", "m", "", 0, 0, 0.0, 1.0, 0, 3, 4, 1, "ok", label=names[0], scores=scores)
    figure = plot_timeline(predict(row, labels=names))
    assert len(lanes(figure)[0].get_lines()) == 4
    assert [text for text in texts(figure) if text.startswith("label")] == list(names[:4])


def test_a_long_band_has_its_label_as_text_and_a_short_one_has_not() -> None:
    rows = [make_row(0, n, (0.1, 0.2, 0.7)) for n in range(40)] + [make_row(0, 40, (0.7, 0.2, 0.1))]
    (lane,) = lanes(plot_timeline(predict(*rows)))
    assert [text.get_text() for text in lane.texts] == ["neutral"]


def test_pictures_of_people_are_at_the_heads_of_their_lanes() -> None:
    rows = [make_row(0, 0, (0.7, 0.2, 0.1)), make_row(1, 0, (0.7, 0.2, 0.1))]
    red = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    figure = plot_timeline(predict(*rows), pictures={1: red})
    silhouette, picture = (axes for axes in figure.axes if axes.get_label().startswith("picture"))
    assert not silhouette.images
    assert silhouette.patches
    assert picture.get_label() == "picture of person 1"
    assert np.array_equal(picture.images[0].get_array(), red)
    lane = lanes(figure)[1]
    assert picture.get_position().x1 < lane.get_position().x0
    assert lane.get_position().y0 < picture.get_position().y0 < lane.get_position().y1


def test_the_whole_frame_has_a_lane() -> None:
    assert "whole frame" in texts(plot_timeline(predict(make_row(-1, 0, (0.7, 0.2, 0.1)))))


def test_a_still_image_has_bars() -> None:
    row = Row(
        "a.png", "m", "", 0, 0, 0.0, 0.0, 0, 0, 1, 1, "ok", label="fear",
        scores={"anger": 0.3, "fear": 0.6, "neutral": 0.1},
    )  # fmt: skip
    figure = plot_timeline(predict(row))
    (lane,) = lanes(figure)
    assert [text.get_text() for text in lane.get_yticklabels()] == ["neutral", "anger", "fear"]
    assert [round(bar.get_width(), 2) for bar in lane.patches] == [0.1, 0.3, 0.6]  # type: ignore[attr-defined]
    assert "fear 0.60" in texts(figure)


@pytest.mark.parametrize("rows", [[], [make_row(-1, 0, None)]])
def test_without_a_face_the_plot_has_a_note(rows: list[Row]) -> None:
    figure = plot_timeline(predict(*rows))
    assert texts(figure) == ["a.mp4", "no face found"]
    assert not figure.axes
    assert draw(figure)


@pytest.mark.parametrize("width", [10.0, 4.4])
@pytest.mark.parametrize(
    ("people", "seconds"), [(1, 5), pytest.param(6, 3600, marks=pytest.mark.slow), (40, 20)]
)
def test_no_text_is_cut_off_or_covers_another_one(people: int, seconds: int, width: float) -> None:
    rows = [
        make_row(track, n, [(0.7, 0.2, 0.1), (0.1, 0.2, 0.7)][n // 7 % 2])
        for n in range(seconds)
        for track in range(people)
        if n % 50 != track
    ]
    figure = plot_timeline(predict(*rows, source=f"videos/{'interview ' * 30}.mp4"), width=width)
    assert draw(figure)
    assert figure.bbox.height < 2**15, "the picture would be too large"
    boxes = [
        text.get_window_extent()
        for text in figure.findobj(Text)
        if text.get_text() and text.get_visible()
    ]
    for number, box in enumerate(boxes):
        assert figure.bbox.x0 - 1 <= box.x0
        assert box.x1 <= figure.bbox.x1 + 1
        assert figure.bbox.y0 - 1 <= box.y0
        assert box.y1 <= figure.bbox.y1 + 1
        covered = [other for other in boxes[number + 1 :] if box.shrunk(0.9, 0.9).overlaps(other)]
        assert not covered


def test_a_source_that_could_not_be_read_says_so() -> None:
    found = texts(plot_timeline(predict(failure_row("a.mp4", "m", ""))))
    assert "not read" in found
    partly = texts(plot_timeline(predict(make_row(-1, 0, None), failure_row("a.mp4", "m", ""))))
    assert {"no face found", "The source could not be read to its end."} <= set(partly)


def test_a_name_is_not_parsed_as_a_formula() -> None:
    labels = (r"$\frac$", "b")
    row = Row(
        "a", "m", "", 0, 0, 0.0, 9.0, 0, 3, 4, 1, "ok", label=labels[0],
        scores={labels[0]: 0.9, "b": 0.1},
    )  # fmt: skip
    still = Row("a", "m", "", 0, 0, 0.0, 0.0, 0, 3, 4, 1, "ok", label="b", scores=row.scores)
    for one in (row, still):
        assert draw(plot_timeline(predict(one, source=r"a$\frac$b.mp4", labels=labels)))


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
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match='pip install "matplotlib'):
        plot_timeline(predict())
