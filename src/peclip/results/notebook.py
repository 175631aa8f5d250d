"""What notebooks show of a prediction."""

from __future__ import annotations

from peclip.errors import MissingExtraError
from peclip.results.interface import SourceResult
from peclip.results.page_parts import base_name, png, summary_html, text
from peclip.results.summary import summarise
from peclip.results.timeline import plot_timeline


def notebook_html(prediction: SourceResult) -> str:
    """Returns a table of people, and the timeline if matplotlib is installed.

    It is made of the rows only, with silhouettes: a notebook shows it whenever a cell ends with a prediction, and
    decoding the video for the faces of `Prediction.plot` would be slow.
    """
    table = summary_html(summarise(prediction.rows, prediction.labels))
    try:
        address = png(plot_timeline(prediction))
        picture = f'<img alt="timeline" style="max-width:100%" src="{address}">'
    except MissingExtraError:
        picture = ""
    name = text(base_name(prediction.source))
    return f"<div><b>{name}</b>{table}{picture}</div>"
