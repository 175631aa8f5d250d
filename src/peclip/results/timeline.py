"""Timeline of a prediction: a lane per person with bands of labels and lines of probabilities (extra `plot`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peclip.results.figures import check_matplotlib, ink_on, label_colours
from peclip.results.fonts import fonts_for
from peclip.results.interface import SourceResult
from peclip.results.lanes import Cell, Lane, Lanes, lanes_of
from peclip.results.time_axis import clock_text, time_ticks
from peclip.results.timeline_layout import LANE, LEGEND_ROW, MARGIN, Layout
from peclip.text.display import printable, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from peclip.video.faces import Image

INK = "#1c1c1c"
"""Colour of text and axes; the report replaces it on dark screens."""
SHADE = "#808080"

MAX_PEOPLE = 12
NUM_LINES = 4
"""Labels of a lane with a line."""

_BAND = (1.1, 0.2)
"""Lower edge and height of the bands, above probabilities from 0 to 1."""
_MAX_MARKERS = 60


def plot_timeline(
    prediction: SourceResult,
    *,
    pictures: Mapping[int, Image] | None = None,
    width: float = 10.0,
    max_people: int = MAX_PEOPLE,
    has_title: bool = True,
) -> Figure:
    """Draws when each person shows which expression: one lane per person.

    The bands have the label, in the time that belongs to each window (`peclip.results.slots`); the lines are
    the probabilities of the labels with the highest mean. Time in which a person is not seen is hatched, and
    time of low quality, uncertain or unlike the training is shaded. Long sources have cells of several seconds.

    Args:
        prediction: the source.
        pictures: of people by their ids, square RGB; the others get a silhouette.
        width: of the figure in inches.
        max_people: lanes at most; a remark counts the people who are left out.
        has_title: whether the name of the source is above the lanes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    check_matplotlib("Prediction.plot()")
    from matplotlib.figure import Figure

    lanes = lanes_of(prediction, max_people=max_people)
    colours = label_colours(prediction.labels)
    drawn = [name for name in prediction.labels if any(_is_drawn(name, one) for one in lanes.lanes)]
    # The bars of a still image have names.
    entries = [] if lanes.is_still else [(shortened(name, 24), colours[name]) for name in drawn]
    remarks = _remarks(lanes)
    layout = Layout(width, lanes, [name for name, _ in entries], remarks, has_title)
    figure = Figure(figsize=(width, layout.height))
    with fonts_for([*prediction.labels, prediction.source]):
        _draw(figure, prediction, lanes, layout, entries, remarks, pictures or {})
    return figure


def _draw(
    figure: Figure,
    prediction: SourceResult,
    lanes: Lanes,
    layout: Layout,
    entries: list[tuple[str, str]],
    remarks: Sequence[str],
    pictures: Mapping[int, Image],
) -> None:
    colours = label_colours(prediction.labels)
    if layout.has_title:
        title = _title(prediction.source, layout.width)
        _write(figure, MARGIN, layout.height - 0.28, title, size=12, weight="bold")
    if not lanes.lanes:
        _write(
            figure, layout.width / 2, layout.legend_top + 0.3, _note(lanes), size=14, ha="center"
        )
    for number, lane in enumerate(lanes.lanes):
        axes = figure.add_axes(layout.lane(number))
        _draw_lane(axes, lane, lanes, colours, inches=layout.lane_width)
        _draw_head(figure, layout, number, lane, pictures.get(lane.track_id))
        if not lanes.is_still:
            _draw_times(axes, lanes, layout, is_last=number == len(lanes.lanes) - 1)
    _draw_legend(figure, layout, entries)
    for number, remark in enumerate(reversed(remarks)):
        _write(figure, MARGIN, 0.1 + number * 0.17, remark, size=7.5)


