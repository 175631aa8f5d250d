"""Who may use the server, and what a browser may do with its pages."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from peclip.errors import ConfigError
from peclip.serving.metrics import Metrics

COOKIE = "peclip_session"
MIN_TOKEN = 16
"""Characters."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "media-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}

_PAGE = ("app.js", "drawing.js", "icon.svg", "style.css", "uplot.js", "uplot.css")
_OPEN = frozenset({"/", *(f"/{name}" for name in _PAGE)})
_OPEN_TO_ALL = _OPEN | {"/health", "/v1/session"}
"""What needs no token."""


def is_loopback(host: str) -> bool:
    """Returns whether a name or an address is that of this machine only."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_access(host: str, token: str | None) -> None:
    """Checks that nobody on another machine gets in without a token.

    Raises:
        ConfigError: the token is missing or too short.
    """
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host} lets other machines in, which requires a token: set --token or "
            f"PECLIP_SERVE_TOKEN to at least {MIN_TOKEN} characters, or remove --host."
        )
    if token is not None and (len(token) < MIN_TOKEN or not token.isascii() or " " in token):
        raise ConfigError(
            f"The token must have at least {MIN_TOKEN} ASCII characters and no spaces. Create one, for "
            "example, with: openssl rand -hex 16"
        )


@dataclass(frozen=True)
class Access:
    """Decides which requests are accepted.

    Args:
        host: that the server listens on.
        token: that requests must have; `None` for none.
    """

    host: str
    token: str | None = None
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    """The cookie of browsers that have sent the token."""

    def refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Returns the status, code and message of a request that is refused."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_own(host):
            return 400, "unknown_host", "The Host header does not name this server."
        origin = headers.get("origin")
        foreign = origin is not None and origin.lower().partition("//")[2] != host.lower()
        # A link on another site, or on another port, may lead to the page, but not to anything with an effect.
        site = headers.get("sec-fetch-site", "none")
        foreign |= site in ("cross-site", "same-site") and scope["path"] not in _OPEN
        if foreign:
            return 403, "foreign_page", "Pages of other sites may not use this server."
        if self.token is None or scope["path"] in _OPEN_TO_ALL or self._is_known(headers):
            return None
        return 401, "token_required", "Send the token of this server: Authorization: Bearer TOKEN."

    def is_token(self, text: str) -> bool:
        """Returns whether a text is the token; a comparison takes the same time for all texts."""
        return self.token is not None and secrets.compare_digest(
            text.encode("utf-8", "replace"), self.token.encode()
        )

    def _is_own(self, host: str) -> bool:
        # Another name that leads to this machine is that of a page that wants to read from it.
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return self.token is not None or is_loopback(name) or name == self.host.strip("[]").lower()

    def _is_known(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.is_token(given.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and secrets.compare_digest(
            cookie.value.encode("utf-8", "replace"), self.session.encode()
        )


class Guard:
    """Refuses what `Access` refuses, and adds `HEADERS` to every response."""

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics) -> None:
        self._app, self._access, self._metrics = app, access, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                self._metrics.add("peclip_requests_total", labels=f'status="{message["status"]}"')
            await send(message)

        refused = self._access.refusal(scope)
        if refused is not None:
            await _refuse(send_guarded, *refused)
            return
        try:
            await self._app(scope, receive, send_guarded)
        except asyncio.CancelledError:  # by uvicorn, whose log would have a traceback
            if not started:
                await _refuse(send_guarded, 503, "closing", "The server is shutting down.")


async def _refuse(send: Send, status: int, code: str, message: str) -> None:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
