"""Captions from any server with OpenAI's chat completions API: vLLM, llama.cpp, Ollama, hosted ones.

Frames showing people leave the machine, unless the server runs on it.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import requests
from numpy.typing import NDArray

from peclip.captions.prompt import PROMPT
from peclip.downloads.problems import connection_problem, response_problem, status_problem
from peclip.errors import ConfigError, EndpointError, NoCaptionError, quoted
from peclip.settings import Settings
from peclip.text.parsing import parse_json
from peclip.video.frames import Frames

ATTEMPTS = 4
MAX_PAUSE_SECONDS = 60.0
MAX_RESPONSE_BYTES = 1 << 20
"""A caption has a few hundred bytes; a larger response is invalid."""
MAX_SIDE = 512
"""Longer side of a sent frame in pixels: larger frames cost more and show no more of a face."""
JPEG_QUALITY = 90

DEFAULT_OPTIONS: Mapping[str, Any] = {"temperature": 0, "max_tokens": 300}

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_SHOWN = 200


class _TransientError(Exception):
    """A failure that a retry may fix, with the delay that the server requests."""

    def __init__(self, problem: str, pause: float | None = None) -> None:
        super().__init__(problem)
        self.pause = pause


class EndpointCaptioner:
    """A model behind an endpoint.

    Args:
        base_url: ends with `/v1`, as in other clients: `http://localhost:8000/v1`.
        model: its name on the server.
        settings: the key (`PECLIP_CAPTIONS_API_KEY`), the time-outs, whether the network may be used.
        options: additional request fields, such as `temperature` or `max_completion_tokens`.
        wait: called with the number of seconds to wait before a retry.

    Raises:
        ConfigError: the address is invalid.
        EndpointError: peclip is in offline mode and the server is not on this machine.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        settings: Settings,
        options: Mapping[str, Any] = DEFAULT_OPTIONS,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.host = _host(base_url)
        self._url = base_url.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
        if settings.offline and not self.is_local:
            raise EndpointError(
                f"The endpoint {base_url} is not local, and peclip is in offline mode. Unset "
                "PECLIP_OFFLINE and HF_HUB_OFFLINE, or use a server on this machine (localhost)."
            )
        self.name = model
        self._options = options
        self._wait = wait
        self._timeout = (settings.http_timeout, settings.captions_timeout)
        key = settings.captions_api_key
        self._key = None if key is None else key.get_secret_value()

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine, so that no frame leaves it."""
        return self.host in _LOCAL

    def describe(self, frames: Frames) -> str:
        """Returns the model's description of the frames of one video.

        Raises:
            EndpointError: the endpoint is unreachable, rejects the request, or returns no completion.
            NoCaptionError: the completion is empty.
        """
        request = {
            "model": self.name,
            "messages": [{"role": "user", "content": _content(frames)}],
            **self._options,
        }
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._text(self._post(request))
            except _TransientError as error:
                if attempt == ATTEMPTS:
                    raise self._problem(f"{error} (after {ATTEMPTS} attempts)") from error
                self._wait(min(error.pause or 2.0 ** (attempt - 1), MAX_PAUSE_SECONDS))
        raise AssertionError

    def _post(self, request: Mapping[str, Any]) -> bytes:
        try:
            with requests.post(
                self._url,
                json=request,
                auth=self._sign,
                timeout=self._timeout,
                stream=True,
                # A local server is never reached through a proxy of the environment (HTTP_PROXY).
                proxies=_without_proxies() if self.is_local else None,
                allow_redirects=False,  # a redirected POST becomes a GET, and frames go elsewhere
            ) as response:
                body = _bounded(response)
        except requests.ReadTimeout as error:
            raise _TransientError(
                f"no response within {self._timeout[1]:g} s (PECLIP_CAPTIONS_TIMEOUT)"
            ) from error
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise _TransientError(connection_problem(error)) from error
        except requests.RequestException as error:
            raise self._problem(response_problem(error)) from error
        if body is None:
            raise self._problem(f"the response is larger than {MAX_RESPONSE_BYTES:,} bytes")
        self._check_status(response, body)
        return body

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # An explicit function, so that requests does not read ~/.netrc for a password.
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _check_status(self, response: requests.Response, body: bytes) -> None:
        status = response.status_code
        if status == 200:
            return
        said = status_problem(response)
        if status in {408, 409, 425, 429} or status >= 500:
            raise _TransientError(said, _seconds(response.headers.get("Retry-After", "")))
        if status in {401, 403}:
            given = "is not set" if self._key is None else "is invalid"
            raise self._problem(f"{said}: the API key in PECLIP_CAPTIONS_API_KEY {given}")
        if 300 <= status < 400:
            raise self._problem(
                f"{said} and redirected to {quoted(response.headers.get('Location', ''))}"
            )
        raise self._problem(f"{said}: {_excerpt(body)}")

    def _text(self, body: bytes) -> str:
        try:
            reply = parse_json(body)
        except ConfigError:
            raise self._problem(f"the response is not JSON: {_excerpt(body)}") from None
        try:
            text = reply["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise self._problem(
                f"the response has no choices[0].message.content: {_excerpt(body)}"
            ) from None
        if text is not None and not isinstance(text, str):
            raise self._problem(f"the message content is not text: {_excerpt(body)}")
        if text is None or not text.strip():
            raise NoCaptionError(
                f"the model {self.name!r} at {self.host} returned an empty caption; try another model."
            )
        return text.strip()

    def _problem(self, problem: str) -> EndpointError:
        # Some servers quote the key when they reject it.
        hidden = problem if self._key is None else problem.replace(self._key, "…")
        return EndpointError(
            f"The request to {self._url} (model {self.name!r}) failed: {hidden}. Check the URL, "
            "the model and the server. Finished captions are saved; run the same command again "
            "to resume."
        )


def _host(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        host = parts.hostname
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        raise ConfigError(
            f"Invalid endpoint {base_url!r}; use a URL such as http://localhost:8000/v1."
        )
    return host


def _without_proxies() -> Any:
    # A new dict each time, as requests modifies it. None unsets a proxy, but is missing from its types.
    return dict.fromkeys(("http", "https", "all"))


def _content(frames: Frames) -> list[dict[str, Any]]:
    images = [{"type": "image_url", "image_url": {"url": _data_url(p)}} for p in frames.data]
    return [{"type": "text", "text": PROMPT}, *images]


def _data_url(picture: NDArray[np.uint8]) -> str:
    scale = min(1.0, MAX_SIDE / max(picture.shape[:2]))
    smaller = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(smaller, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}"


def _bounded(response: requests.Response) -> bytes | None:
    """Returns the body, or `None` if it is too large."""
    body = bytearray()
    for chunk in response.iter_content(1 << 16):
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            return None
    return bytes(body)


def _seconds(header: str) -> float | None:
    return float(header) if header.isascii() and header.isdecimal() else None


def _excerpt(body: bytes) -> str:
    text = " ".join(body[:2000].decode("utf-8", errors="replace").split())
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