def _draw_lane(
    axes: Axes, lane: Lane, lanes: Lanes, colours: Mapping[str, str], *, inches: float
) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=8)
    if lanes.is_still:
        _draw_bars(axes, lane, colours)
        return
    axes.set_xlim(lanes.start_s, lanes.end_s)
    axes.set_ylim(-0.03, _BAND[0] + _BAND[1] + 0.03)
    axes.set_yticks([0, 0.5, 1])
    axes.spines["left"].set_bounds(0, 1)
    axes.grid(axis="y", color=SHADE, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    for start, end in lane.gaps:
        axes.axvspan(
            start, end, facecolor="none", edgecolor=SHADE, hatch="////", alpha=0.35, linewidth=0
        )
    for cells in _joined(lane, by_quality=True):
        if cells[0].is_poor:
            axes.axvspan(cells[0].start_s, cells[-1].end_s, color=SHADE, alpha=0.25, linewidth=0)
    _draw_bands(axes, lane, colours, seconds_per_inch=(lanes.end_s - lanes.start_s) / inches)
    marked = len(lane.cells) <= _MAX_MARKERS
    for cells in lane.runs():
        times = [cell.at_s for cell in cells]
        for name in reversed(lane.leading(NUM_LINES)):
            axes.plot(
                times,
                [cell.scores[name] for cell in cells],
                color=colours[name],
                linewidth=1.4,
                marker="o" if marked or len(cells) == 1 else None,
                markersize=3,
                label=f"_{name}",
                clip_on=False,
                solid_joinstyle="round",
            )


def _draw_bands(
    axes: Axes, lane: Lane, colours: Mapping[str, str], *, seconds_per_inch: float
) -> None:
    for cells in _joined(lane, by_quality=False):
        label = cells[0].label
        if label is None:
            continue
        start, end = cells[0].start_s, cells[-1].end_s
        axes.broken_barh([(start, end - start)], _BAND, facecolor=colours[label], linewidth=0)
        text = shortened(label, 24)
        if (end - start) / seconds_per_inch > 0.15 + 0.065 * len(text):
            middle = (start + end) / 2, _BAND[0] + _BAND[1] / 2 - 0.01
            axes.text(
                *middle, text, ha="center", va="center", size=7, color=ink_on(colours[label]),
                parse_math=False,
            )  # fmt: skip


def _draw_bars(axes: Axes, lane: Lane, colours: Mapping[str, str]) -> None:
    """Draws the probabilities of a still image, which has no time."""
    names = list(lane.means)[:NUM_LINES][::-1]
    axes.barh(
        range(len(names)),
        [lane.means[name] for name in names],
        color=[colours[name] for name in names],
    )
    axes.set_yticks(range(len(names)), [shortened(name, 14) for name in names])
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1])


def _draw_times(axes: Axes, lanes: Lanes, layout: Layout, *, is_last: bool) -> None:
    times, names, unit = time_ticks(lanes.start_s, lanes.end_s, layout.lane_width)
    axes.set_xticks(times, names if is_last else [""] * len(times))
    axes.grid(axis="x", color=SHADE, alpha=0.25, linewidth=0.6)
    if is_last:
        axes.set_xlabel(unit, size=8, color=INK, labelpad=2)


def _draw_head(
    figure: Figure, layout: Layout, number: int, lane: Lane, picture: Image | None
) -> None:
    """Draws the picture of a person, the label of the whole source, and how long the person is seen."""
    side = 0.6
    bottom = layout.bottom(number)
    y = bottom + LANE + 0.1 if layout.is_narrow else bottom + LANE - side
    axes = figure.add_axes(layout.part(MARGIN, y, side, side), label=f"picture of {lane.name}")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(SHADE)
    axes.patch.set_alpha(0)
    if picture is None:
        _draw_silhouette(axes)
    else:
        axes.imshow(picture, aspect="auto")
    seen = f"seen {clock_text(lane.totals.seen_s)}"
    if lane.totals.source_s:
        seen += f" ({lane.totals.seen_s / lane.totals.source_s:.0%})"
    lines = [(lane.name, "bold"), (shortened(lane.mean_text, 26), "normal")]
    if lane.totals.source_s:
        lines.append((seen, "normal"))
    x, top = (MARGIN + side + 0.1, y + side - 0.12) if layout.is_narrow else (MARGIN, y - 0.16)
    if not layout.is_narrow:
        _write(figure, MARGIN + side + 0.1, y + side - 0.14, lane.name, size=9, weight="bold")
        lines = lines[1:]
    for line, (text, weight) in enumerate(lines):
        _write(figure, x, top - 0.17 * line, text, size=8.5, weight=weight)


