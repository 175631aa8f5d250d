"""Receives bodies: a file goes to the disk as it arrives, within limits of size and time."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import python_multipart.multipart as multipart
from starlette.requests import ClientDisconnect, Request

from peclip.serving.jobs import SOURCE
from peclip.serving.limits import Timeouts
from peclip.video.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES

_FIELD_BYTES = 4096
_FIELDS = 32
_JSON_BYTES = 16_384
_NAME_LENGTH = 120
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069/\\]")


_CALLBACKS = (
    *("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end"),
    *("headers_finished", "end"),
)


class UploadError(Exception):
    """A body is refused.

    Args:
        status: of the response.
        code: for programs.
        message: for people.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass
class Upload:
    """What was received."""

    path: Path | None = None
    name: str = "video"
    size: int = 0
    fields: dict[str, Any] = field(default_factory=dict)


def plain_name(text: str) -> str:
    """Returns the last part of a file name, without characters that a terminal or a header could interpret."""
    last = text.replace("\\", "/").rsplit("/", 1)[-1].encode("utf-8", "replace").decode("utf-8")
    found = _UNSAFE.sub("", last).strip()
    return found[-_NAME_LENGTH:] if found.strip(".") else "video"


def suffix_of(name: str) -> str:
    """Returns the suffix of a file name if it is that of a video or an image, and otherwise nothing."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in VIDEO_SUFFIXES | IMAGE_SUFFIXES else ""


async def receive(
    request: Request, folder: Path, *, max_bytes: int, timeouts: Timeouts, default: str = "video"
) -> Upload:
    """Receives a file and fields: multipart/form-data, JSON, or the bytes of the file alone.

    Args:
        request: with the body.
        folder: in which the file is written.
        max_bytes: of the file.
        timeouts: for the body.
        default: name of a file that has none.

    Raises:
        UploadError: the body is too large, too slow, or invalid, or cannot be stored.
    """
    kind, options = multipart.parse_options_header(request.headers.get("content-type", ""))
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:19]) > max_bytes + 2**20:
        raise _too_large(max_bytes)
    body = _timed(request, timeouts)
    try:
        if kind == b"application/json":
            return await _json(body)
        if kind == b"multipart/form-data":
            form = _Form(folder, max_bytes, default)
            return await form.read(body, options.get(b"boundary", b""))
        if kind == b"application/x-www-form-urlencoded":
            raise UploadError(
                415, "unsupported_type", "Send multipart/form-data, JSON or the bytes of a file."
            )
        return await _bytes(body, request, folder, max_bytes, default)
    except ClientDisconnect:
        raise UploadError(400, "incomplete", "The body ended early.") from None
    except OSError as error:
        problem = f"The server cannot store the body: {error.strerror or error}"
        raise UploadError(507, "no_space", f"{problem}. Free up disk space there.") from None


async def _timed(request: Request, timeouts: Timeouts) -> AsyncIterator[bytes]:
    """Yields the pieces of a body."""
    end = time.monotonic() + timeouts.body
    stream = request.stream()
    while True:
        left = min(timeouts.body_pause, end - time.monotonic())
        try:
            async with asyncio.timeout(max(0.0, left)):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise UploadError(
                408, "timeout", "The body arrived too slowly. Send it again without pauses."
            ) from None
        yield piece


async def _json(body: AsyncIterator[bytes]) -> Upload:
    text = b""
    async for piece in body:
        text += piece
        if len(text) > _JSON_BYTES:
            raise _too_large(_JSON_BYTES)
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise UploadError(400, "invalid_json", "The body is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise UploadError(400, "invalid_json", "The body must be a JSON object.")
    return Upload(fields=fields)


async def _bytes(
    body: AsyncIterator[bytes], request: Request, folder: Path, max_bytes: int, default: str
) -> Upload:
    fields: dict[str, Any] = dict(request.query_params)
    name = plain_name(str(fields.pop("name", default)))
    upload = Upload(folder / f"{SOURCE}{suffix_of(name)}", name, fields=fields)
    assert upload.path is not None
    with upload.path.open("wb") as stream:
        async for piece in body:
            upload.size += len(piece)
            if upload.size > max_bytes:
                raise _too_large(max_bytes)
            await asyncio.to_thread(stream.write, piece)
    if not upload.size:
        raise UploadError(400, "empty", "The body is empty. Send a video.")
    return upload


def _too_large(limit: int) -> UploadError:
    return UploadError(
        413, "too_large", f"The body is larger than {limit:,} bytes, the limit of this server."
    )


class _Form:
    """Parses multipart/form-data; the part `file` is the file, and others are fields."""

    def __init__(self, folder: Path, max_bytes: int, default: str) -> None:
        self._folder, self._max_bytes, self._default = folder, max_bytes, default
        self._upload = Upload()
        self._header = [bytearray(), bytearray()]
        self._disposition = b""
        self._field: str | None = None
        self._value = bytearray()
        self._stream: IO[bytes] | None = None
        self._complete = False

    async def read(self, body: AsyncIterator[bytes], boundary: bytes) -> Upload:
        """Returns what the body holds."""
        if not boundary:
            raise self._invalid("it has no boundary")
        callbacks: Any = {f"on_{name}": getattr(self, f"_{name}") for name in _CALLBACKS}
        try:
            parser = multipart.MultipartParser(boundary, callbacks)
            async for piece in body:
                # Not in the event loop, since it writes to the disk.
                await asyncio.to_thread(parser.write, piece)
        except ValueError as error:
            raise self._invalid(type(error).__name__) from None
        finally:
            if self._stream is not None:
                self._stream.close()
        if not self._complete:
            raise self._invalid("it ends early")
        return self._upload

    def _part_begin(self) -> None:
        self._header = [bytearray(), bytearray()]
        self._disposition, self._field, self._value = b"", None, bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _header_end(self) -> None:
        if bytes(self._header[0]).lower() == b"content-disposition":
            self._disposition = bytes(self._header[1])
        self._header = [bytearray(), bytearray()]

    def _headers_finished(self) -> None:
        _, options = multipart.parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if self._field != "file":
            return
        if self._upload.path is not None:
            raise UploadError(400, "several_files", "Send one file per request.")
        given = options.get(b"filename", b"").decode("utf-8", "replace")
        name = plain_name(given or self._default)
        self._upload.name = name
        self._upload.path = self._folder / f"{SOURCE}{suffix_of(name)}"
        self._stream = self._upload.path.open("wb")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field == "file":
            assert self._stream is not None
            self._upload.size += end - start
            if self._upload.size > self._max_bytes:
                raise _too_large(self._max_bytes)
            self._stream.write(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > _FIELD_BYTES:
            raise _too_large(_FIELD_BYTES)

    def _part_end(self) -> None:
        if self._field == "file":
            return
        if len(self._upload.fields) >= _FIELDS:
            raise self._invalid(f"it has more than {_FIELDS} fields")
        self._upload.fields[self._field or ""] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._complete = True

    @staticmethod
    def _invalid(reason: str) -> UploadError:
        message = f"The body is not valid multipart/form-data: {reason}."
        return UploadError(400, "invalid_form", message)
