"""A model hub on the loopback that means harm, or that many want something from at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """One repository, whatever its name is asked for."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.commit = self.sha = COMMIT
        """What the headers of a file say, and what the hub says of the repository."""
        self.etag: str | None = None
        """Of all files; by default one per file."""
        self.downloads = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        hub = self.server
        path = unquote(self.path.partition("?")[0]).lstrip("/")
        if path.startswith("api/models/"):
            if "/tree/" in path:
                about: object = [
                    {"type": "file", "path": name, "size": len(content), "oid": COMMIT}
                    for name, content in hub.files.items()
                ]
            else:
                siblings = [{"rfilename": name} for name in hub.files]
                about = {"id": "org/repo", "sha": hub.sha, "siblings": siblings}
            return self.answer(200, json.dumps(about).encode())
        name = path.split("/resolve/", 1)[-1].split("/", 1)[-1]
        content = hub.files.get(name)
        if content is None:
            content = hub.files.get(name.rsplit("/", 1)[-1], b"harm")
        hub.downloads += self.command == "GET"
        etag = hub.etag or f"{abs(hash(content)):064x}"
        return self.answer(200, content, ETag=f'"{etag}"', X_Repo_Commit=hub.commit)

    do_HEAD = do_GET


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Hub]:
    with Hub(files) as hub:
        thread = Thread(target=hub.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()
