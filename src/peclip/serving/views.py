"""The JSON documents of the API, with the examples of its description."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from peclip.serving.description import ROW


class ErrorDetail(BaseModel):
    """Why a request was refused."""

    code: str = Field(examples=["not_found"])
    """For programs."""
    message: str = Field(examples=["There is no such prediction; it may have expired."])
    """For people: what was given, what is accepted, what to do."""


class ErrorView(BaseModel):
    """The body of every response with a status of 400 and above."""

    error: ErrorDetail


class VideoView(BaseModel):
    """An opened video."""

    width: int = Field(examples=[512])
    height: int = Field(examples=[512])
    duration_s: float | None = Field(None, examples=[3.0])


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
    error: str | None = None
    created: float
    """Seconds since 1970."""
    options: dict[str, Any]
    video: VideoView | None = None
    position_s: float
    progress: float | None = None
    """From 0 to 1; null while the length of the video is unknown."""
    num_rows: int
    people: list[int]
    """Track ids of the people who have a picture at people/ID.png."""


class RowsView(PredictionView):
    """A prediction with a range of its rows, which have the columns of the csv file."""

    rows: list[dict[str, Any]] = Field(examples=[[ROW]])
    offset: int
    """Number of the first of these rows."""


class StillView(BaseModel):
    """The rows of a single image: one per face."""

    name: str = Field(examples=["face.jpg"])
    video: VideoView
    rows: list[dict[str, Any]] = Field(examples=[[ROW]])


class ModelView(BaseModel):
    """The loaded model."""

    name: str = Field(examples=["nano"])
    revision: str = Field(examples=[""])
    architecture: str = Field(examples=["pe_clip"])
    backbone: str = Field(examples=["ViT-B-16/openai"])
    device: str = Field(examples=["cpu"])
    precision: str = Field(examples=["fp32"])
    num_frames: int = Field(examples=[8])
    face_crop: bool = Field(examples=[True])
    """Whether the model reads face crops; otherwise, faces are not detected by default."""
    labels: list[str] = Field(examples=[["happiness", "sadness"]])
    label_texts: dict[str, str] = Field(examples=[{"happiness": "cheek raiser, lip corner puller"}])
    label_colours: dict[str, str] = Field(examples=[{"happiness": "#E69F00"}])
    person_colours: list[str] = Field(examples=[["#E69F00", "#56B4E9"]])
    """By track id, from 0; they repeat."""


class ModelsView(BaseModel):
    """The models of this server, of which there is one."""

    models: list[ModelView]
    limits: dict[str, float] = Field(examples=[{"max_bytes": 512_000_000, "keep_s": 3600}])
    """`max_bytes`, `max_seconds`, `max_pixels` and `keep_s`."""


class HealthView(BaseModel):
    """Whether the server can take videos."""

    status: Literal["ok", "starting"] = Field(examples=["ok"])
    version: str = Field(examples=["1.0.0"])


class TokenView(BaseModel):
    """The token of the server, which a browser exchanges for a cookie."""

    token: str = Field(max_length=1000)
