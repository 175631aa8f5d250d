"""Errors, downloads and streams of events as responses."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from peclip.errors import ConfigError
from peclip.results.formats.csv import CsvWriter
from peclip.serving.jobs import JobStore, PredictionJob, QueueFullError, about
from peclip.serving.service import BusyError
from peclip.serving.uploads import UploadError

_EVENT_ROWS = 200
_HEARTBEAT_S = 15.0

MEDIA_TYPES = {
    ".3gp": "video/3gpp",
    ".avi": "video/x-msvideo",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".m4v": "video/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".ogv": "video/ogg",
    ".png": "image/png",
    ".webm": "video/webm",
    ".webp": "image/webp",
}
"""Of videos and images; anything else is sent as bytes, which no browser interprets."""


class NotFoundError(Exception):
    """There is no such prediction, or it has no such file."""

    def __init__(self, message: str = "There is no such prediction; it may have expired.") -> None:
        super().__init__(message)


def error_response(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Returns an error in the form of `views.ErrorView`."""
    body = {"error": {"code": code, "message": message}}
    return JSONResponse(body, status, headers=headers)


def add_error_handlers(app: FastAPI) -> None:
    """Makes every error a response in the form of `views.ErrorView`."""
    retry = {"Retry-After": "5"}

    @app.exception_handler(UploadError)
    async def on_upload(request: Request, error: UploadError) -> JSONResponse:
        return error_response(error.status, error.code, str(error), {"Connection": "close"})

    @app.exception_handler(QueueFullError)
    async def on_full(request: Request, error: QueueFullError) -> JSONResponse:
        message = "As many videos wait as this server accepts. Try again later."
        return error_response(429, "queue_full", message, retry)

    @app.exception_handler(BusyError)
    async def on_busy(request: Request, error: BusyError) -> JSONResponse:
        return error_response(429, "busy", str(error), retry)

    @app.exception_handler(NotFoundError)
    async def on_missing(request: Request, error: NotFoundError) -> JSONResponse:
        return error_response(404, "not_found", str(error))

    @app.exception_handler(ConfigError)
    async def on_options(request: Request, error: ConfigError) -> JSONResponse:
        return error_response(422, "invalid_options", str(error))

    @app.exception_handler(RequestValidationError)
    async def on_validation(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])[:80]
        return error_response(422, "invalid_request", f"Invalid {place}: {first['msg']}.")

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid")
        return error_response(
            error.status_code, code, f"{error.detail}.", dict(error.headers or {})
        )


def attachment(name: str) -> dict[str, str]:
    """Returns the header that makes a browser save a response under a name."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}


def saved_as(job: PredictionJob, ending: str) -> str:
    """Returns the name of a download: that of the video with another ending."""
    return f"{Path(job.name).stem or 'video'}{ending}"


def file_response(path: Path, media_type: str, name: str | None = None) -> FileResponse:
    """Returns a file, of which a client may ask for ranges.

    Raises:
        NotFoundError: it does not exist.
    """
    if not path.is_file():
        raise NotFoundError("There is no such file; the prediction has not ended, or has failed.")
    headers = {} if name is None else attachment(name)
    return FileResponse(path, media_type=media_type, headers=headers)


def csv_response(job: PredictionJob, labels: Sequence[str]) -> StreamingResponse:
    """Returns the rows so far as the csv file that `peclip predict` writes."""

    def lines() -> Iterator[str]:
        text = io.StringIO()
        writer = CsvWriter(text, labels)
        yield text.getvalue()
        for page in job.rows.pages():
            text.seek(0)
            text.truncate()
            for row in page:
                writer.write_cells(json.loads(row))
            yield text.getvalue()

    headers = attachment(saved_as(job, ".csv"))
    return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=headers)


def lines_response(job: PredictionJob) -> StreamingResponse:
    """Returns the rows so far as JSON Lines."""
    pages = (b"".join(row + b"\n" for row in page) for page in job.rows.pages())
    headers = attachment(saved_as(job, ".jsonl"))
    return StreamingResponse(pages, media_type="application/jsonl", headers=headers)


def events_response(job: PredictionJob, jobs: JobStore, start: int) -> StreamingResponse:
    """Returns server-sent events: `rows` with an array of rows, and `state` with the prediction.

    The id of an event is the number of rows so far, so that a client that connects again gets the others only.
    """

    async def events() -> AsyncIterator[str]:
        sent, told = start, ""
        while True:
            final = job.is_final or jobs.closing
            while rows := job.rows.read(sent, _EVENT_ROWS):
                sent += len(rows)
                data = ",".join(row.decode() for row in rows)
                yield f"event: rows\nid: {sent}\ndata: [{data}]\n\n"
            state = json.dumps(about(job))
            if state != told:
                told = state
                yield f"event: state\nid: {sent}\ndata: {state}\n\n"
            if final:
                return
            if not await job.changed(_HEARTBEAT_S):
                yield ": still here\n\n"

    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)
