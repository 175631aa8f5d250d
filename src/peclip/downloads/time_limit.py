"""Limits the total duration of a transfer, which a server could otherwise extend forever, one byte a second.

Socket timeouts restart with every byte. Here, a timer shuts the connections down, regardless of what they
are waiting for: the handshake, the headers or the body.
"""

from __future__ import annotations

import socket
import threading
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter

from peclip.downloads.public_address import pinned


class TimeLimitExceeded(Exception):
    """A transfer exceeded its time limit."""


class TimeLimit:
    """Ends its sessions' requests after a number of seconds; use it in a `with` statement."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._over = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._shut_down)
        self._timer.daemon = True

    def session(self, *, public_only: bool = False) -> requests.Session:
        """Returns a session whose connections are shut down when the time is up; the caller must close it.

        With `public_only`, it connects to public addresses only, without proxies and stored passwords.
        """
        session = requests.Session()
        session.trust_env = not public_only
        for scheme in ("http://", "https://"):
            session.mount(scheme, _LimitedAdapter(self, public_only=public_only))
        return session

    def check(self) -> None:
        """Checks that time is left.

        Raises:
            TimeLimitExceeded: no time is left.
        """
        if self._over:
            raise TimeLimitExceeded(f"it took more than {self.seconds:g} s")

    def watch(self, connection: socket.socket) -> None:
        """Adds a connection to those to be shut down."""
        # A duplicate: TLS takes the descriptor away from the socket that it wraps.
        duplicate = connection.dup()
        with self._lock:
            self._sockets.append(duplicate)
        if self._over:
            self._shut_down()

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        for connection in self._sockets:
            connection.close()

    def _shut_down(self) -> None:
        with self._lock:
            self._over = True
            for connection in self._sockets:
                with suppress(OSError):  # it has ended
                    connection.shutdown(socket.SHUT_RDWR)


class _LimitedAdapter(HTTPAdapter):
    def __init__(self, limit: TimeLimit, *, public_only: bool) -> None:
        self._limit, self._public_only = (
            limit,
            public_only,
        )  # the base class makes its pools at once
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._limit_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        self._limit_pools(manager)
        return manager

    def _limit_pools(self, manager: Any) -> None:
        """Makes the pools of a manager, of whatever classes, watch their connections."""
        limit, public_only = self._limit, self._public_only

        def limited(pool: Any) -> Any:
            def connect(connection: Any) -> socket.socket:
                open_connection = pool.ConnectionCls._new_conn
                with pinned(connection) if public_only else nullcontext():
                    made: socket.socket = open_connection(connection)
                limit.watch(made)
                return made

            watched = type("LimitedConnection", (pool.ConnectionCls,), {"_new_conn": connect})
            return type("LimitedPool", (pool,), {"ConnectionCls": watched})

        manager.pool_classes_by_scheme = {
            scheme: limited(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
        }
