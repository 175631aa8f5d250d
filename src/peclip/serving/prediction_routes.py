"""Routes of predictions and stills."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import shutil
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.background import BackgroundTask

from peclip.config import check
from peclip.downloads.address import without_password
from peclip.predict_options import PredictOptions
from peclip.serving.description import ACCEPTED, CSV, EVENTS, EXPLANATION, ROW, STILL, UPLOAD, sends
from peclip.serving.jobs import PredictionJob, about
from peclip.serving.limits import MAX_FRAME_BYTES
from peclip.serving.responses import (
    MEDIA_TYPES,
    NotFoundError,
    csv_response,
    events_response,
    file_response,
    lines_response,
    saved_as,
)
from peclip.serving.service import Service
from peclip.serving.uploads import Upload, UploadError, receive
from peclip.serving.views import ErrorView, PredictionView, RowsView, StillView

MIN_HOP = 0.05
"""Seconds: a shorter one would make more work than a video of the same length may."""

router = APIRouter(prefix="/v1", responses={"4XX": {"model": ErrorView}})


def service_of(request: Request) -> Service:
    """Returns the state of the server."""
    found: Service = request.app.state.service
    return found


Served = Annotated[Service, Depends(service_of)]


def job_of(name: str, service: Served) -> PredictionJob:
    """Returns the prediction that a path names.

    Raises:
        NotFoundError: there is none.
    """
    job = service.jobs.get(name)
    if job is None:
        raise NotFoundError
    return job


Named = Annotated[PredictionJob, Depends(job_of)]


@router.post("/predictions", status_code=202, response_model=PredictionView, openapi_extra=UPLOAD)
async def create_prediction(request: Request, response: Response, service: Served) -> Any:
    """Predict a video: its file, its bytes, or its http(s) address."""
    job = service.jobs.receive()
    try:
        upload = await receive(
            request, job.folder, max_bytes=service.options.max_bytes, timeouts=service.timeouts
        )
        _fill(job, upload)
    except BaseException:
        service.jobs.delete(job)
        raise
    service.metrics.add("peclip_upload_bytes_total", upload.size)
    service.submit(job)
    response.headers["Location"] = f"/v1/predictions/{job.id}"
    return about(job)


def _fill(job: PredictionJob, upload: Upload) -> None:
    """Sets what a prediction is made from.

    Raises:
        UploadError: it is neither a file nor an address.
        ConfigError: an option is invalid.
    """
    given = dict(upload.fields)
    address = given.pop("address", None)
    if (upload.path is None) == (address is None):
        raise UploadError(
            400, "no_video", "Send either a video, as the part `file`, or its `address`."
        )
    if upload.path is not None and not upload.size:
        raise UploadError(400, "empty", "The file is empty. Send a video.")
    if address is not None:
        _check_address(address)
    unknown = sorted(set(given) - set(ACCEPTED))
    if unknown:
        raise UploadError(
            422,
            "invalid_options",
            f"Unknown option {unknown[0][:40]!r}; use {', '.join(ACCEPTED)}.",
        )
    given = {key: value for key, value in given.items() if value not in ("", None)}
    options = check(PredictOptions, given)
    if options.hop < MIN_HOP or not math.isfinite(options.window):
        message = f"hop must be at least {MIN_HOP} s, and window a number of seconds."
        raise UploadError(422, "invalid_options", message)
    job.options = options.model_dump(mode="json", include={*given, "window", "hop"})
    job.path, job.address = upload.path, address
    job.name = upload.name if address is None else without_password(address)


def _check_address(address: Any) -> None:
    is_text = isinstance(address, str) and len(address) <= 2000 and address.isprintable()
    if not is_text or not address.lower().startswith(("http://", "https://")):
        raise UploadError(422, "invalid_address", "The address must start with http:// or https://")


@router.get("/predictions/{name}", response_model=RowsView)
async def read_prediction(
    job: Named,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=0, le=5000)] = 1000,
) -> Response:
    """Get the state of a prediction, and a range of its rows so far."""
    rows = b",".join(await asyncio.to_thread(job.rows.read, offset, limit))
    head = json.dumps({**about(job), "offset": offset}).encode()
    return Response(head[:-1] + b', "rows": [' + rows + b"]}", media_type="application/json")


@router.delete("/predictions/{name}", status_code=204)
async def delete_prediction(job: Named, service: Served) -> Response:
    """Cancel a prediction, and delete it with its video at once."""
    service.jobs.delete(job)
    return Response(status_code=204)


@router.get(
    "/predictions/{name}/events",
    response_class=StreamingResponse,
    responses=sends("text/event-stream", EVENTS),
)
async def read_events(job: Named, service: Served, request: Request) -> StreamingResponse:
    """Follow a prediction by server-sent events: `rows` and `state`."""
    last = request.headers.get("last-event-id", "")
    start = int(last) if last.isascii() and last.isdecimal() and len(last) < 10 else 0
    return events_response(job, service.jobs, start)


@router.get(
    "/predictions/{name}/rows.csv",
    response_class=StreamingResponse,
    responses=sends("text/csv", CSV),
)
async def read_csv(job: Named, service: Served) -> StreamingResponse:
    """Get the rows so far, as `peclip predict -o rows.csv` writes them."""
    model = service.worker.model or {"labels": []}
    return csv_response(job, model["labels"])


@router.get(
    "/predictions/{name}/rows.jsonl",
    response_class=StreamingResponse,
    responses=sends("application/jsonl", f"{json.dumps(ROW)}\n"),
)
async def read_lines(job: Named) -> StreamingResponse:
    """Get the rows so far as JSON Lines."""
    return lines_response(job)


@router.get(
    "/predictions/{name}/prediction.json",
    response_class=FileResponse,
    responses=sends("application/json", {"label": "happiness", "rows": [ROW]}),
)
async def read_document(job: Named) -> FileResponse:
    """Get the whole prediction, as `peclip predict -o prediction.json` writes it."""
    path = job.folder / "prediction.json"
    return file_response(path, "application/json", saved_as(job, ".json"))


@router.get(
    "/predictions/{name}/summary.csv", response_class=FileResponse, responses=sends("text/csv")
)
async def read_summary(job: Named) -> FileResponse:
    """Get one line per person, as `peclip predict --summary` writes it."""
    return file_response(job.folder / "summary.csv", "text/csv", saved_as(job, "-summary.csv"))


@router.get(
    "/predictions/{name}/overlay.mp4", response_class=FileResponse, responses=sends("video/mp4")
)
async def read_overlay(job: Named, service: Served) -> FileResponse:
    """Get the video with boxes and labels; the first request waits until it is written."""
    if not job.is_final:
        raise UploadError(409, "not_ended", "The prediction has not ended. Try again later.")
    error = await service.overlay(job)
    job_of(job.id, service)  # which may have been deleted in the meantime
    if error is not None:
        raise UploadError(409, "no_overlay", error)
    return file_response(job.folder / "overlay.mp4", "video/mp4", saved_as(job, "-overlay.mp4"))


@router.get("/predictions/{name}/video", response_class=FileResponse, responses=sends("video/*"))
async def read_video(job: Named) -> FileResponse:
    """Get the video itself."""
    if job.path is None:
        raise NotFoundError("The video has not been downloaded.")
    return file_response(
        job.path, MEDIA_TYPES.get(job.path.suffix, "application/octet-stream"), job.name
    )


@router.get(
    "/predictions/{name}/people/{track}.png",
    response_class=FileResponse,
    responses=sends("image/png"),
)
async def read_portrait(job: Named, track: int) -> FileResponse:
    """Get the picture of a person."""
    if track not in job.people:
        raise NotFoundError("There is no picture of this person.")
    return file_response(job.folder / f"person{track}.png", "image/png")


@router.get("/predictions/{name}/explain", response_class=FileResponse, responses=EXPLANATION)
async def explain_prediction(
    job: Named,
    service: Served,
    at: Annotated[float | None, Query(ge=0, le=1e9, allow_inf_nan=False)] = None,
    person: Annotated[int | None, Query(ge=-1, le=10**9)] = None,
    form: Annotated[Literal["json", "png"], Query(alias="format")] = "json",
) -> FileResponse:
    """Explain the window of a person at a time, as `peclip explain` does: as JSON, or as a picture."""
    if not job.is_final:
        raise UploadError(409, "not_ended", "The prediction has not ended. Try again later.")
    output = job.folder / f"why-{secrets.token_hex(8)}.{form}"
    error = await service.explain(job, output, at=at, person=person)
    job_of(job.id, service)  # which may have been deleted in the meantime
    if error is not None:
        raise UploadError(409, "no_explanation", error)
    response = file_response(output, "image/png" if form == "png" else "application/json")
    response.background = BackgroundTask(output.unlink, missing_ok=True)
    return response


@router.post("/frames", response_model=StillView, openapi_extra=STILL)
async def create_still(request: Request, service: Served) -> Any:
    """Predict a single image, and wait for its rows."""
    service.check_free()
    folder = service.folder / f"still-{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700, parents=True)
    try:
        upload = await receive(
            request,
            folder,
            max_bytes=MAX_FRAME_BYTES,
            timeouts=service.timeouts,
            default="frame.jpg",
        )
        if upload.path is None or not upload.size:
            raise UploadError(400, "empty", "Send an image, as the body or the part `file`.")
        service.metrics.add("peclip_upload_bytes_total", upload.size)
        event = await service.still(upload.path, upload.name)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, True)
    if event["error"] is not None:
        raise UploadError(422, "unreadable", event["error"])
    return {"name": upload.name, "video": event["video"], "rows": event["rows"]}
