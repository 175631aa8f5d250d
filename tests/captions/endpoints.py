"""A server that plays an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWER = "The lips part and the brows rise, indicating surprise."


@dataclass
class Reply:
    """One answer of the server."""

    body: Any = None
    """Bytes as they are, anything else as JSON; by default a completion with `ANSWER`."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def completion(text: Any = ANSWER) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


class Handler(BaseHTTPRequestHandler):
    """Gives the next reply of the script, and after its end completions."""

    server: Endpoint

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers), json.loads(sent)))
        reply = self.server.script.pop(0) if self.server.script else Reply()
        content = completion() if reply.body is None else reply.body
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


class Endpoint(ThreadingHTTPServer):
    """Remembers what it was asked."""

    daemon_threads = False  # so that closing it waits for them

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Reply] = []
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None: ...  # a client that hangs up
