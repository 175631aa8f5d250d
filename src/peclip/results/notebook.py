"""What notebooks show of a prediction."""

from __future__ import annotations

from peclip.errors import MissingExtraError
from peclip.results.interface import SourceResult
from peclip.results.page_parts import base_name, png, summary_table, text
from peclip.results.summary import Summary, summarise
from peclip.results.timeline import plot_timeline

_STYLE = (
    "<style>.peclip svg{width:8em;height:.7em;display:block}"
    ".peclip td,.peclip th{text-align:left;vertical-align:top;padding:.2em 1em .2em 0}</style>"
)


def notebook_html(prediction: SourceResult) -> str:
    """Returns a table of people, and the timeline if matplotlib is installed.

    It is made of the rows only, with silhouettes: a notebook shows it whenever a cell ends with a prediction, and
    decoding the video for the faces of `Prediction.plot` would be slow.
    """
    table = _table(summarise(prediction.rows, prediction.labels))
    try:
        address = png(plot_timeline(prediction))
        picture = f'<img alt="timeline" style="max-width:100%" src="{address}">'
    except MissingExtraError:
        picture = ""
    name = text(base_name(prediction.source))
    return f'<div class="peclip">{_STYLE}<b>{name}</b>{table}{picture}</div>'


def summary_html(summary: Summary) -> str:
    """Returns a table with one line per person or group."""
    return f'<div class="peclip">{_STYLE}{_table(summary)}</div>'


def _table(summary: Summary) -> str:
    return summary_table(summary, kind="peclip-summary")
