"""Parts of HTML pages about predictions; all text from outside is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from peclip.results.figures import label_colours
from peclip.results.fonts import missing_letters_as_warning
from peclip.results.interface import KEYS, LineResult, SummaryResult
from peclip.results.time_axis import clock_text
from peclip.results.totals import Totals
from peclip.text.display import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from peclip.video.faces import Image

_HEADINGS = ("seen", "label (mean probability)", "share of time", "episodes", "good quality")

_NOTEBOOK_STYLE = (
    "<style>.peclip svg{width:8em;height:.7em;display:block}"
    ".peclip td,.peclip th{text-align:left;vertical-align:top;padding:.2em 1em .2em 0}</style>"
)

_JPEG_QUALITY = 85
_SMALLEST_SHARE = 0.005


def text(value: object) -> str:
    """Returns text for HTML: escaped, and with control characters as escapes."""
    return escape(printable(str(value)), quote=True)


def isolated(label: str) -> str:
    """Returns a label that does not change the direction of the text around it, such as one in Arabic."""
    return f"<bdi>{text(label)}</bdi>"


def base_name(source: str) -> str:
    """Returns the name of a source without its folder."""
    return Path(source).name or source


def summary_table(summary: SummaryResult, *, kind: str = "summary") -> str:
    """Returns a table with one line per person or group.

    Args:
        summary: the lines.
        kind: class of the table.
    """
    colours = label_colours(summary.labels)
    keys = summary.lines[0].keys if summary.lines else KEYS
    names = [*("person" if key == "track_id" else text(key) for key in keys), *_HEADINGS]
    heading = "".join(f'<th scope="col">{name}</th>' for name in names)
    lines = "".join(
        f"<tr>{_cells(names, line, colours, _still(line, summary))}</tr>\n"
        for line in summary.lines
    )
    return (
        f'<table class="{text(kind)}"><thead><tr>{heading}</tr></thead>\n'
        f"<tbody>{lines}</tbody></table>"
    )


def summary_html(summary: SummaryResult) -> str:
    """Returns the table of a summary with its style, for notebooks."""
    return f'<div class="peclip">{_NOTEBOOK_STYLE}{summary_table(summary, kind="peclip-summary")}</div>'


def _still(line: LineResult, summary: SummaryResult) -> str:
    """Returns the label of a person in a still image, which has no time and so no mean."""
    if line.totals.source_s or any(key not in line.keys for key in KEYS):
        return ""
    source, track = line.keys["source"], line.keys["track_id"]
    found = (one for one in summary.episodes if (one.source, one.track_id) == (source, track))
    episode = next(found, None)
    return "" if episode is None else f"{isolated(episode.label)} {episode.apex_prob:.2f}"


def _cells(names: Sequence[str], line: LineResult, colours: Mapping[str, str], still: str) -> str:
    totals = line.totals
    label, means = totals.label, totals.mean_probs
    quality = totals.status_s["ok"] / totals.seen_s if totals.seen_s else None
    values = (
        *(_key_cell(key, value, totals) for key, value in line.keys.items()),
        clock_text(totals.seen_s) if totals.seen_s else "",
        f"<span>{still if label is None else f'{isolated(label)} {means[label]:.2f}'}</span>",
        _share_bar(line, colours),
        str(sum(totals.episodes.values())) if totals.seen_s else "",
        "" if quality is None else f"{quality:.0%}",
    )
    return "".join(
        f'<td data-name="{name}">{value}</td>' for name, value in zip(names, values, strict=True)
    )


def _key_cell(key: str, value: Any, totals: Totals) -> str:
    if key == "source":
        return f'<span title="{text(value)}">{text(base_name(value))}</span>'
    if key != "track_id":
        return "(none)" if value in (None, "") else text(value)
    if value >= 0:
        return f"{value}"
    if totals.people:
        return "whole frame"
    return "could not be read" if totals.failed else "no face found"


def _share_bar(line: LineResult, colours: Mapping[str, str]) -> str:
    """Returns a bar that is divided by the shares of the labels, and the three largest ones as text."""
    totals = line.totals
    if not totals.scored_s:
        return ""
    shares = {name: value / totals.scored_s for name, value in totals.label_s.items()}
    parts, left = [], 0.0
    for name, share in shares.items():
        if share >= _SMALLEST_SHARE:
            parts.append(
                f'<rect x="{100 * left:.2f}" width="{100 * share:.2f}" height="10" '
                f'fill="{colours[name]}"/>'
            )
        left += share
    ranked = sorted((one for one in shares if shares[one] > 0), key=lambda one: -shares[one])
    words = ", ".join(f"{isolated(name)} {shares[name]:.0%}" for name in ranked[:3])
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(parts)}</svg><span>{words}</span>"
    )


def jpeg(image: Image) -> str:
    """Returns an RGB picture as the address of a JPEG in the page."""
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert done, "OpenCV encodes any picture with three channels"
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def png(figure: Figure) -> str:
    """Returns a figure as the address of a PNG in the page."""
    stream = io.BytesIO()
    with missing_letters_as_warning():
        figure.savefig(stream, format="png", dpi=100)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def svg(figure: Figure, ink: str) -> str:
    """Returns a figure as the address of an SVG in the page, whose text is light on dark screens.

    Args:
        figure: the figure.
        ink: its colour of text and axes.
    """
    from matplotlib import rc_context

    stream = io.StringIO()
    # Text stays text, so that the browser writes scripts that matplotlib cannot, with its own fonts.
    with rc_context({"svg.fonttype": "none"}), missing_letters_as_warning(warns=False):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    drawing = stream.getvalue()
    style = (
        f"<style>svg{{color:{ink}}}"
        "@media (prefers-color-scheme:dark){svg{color:#e6e6e6}}</style><defs>"
    )
    for colour in (ink, "#000000"):  # the label that is black would be invisible, too
        drawing = drawing.replace(colour, "currentColor")
    drawing = drawing.replace("svg{color:currentColor}", f"svg{{color:{ink}}}")
    drawing = drawing.replace("<defs>", style, 1)
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}"


def definition_list(values: Iterable[tuple[str, Any]]) -> str:
    """Returns names with their values."""
    lines = (f"<dt>{text(name)}</dt><dd>{text(_shown(value))}</dd>" for name, value in values)
    return f"<dl>{''.join(lines)}</dl>"


def flat(values: Mapping[str, Any], above: Sequence[str] = ()) -> list[tuple[str, Any]]:
    """Returns the values of nested mappings, with names such as `preprocessing.image_size`."""
    found = list[tuple[str, Any]]()
    for name, value in values.items():
        path = [*above, str(name)]
        if isinstance(value, Mapping) and value:
            found += flat(value, path)
        else:
            found.append((".".join(path), value))
    return found


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return str(value)
