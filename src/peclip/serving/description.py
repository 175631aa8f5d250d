"""What the types of the routes do not tell OpenAPI: bodies, responses other than the views, and examples."""

from __future__ import annotations

from typing import Any

Responses = dict[int | str, dict[str, Any]]

ACCEPTED = ("window", "hop", "start", "end", "max_people", "min_score")
"""Options of `peclip predict` that a client may set."""

ROW = {
    "source": "astronaut.mp4",
    "track_id": 0,
    "window": 0,
    "start_s": 0.0,
    "end_s": 1.0,
    "status": "ok",
    "label": "happiness",
    "score": 0.93,
    "x": 160.2,
    "y": 48.9,
    "w": 121.5,
    "h": 121.5,
    "prob_happiness": 0.93,
}
"""Some columns of a row."""
CSV = f"{','.join(ROW)}\n{','.join(map(str, ROW.values()))}\n"
EVENTS = (
    'event: rows\nid: 1\ndata: [{"track_id": 0, "window": 0, "label": "happiness"}]\n\n'
    'event: state\nid: 1\ndata: {"state": "done", "num_rows": 1}\n\n'
)
METRICS = 'peclip_predictions{state="running"} 1\n'

_FILE = {"type": "string", "format": "binary", "description": "The video."}
_NUMBERS = {name: {"type": "number"} for name in ACCEPTED}
UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": _FILE, **_NUMBERS}},
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["address"],
                    "properties": {"address": {"type": "string"}, **_NUMBERS},
                },
                "example": {"address": "https://example.org/talk.mp4", "window": 2, "hop": 1},
            },
            "application/octet-stream": {"schema": _FILE},
        },
    }
}
STILL = {
    "requestBody": {
        "required": True,
        "content": {
            "image/jpeg": {"schema": _FILE},
            "multipart/form-data": {"schema": {"type": "object", "properties": {"file": _FILE}}},
        },
    }
}


def _content(media_type: str, example: str | dict[str, Any] | None) -> dict[str, Any]:
    if example is None:
        return {media_type: {"schema": {"type": "string", "format": "binary"}}}
    kind = "string" if isinstance(example, str) else "object"
    return {media_type: {"schema": {"type": kind}, "example": example}}


def sends(media_type: str, example: str | dict[str, Any] | None = None) -> Responses:
    """Describes a response that is none of the views; without an example, it is a file of bytes."""
    return {200: {"content": _content(media_type, example)}}


EXPLANATION: Responses = {
    200: {
        "content": _content("application/json", {"label": "happiness", "track_id": 0})
        | _content("image/png", None)
    }
}
