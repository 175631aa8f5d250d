"""Runs the server until it is interrupted."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from peclip.errors import ConfigError
from peclip.serving.api import create_app
from peclip.serving.security import Access
from peclip.serving.service import Service

MAX_CONNECTIONS = 256
_CLOSE_S = 3
"""For requests to end after an interruption."""


class PatientProtocol(H11Protocol):
    """Closes connections that do not complete a request line and headers in time, which uvicorn does not."""

    header_s = 15.0

    def connection_made(self, transport: Any) -> None:
        """Starts the clock."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._look()

    def on_response_complete(self) -> None:
        """Starts the clock again."""
        super().on_response_complete()
        self._idle_since = self.loop.time()

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.loop.time() - self._idle_since >= self.header_s:
            self.transport.close()
            return
        self.loop.call_later(self.header_s / 2, self._look)


class Server(uvicorn.Server):
    """A server that ends quietly when it is interrupted, and deletes its files.

    Args:
        config: of uvicorn.
        on_exit: called when it is interrupted.
    """

    def __init__(self, config: uvicorn.Config, on_exit: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_exit = on_exit
        self.on_start: Callable[[], object] = lambda: None
        """Called when it accepts requests and handles signals."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to accept requests."""
        await super().startup(sockets)
        self.on_start()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles signals while the block runs; uvicorn would raise them again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Ends the server; a second signal does not wait for its requests."""
        super().handle_exit(sig, frame)
        self._on_exit()


def new_server(app: FastAPI, service: Service, host: str, port: int) -> Server:
    """Returns a server for an application."""
    protocol = type("Protocol", (PatientProtocol,), {"header_s": service.timeouts.headers})
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        lifespan="off",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=_CLOSE_S,
        proxy_headers=False,
    )
    loop = asyncio.get_running_loop()
    return Server(config, lambda: loop.call_soon_threadsafe(service.jobs.close))


async def serve(
    service: Service, access: Access, *, port: int, on_start: Callable[[str], None]
) -> None:
    """Loads the model and serves until SIGINT or SIGTERM.

    Args:
        service: the state of the server.
        access: the host to listen on, and who may use the server.
        port: to listen on; 0 for any.
        on_start: called with the address when the server accepts requests.

    Raises:
        UserError: the model cannot be loaded, or the port is taken.
    """
    _log_to_root()
    _check_port(access.host, port)  # before the model is loaded, which takes seconds
    async with service.running():
        server = new_server(create_app(service, access), service, access.host, port)
        try:
            sockets = [server.config.bind_socket()]
        except SystemExit:
            raise _unusable(access.host, port) from None
        name = f"[{access.host}]" if ":" in access.host else access.host
        port = sockets[0].getsockname()[1]
        server.on_start = lambda: on_start(f"http://{name}:{port}/")
        await server.serve(sockets=sockets)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does
        try:
            probe.bind((host, port))
        except OSError:
            raise _unusable(host, port) from None


def _unusable(host: str, port: int) -> ConfigError:
    return ConfigError(
        f"Port {port} of {host} cannot be used. Choose another one with --port, or stop the program "
        "that uses it."
    )


def _log_to_root() -> None:
    """Lets uvicorn write its errors only where peclip writes its own."""
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.ERROR)
