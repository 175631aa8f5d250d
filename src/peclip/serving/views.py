"""The JSON documents of the API, with the examples of its description."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_ROW = {
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


class ErrorDetail(BaseModel):
    """Why a request was refused."""

    code: str
    """For programs."""
    message: str
    """For people: what was given, what is accepted, what to do."""


class ErrorView(BaseModel):
    """The body of every response with a status of 400 and above."""

    error: ErrorDetail


class VideoView(BaseModel):
    """An opened video."""

    width: int
    height: int
    duration_s: float | None = None


class PredictionView(BaseModel):
    """A prediction of a video."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "3f1Qx0mUOyZ7rO8Vw9kq4A",
                    "state": "running",
                    "name": "astronaut.mp4",
                    "error": None,
                    "created": 1767225600.0,
                    "options": {"window": 1.0, "hop": 0.5},
                    "video": {"width": 512, "height": 512, "duration_s": 3.0},
                    "position_s": 1.4,
                    "progress": 0.4667,
                    "num_rows": 2,
                    "people": [],
                }
            ]
        }
    )

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    name: str
    error: str | None
    created: float
    """Seconds since 1970."""
    options: dict[str, Any]
    video: VideoView | None
    position_s: float
    progress: float | None
    """From 0 to 1; null while the length of the video is unknown."""
    num_rows: int
    people: list[int]
    """Track ids of the people who have a picture at people/ID.png."""


class RowsView(PredictionView):
    """A prediction with a range of its rows, which have the columns of the csv file."""

    rows: list[dict[str, Any]] = Field(examples=[[_ROW]])
    offset: int
    """Number of the first of these rows."""


class StillView(BaseModel):
    """The rows of a single image: one per face."""

    name: str
    video: VideoView
    rows: list[dict[str, Any]] = Field(examples=[[_ROW]])


class ModelView(BaseModel):
    """The loaded model."""

    name: str
    revision: str
    architecture: str
    backbone: str
    device: str
    precision: str
    num_frames: int
    labels: list[str]
    label_texts: dict[str, str]
    label_colours: dict[str, str]
    person_colours: list[str]
    """By track id, from 0; they repeat."""


class ModelsView(BaseModel):
    """The models of this server, of which there is one."""

    models: list[ModelView]
    limits: dict[str, float]
    """`max_bytes`, `max_seconds`, `max_pixels` and `keep_s`."""


class HealthView(BaseModel):
    """Whether the server can take videos."""

    status: Literal["ok", "starting"]
    version: str


class TokenView(BaseModel):
    """The token of the server, which a browser exchanges for a cookie."""

    token: str = Field(max_length=1000)
