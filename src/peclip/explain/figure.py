"""The picture of an explanation: frames with their maps, bars over time, words and streams (extra `plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peclip.explain.explanation import Explanation, Finding, Word
from peclip.explain.heat import paint, strongest
from peclip.results.figures import (
    OPPOSES,
    SUPPORTS,
    UNDIRECTED,
    check_matplotlib,
    save_figure,
)
from peclip.results.fonts import fonts_for
from peclip.text.display import columns, shortened, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SHADE = "#1c1c1c", "#808080"

MAX_FRAMES = 8
"""Frames in a row; of more, these are evenly spaced, and the bars show all."""
MAX_TICKS = 16
"""Times below the bars; with more frames, only some have theirs."""
MAX_WORDS = 12
"""Phrases: those of the explained label, and the most similar others."""

_WIDTH, _LEFT, _RIGHT = 12.0, 2.5, 0.3
"""Inches: of the figure, and of the margins beside the frames."""
_TITLE, _BARS, _LINE, _GAP = 1.0, 0.85, 0.21, 0.34
"""Inches: heights of the title, of bars over time and of one word, and the space below each part."""


def plot_explanation(explanation: Explanation) -> Figure:
    """Draws an explanation; orange supports the label, blue opposes it.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    check_matplotlib("A picture of an explanation")
    from matplotlib.figure import Figure

    parts = [_Frames(explanation, None), *_parts_of(explanation)]
    height = _TITLE + sum(part.height + _GAP for part in parts)
    figure = Figure(figsize=(_WIDTH, height))
    texts = [word.text for finding in explanation.findings.values() for word in finding.words]
    with fonts_for([explanation.source, explanation.model, *explanation.scores, *texts]):
        _draw_title(figure, explanation, height)
        top = height - _TITLE
        for part in parts:
            part.draw(figure, top)
            top -= part.height + _GAP
    return figure


