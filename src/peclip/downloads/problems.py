"""Why a request failed, in words for a user: one clause without a full stop."""

from __future__ import annotations

from http.client import BadStatusLine, RemoteDisconnected

import requests
from requests.exceptions import ChunkedEncodingError, ContentDecodingError

from peclip.errors import first_line, quoted


def status_problem(response: requests.Response) -> str:
    """Returns what a server responded with: its status and its reason, which may have any length."""
    return (
        f"the server responded with {response.status_code} {quoted(response.reason or '')}".rstrip()
    )


def response_problem(error: requests.RequestException) -> str:
    """Returns why a response is unusable, without the full stop and the tuples of the libraries."""
    if isinstance(error, ContentDecodingError):
        return "the response is not valid compressed data (Content-Encoding)"
    return first_line(error).rstrip(".")


def connection_problem(error: BaseException) -> str:
    """Returns the system's message ("Connection refused") from under three libraries' wrappers."""
    if isinstance(error, ChunkedEncodingError):
        return "the connection was interrupted"
    if isinstance(error, requests.Timeout):
        return "the server timed out (PECLIP_HTTP_TIMEOUT, in seconds)"
    if isinstance(error, BadStatusLine) and not isinstance(error, RemoteDisconnected):
        return f"the response is not HTTP: {quoted(str(error))!r}"
    below = error.__cause__ or error.__context__
    if isinstance(error, requests.RequestException) or not isinstance(error, OSError):
        return connection_problem(below) if below is not None else first_line(error)
    return quoted(error.strerror or str(error))