def _draw_silhouette(axes: Axes) -> None:
    from matplotlib.patches import Circle, Ellipse

    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    for patch in (Circle((0.5, 0.62), 0.2), Ellipse((0.5, 0.02), 0.8, 0.66)):
        patch.set(facecolor=SHADE, alpha=0.5, linewidth=0)
        axes.add_patch(patch)


def _draw_legend(figure: Figure, layout: Layout, entries: list[tuple[str, str]]) -> None:
    from matplotlib.patches import Rectangle

    for number, (name, colour) in enumerate(entries):
        row, column = divmod(number, layout.columns)
        x = MARGIN + column * layout.column
        y = layout.legend_top - (row + 0.6) * LEGEND_ROW
        square = Rectangle(
            layout.part(x, y - 0.06, 0, 0)[:2],
            *layout.part(0, 0, 0.13, 0.13)[2:],
            facecolor=colour,
            transform=figure.transFigure,
            linewidth=0,
        )
        figure.add_artist(square)
        _write(figure, x + 0.19, y, name, size=8)


def _remarks(lanes: Lanes) -> list[str]:
    remarks = []
    if lanes.lanes and not lanes.is_still:
        remarks.append("Bands: label. Lines: probabilities of the labels with the highest mean.")
    if lanes.cell_s is not None:
        remarks.append(f"Each point and each part of a band combines {clock_text(lanes.cell_s)}.")
    marks = []
    if any(lane.gaps for lane in lanes.lanes):
        marks.append("hatched: not seen")
    if any(cell.is_poor for lane in lanes.lanes for cell in lane.cells):
        marks.append("shaded: low quality, uncertain, or a face unlike the training")
    if marks:
        remarks.append("; ".join(marks).capitalize() + ".")
    if lanes.num_left_out:
        more = f"{lanes.num_left_out} more {'person' if lanes.num_left_out == 1 else 'people'}"
        remarks.append(f"Not shown: {more}, seen for less time.")
    if lanes.end_reason:
        remarks.append(f"{lanes.end_reason.capitalize()}.")
    return remarks


def _note(lanes: Lanes) -> str:
    """Returns what a plot without lanes says."""
    is_unread = bool(lanes.end_reason) and lanes.is_still
    return "not read" if is_unread else "no face found"


def _title(source: str, width: float) -> str:
    name = Path(source).name or source
    return shortened(printable(name), int(width * 9))


def _is_drawn(name: str, lane: Lane) -> bool:
    return name in lane.leading(NUM_LINES) or any(cell.label == name for cell in lane.cells)


def _joined(lane: Lane, *, by_quality: bool) -> list[list[Cell]]:
    """Returns series of cells that touch, with the same label or the same quality."""
    series = list[list[Cell]]()
    for cell in lane.cells:
        last = series[-1][-1] if series else None
        same = last is not None and abs(last.end_s - cell.start_s) < 1e-5
        if last is not None and by_quality:
            same = same and last.is_poor == cell.is_poor
        elif last is not None:
            same = same and last.label == cell.label
        if same:
            series[-1].append(cell)
        else:
            series.append([cell])
    return series


def _write(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Writes a line whose middle is at a height, in inches; dollar signs are no formula."""
    width, height = figure.get_size_inches()
    style = {"va": "center", "color": INK} | style
    figure.text(x / width, y / height, text, parse_math=False, **style)