def save_picture(explanation: Explanation, path: Path) -> None:
    """Writes the picture to a `.png`, `.pdf` or `.svg` file.

    Raises:
        ConfigError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    save_figure(plot_explanation(explanation), path)


def title_of(explanation: Explanation) -> str:
    """Returns what is explained, in one line."""
    name = shortened(Path(explanation.source).name or explanation.source, 50)
    person = "" if explanation.track_id < 0 else f", person {explanation.track_id}"
    return f"{name}{person}, {explanation.start_s:.2f} to {explanation.end_s:.2f} s"


def shown_frames(explanation: Explanation) -> list[int]:
    """Returns the places of the frames that a row of pictures shows: of copies, the first."""
    numbers = explanation.frame_numbers
    distinct = [place for place, number in enumerate(numbers) if numbers.index(number) == place]
    count = len(distinct)
    return [distinct[round(n)] for n in np.linspace(0, count - 1, min(count, MAX_FRAMES))]


class _Part:
    """A band of the figure, as wide as the figure.

    Args:
        height: in inches.
        name: beside it, on the left.
        detail: below the name.
    """

    def __init__(self, height: float, name: str, detail: str = "") -> None:
        self.height, self._name, self._detail = height, name, detail

    def draw(self, figure: Figure, top: float) -> None:
        """Draws the part below a height in inches."""
        raise NotImplementedError

    def _write_name(self, figure: Figure, top: float) -> None:
        _write(figure, 0.2, top - 0.12, self._name, size=10, weight="bold")
        for number, line in enumerate(wrapped(self._detail, 27)):
            _write(figure, 0.2, top - 0.34 - 0.16 * number, line, size=8)

    def _axes(self, figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
        wide, high = figure.get_size_inches()
        axes = figure.add_axes((left / wide, (top - height) / high, width / wide, height / high))
        axes.tick_params(colors=INK, labelsize=8)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(SHADE)
        return axes


class _Frames(_Part):
    """A row of frames, with a map or without."""

    def __init__(self, explanation: Explanation, finding: Finding | None) -> None:
        self._explanation, self._finding = explanation, finding
        self._places = shown_frames(explanation)
        pitch = (_WIDTH - _LEFT - _RIGHT) / max(len(self._places), 4)
        self._side = pitch - 0.08
        detail = ""
        if finding is not None and finding.maps is not None:
            cells = finding.maps.shape[-1]
            detail = f"{finding.unit}; {cells} x {cells} cells"
        name = "frames" if finding is None else finding.method
        super().__init__(self._side, name, detail)

    def draw(self, figure: Figure, top: float) -> None:
        """Draws the frames, the map over each, and the times above them if there is none."""
        self._write_name(figure, top)
        maps = None if self._finding is None else self._finding.maps
        for number, place in enumerate(self._places):
            left = _LEFT + number * (self._side + 0.08)
            axes = self._axes(figure, left, top, self._side, self._side)
            axes.set_axis_off()
            picture = self._explanation.crops[place]
            if maps is None:
                time = self._explanation.times_s[place]
                _write(figure, left, top + 0.1, f"{time:.2f} s", size=8)
            else:
                picture = paint(
                    picture,
                    maps[min(place, len(maps) - 1)],
                    strongest(maps),
                    is_directed=self._finding is None or self._finding.is_directed,
                )
            axes.imshow(picture, aspect="auto")


class _Bars(_Part):
    """The importance of every frame over time."""

    def __init__(self, explanation: Explanation, finding: Finding) -> None:
        self._explanation, self._finding = explanation, finding
        super().__init__(_BARS, finding.method, finding.unit)

    def draw(self, figure: Figure, top: float) -> None:
        """Draws a bar per frame."""
        self._write_name(figure, top)
        values = self._finding.frames
        assert values is not None, "see `_parts_of`"
        axes = self._axes(figure, _LEFT, top, _WIDTH - _LEFT - _RIGHT, self.height)
        above = SUPPORTS if self._finding.is_directed else UNDIRECTED
        colours = [above if value > 0 else OPPOSES for value in values]
        axes.bar(range(len(values)), values, color=colours, width=0.7)
        axes.axhline(0, color=SHADE, linewidth=0.8)
        axes.set_xlim(-0.5, len(values) - 0.5)
        times = self._explanation.times_s
        places = range(0, len(values), -(-len(values) // MAX_TICKS))
        axes.set_xticks(places, [f"{times[place]:.2f} s" for place in places])
        axes.locator_params(axis="y", nbins=4)


class _Words(_Part):
    """Similarities of texts, one bar each; those of the explained label are dark, since colours mean support."""

    def __init__(self, explanation: Explanation, finding: Finding) -> None:
        whole = [word for word in finding.words if not word.is_phrase]
        lines = [(f"{w.label}: {w.text}", w.similarity, [w.label]) for w in whole]
        self._lines = sorted(lines, key=lambda line: -line[1])
        self._whole, self._label = len(whole), explanation.label
        self._lines += _phrases(finding.words, explanation.label)
        what = f"{finding.unit} of the texts of the labels"
        what += ", then of their phrases" if len(self._lines) > self._whole else ""
        super().__init__(
            max(_LINE * (len(self._lines) + 1), 1.9), finding.method, f"{what}. {finding.remark}"
        )

    def draw(self, figure: Figure, top: float) -> None:
        """Draws a bar per text."""
        self._write_name(figure, top)
        left = _LEFT + 4.7
        axes = self._axes(figure, left, top, _WIDTH - left - _RIGHT - 0.4, self.height)
        places = [n + (n >= self._whole) for n in range(len(self._lines))]
        texts, values, labels = zip(*self._lines, strict=True)
        colours = [INK if self._label in names else SHADE for names in labels]
        axes.barh(places, values, color=colours)
        axes.set_yticks(places, [shortened(text, 72) for text in texts], fontsize=8)
        for text in axes.get_yticklabels():
            text.set_parse_math(False)
        for place, value in zip(places, values, strict=True):
            axes.annotate(
                f"{round(value, 2) + 0.0:.2f}", (max(value, 0), place), xytext=(3, 0), textcoords="offset points",
                va="center", size=7, color=INK,
            )  # fmt: skip
        axes.axvline(0, color=SHADE, linewidth=0.8)
        axes.invert_yaxis()


class _Streams(_Part):
    """The weights of the streams."""

    def __init__(self, finding: Finding) -> None:
        self._streams = finding.streams
        super().__init__(_LINE * len(finding.streams) + 0.1, "streams", "weights of the inputs")

    def draw(self, figure: Figure, top: float) -> None:
        """Draws a bar per stream."""
        self._write_name(figure, top)
        axes = self._axes(
            figure, _LEFT + 4.7, top, _WIDTH - _LEFT - 4.7 - _RIGHT - 0.4, self.height
        )
        axes.barh(list(self._streams), list(self._streams.values()), color=SUPPORTS)
        axes.set_xlim(0, 1)
        axes.invert_yaxis()


def _parts_of(explanation: Explanation) -> list[_Part]:
    """Returns the parts of all findings: first when, then where, then words and streams."""
    found = explanation.findings.values()
    parts: list[_Part] = [_Bars(explanation, f) for f in found if f.frames is not None]
    parts += [_Frames(explanation, f) for f in found if f.maps is not None]
    parts += [_Words(explanation, f) for f in found if f.words]
    return parts + [_Streams(f) for f in found if f.streams]


def _phrases(words: Sequence[Word], label: str) -> list[tuple[str, float, list[str]]]:
    """Returns the phrases of a label and the most similar others: text, similarity, and labels that they describe."""
    labels: dict[str, list[str]] = {}
    for word in words:
        if word.is_phrase:
            labels.setdefault(word.text, []).append(word.label)
    similar = {word.text: word.similarity for word in words if word.is_phrase}
    ranked = sorted(labels, key=lambda text: (label not in labels[text], -similar[text]))
    shown = sorted(ranked[:MAX_WORDS], key=lambda text: -similar[text])
    return [(f"{t} ({', '.join(labels[t])})", similar[t], labels[t]) for t in shown]


def _draw_title(figure: Figure, explanation: Explanation, height: float) -> None:
    label = explanation.label
    why = f"Why {shortened(label, 60)} {explanation.scores[label]:.2f}"
    others = [f"{shortened(n, 24)} {p:.2f}" for n, p in explanation.ranked if n != label][:3]
    while others and columns(f"{why} ({', '.join(others)})") > 100:
        others.pop()
    why = f"{why} ({', '.join(others)})" if others else why
    count = len(set(explanation.frame_numbers))
    facts = f"{count} frame{'s' * (count != 1)}; {shortened(explanation.model, 40)}"
    meaning = "Orange supports the label, blue opposes it; green has no direction."
    number = f"Log-odds of the label: {explanation.log_odds:+.2f}"
    _write(figure, 0.2, height - 0.25, why, size=12, weight="bold")
    _write(figure, 0.2, height - 0.47, f"{title_of(explanation)}; {facts}", size=9)
    _write(figure, 0.2, height - 0.65, f"{number}. {meaning}", size=9)


def _write(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Writes a line whose middle is at a height, in inches; dollar signs are no formula."""
    width, height = figure.get_size_inches()
    style = {"va": "center", "color": INK} | style
    figure.text(x / width, y / height, text, parse_math=False, **style)
