"""Why a request failed, in words for a user: one clause without a full stop."""

from __future__ import annotations

import requests
from requests.exceptions import ChunkedEncodingError, ContentDecodingError


def response_problem(error: requests.RequestException) -> str:
    """Returns why a response is unusable, without the full stop and the tuples of the libraries."""
    if isinstance(error, ContentDecodingError):
        return "the response is not valid compressed data (Content-Encoding)"
    return str(error).strip().rstrip(".")


def connection_problem(error: BaseException) -> str:
    """Returns the system's message ("Connection refused") from under three libraries' wrappers."""
    if isinstance(error, ChunkedEncodingError):
        return "the connection was interrupted"
    if isinstance(error, requests.Timeout):
        return "the server timed out (PECLIP_HTTP_TIMEOUT, in seconds)"
    below = error.__cause__ or error.__context__
    if isinstance(error, requests.RequestException) or not isinstance(error, OSError):
        return connection_problem(below) if below is not None else str(error)
    return error.strerror or str(error)
