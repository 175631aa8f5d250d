"""Requests that nobody with good intentions sends: each gets a clear refusal, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prediction_server import PredictionServer

BOUNDARY = "x"
JOB = "AAAAAAAAAAAAAAAAAAAAAA"

NAMES = [
    *(
        "..",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%2fetc%2fpasswd",
        "..%5c..",
        "%00",
        "%0a",
        "%ff%fe",
    ),
    *(
        "a" * 4000,
        "%F0%9F%98%80",
        "'%20OR%201=1",
        "<script>",
        "%3Cscript%3E",
        "$(id)",
        ";id",
        "|id",
    ),
    *(
        "*",
        "?",
        "%3f",
        "#",
        "~root",
        "C:%5c",
        "CON",
        "-1",
        "0",
        "null",
        "undefined",
        "{id}",
        "%25",
        "+",
    ),
]
"""In the place of the id of a prediction."""

PATHS = [
    *(
        "/../../etc/passwd",
        "//etc/passwd",
        "/page/index.html",
        "/app.py",
        "/%61pp.py",
        "/.git/config",
    ),
    *("/v1", "/v1/", "/v1/predictions/", "/v2/predictions", "/docs", "/redoc", "/static/../api.py"),
    *(
        "/index.html",
        "/uplot.LICENSE",
        "/style.css/../../worker.py",
        "/style.css%2f..%2fapi.py",
        "/%",
    ),
    *(
        "/?" + "a=1&" * 500,
        "/health/..;/metrics",
        "http://example.org/",
        "/v1/frames",
        "/v1/session",
    ),
    *(
        "/" + "a" * 60_000,
        "/" + "/" * 500,
        "/v1/predictions?offset=1",
        "/\u00e4".encode().decode("latin-1"),
    ),
]

HEADERS = [
    ("Host", ""),
    ("Host", "example.org"),
    ("Host", "127.0.0.1.example.org"),
    ("Host", "localhost.evil:80"),
    ("Host", "[::1"),
    ("Host", "169.254.169.254"),
    ("Host", "a" * 5000),
    ("Origin", "https://example.org"),
    ("Origin", "null"),
    ("Origin", "http://127.0.0.1"),
    ("Sec-Fetch-Site", "cross-site"),
]
"""Requests of pages of other sites, and for other hosts, which are refused."""

HARMLESS = [
    ("Cookie", "peclip_session=" + "a" * 5000),
    ("Cookie", "=;=;;\x7f"),
    ("Authorization", "Bearer " + "a" * 5000),
    ("Authorization", "Basic AAAA"),
    ("X-Forwarded-For", "10.0.0.1"),
    ("X-Forwarded-Host", "example.org"),
    ("Range", "bytes=0-,0-,0-,0-"),
    ("Range", "bytes=99999999999999999999-"),
    ("Last-Event-ID", "-1"),
    ("Last-Event-ID", "9" * 5000),
    ("Accept-Encoding", "gzip, \u00e4".encode().decode("latin-1")),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("X-" + "a" * 5000, "b"),
]

OPTIONS = [
    *[("window", value) for value in ("0", "-1", "nan", "inf", "1e999", "x", "[]", "1;2", "\x00")],
    *[("hop", value) for value in ("0", "0.001", "-1", "nan", "9" * 400, "null")],
    *[("start", value) for value in ("-1", "nan", "2e9", "now")],
    *[("end", value) for value in ("0", "-5", "nan")],
    *[("max_people", value) for value in ("0", "-1", "1.5", "many", "9" * 30)],
    *[("min_score", value) for value in ("-0.1", "2", "nan")],
    *[
        (name, "1")
        for name in ("decoder", "batch_size", "captions", "device", "__class__", "", "a" * 3000)
    ],
]

ADDRESSES = [
    *(
        "",
        "file:///etc/passwd",
        "ftp://example.org/a",
        "/etc/passwd",
        "gopher://a",
        "data:video/mp4,a",
    ),
    *(
        "rtsp://127.0.0.1/a",
        "http://",
        "javascript:alert(1)",
        "http://a\nb/",
        "http://\x00/",
        "a" * 3000,
    ),
    *(None, 1, [], {}, True, ["http://127.0.0.1/"]),
]

PRIVATE = [
    *(
        "http://127.0.0.1:1/a.mp4",
        "http://localhost:1/a.mp4",
        "http://[::1]:1/a.mp4",
        "http://0.0.0.0:1/a",
    ),
    *(
        "http://10.0.0.1/a.mp4",
        "http://192.168.0.1/a",
        "http://172.16.0.1/a",
        "http://169.254.169.254/",
    ),
    *("http://2130706433/a", "http://0x7f.1/a", "http://127.1/a", "http://[::ffff:127.0.0.1]/a"),
    *(
        "http://[fe80::1]/a",
        "http://[fc00::1]/a",
        "http://[64:ff9b::7f00:1]/a",
        "http://100.64.0.1/a",
    ),
]

BODIES = [
    ("multipart/form-data", b""),
    ("multipart/form-data; boundary=", b"--\r\n"),
    ("multipart/form-data; boundary=" + "b" * 1000, b"--x\r\n"),
    ("multipart/form-data; boundary=x", b""),
    ("multipart/form-data; boundary=x", b"garbage"),
    ("multipart/form-data; boundary=x", b"--x--\r\n"),
    (
        "multipart/form-data; boundary=x",
        b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\nabc",
    ),
    ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 5000 + b"\r\n\r\n--x--\r\n"),
    ("multipart/form-data; boundary=x", b"--x\r\nA: " + b"b" * 100_000 + b"\r\n\r\n\r\n--x--\r\n"),
    ("multipart/form-data; boundary=x", b"--x\r\n\r\nabc\r\n--x--\r\n"),
    (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 100,
    ),
    ("application/json", b""),
    ("application/json", b"{"),
    ("application/json", b"[1]"),
    ("application/json", b"null"),
    ("application/json", b"[" * 10_000),
    ("application/json", b'{"address": "' + b"a" * 100_000 + b'"}'),
    ("application/json", b'{"a": 1}'),
    ("application/json", b"\xff\xfe"),
    ("application/x-www-form-urlencoded", b"file=a"),
    ("video/mp4", b""),
]


def raw(server: PredictionServer, data: bytes, *, end: bool = False) -> bytes:
    """Sends bytes, and returns everything that comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        try:
            connection.sendall(data)
            if end:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        found = b""
        try:
            while piece := connection.recv(65_536):
                found += piece
        except ConnectionResetError:
            pass
        return found


def request(server: PredictionServer, method: str, path: str, *headers: tuple[str, str]) -> bytes:
    """Sends a request, as it is, without what a client library would correct."""
    given = dict(headers)
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"Host: 127.0.0.1:{server.port}"] if "Host" not in given else []
    lines += [f"{name}: {value}" for name, value in headers]
    lines += ["Connection: close"] if "Connection" not in given else []
    return raw(server, "\r\n".join([*lines, "", ""]).encode("latin-1"))


def status_of(response: bytes) -> int:
    assert response.startswith(b"HTTP/1.1 "), response[:200]
    return int(response.split(b" ", 2)[1])


@pytest.fixture(autouse=True)
def nothing_left(server: PredictionServer, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Neither a file of the request nor a traceback of the server or its worker process."""
    before = {*os.listdir(server.service.folder)}
    yield
    for job in server.service.jobs:
        server.client.delete(f"/v1/predictions/{job.id}")
    # The server may still be ending a request whose client has left; while it answers others, it goes on.
    answered = (server.client.get("/health") for _ in range(500))
    assert any({*os.listdir(server.service.folder)} <= before for _ in answered)
    told = capfd.readouterr()
    assert "Traceback" not in told.out + told.err


def refused(response: bytes, *statuses: int) -> None:
    assert status_of(response) in statuses, response[:300]
    assert b"Traceback" not in response
    assert b"/site-packages/" not in response
    assert b"peclip-serve-" not in response


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("method", "end"), [("GET", ""), ("DELETE", ""), ("GET", "/video"), ("GET", "/people/0.png")]
)
def test_ids(server: PredictionServer, name: str, method: str, end: str) -> None:
    refused(request(server, method, f"/v1/predictions/{name}{end}"), 400, 404, 405)


@pytest.mark.parametrize("path", PATHS)
def test_paths(server: PredictionServer, path: str) -> None:
    response = request(server, "GET", path)
    if path.startswith("/?"):
        assert status_of(response) == 200
    else:
        refused(response, 400, 404, 405, 431)
        assert b"root:" not in response


@pytest.mark.parametrize(
    "method", ["PUT", "PATCH", "TRACE", "CONNECT", "OPTIONS", "GE T", "", "\x00"]
)
def test_methods(server: PredictionServer, method: str) -> None:
    refused(request(server, method, "/v1/predictions"), 400, 404, 405)


@pytest.mark.parametrize("header", HEADERS, ids=str)
def test_requests_of_other_sites(server: PredictionServer, header: tuple[str, str]) -> None:
    for path in ("/v1/models", "/metrics"):
        refused(request(server, "GET", path, header), 400, 403)


@pytest.mark.parametrize(
    "header", HARMLESS, ids=lambda header: f"{header[0][:20]}={header[1][:20]!r}"
)
def test_strange_headers(server: PredictionServer, header: tuple[str, str]) -> None:
    response = request(
        server, "GET", "/health", header, *[("Connection", "close")][: header[0] != "Connection"]
    )
    refused(response, 200, 400)


@pytest.mark.parametrize(("name", "value"), OPTIONS, ids=lambda text: repr(text)[:30])
def test_options(server: PredictionServer, video: bytes, name: str, value: str) -> None:
    response = server.client.post(
        "/v1/predictions", files={"file": ("a.mp4", video)}, data={name: value}
    )
    assert response.status_code == 422, response.text
    assert "\n" not in response.json()["error"]["message"]


@pytest.mark.parametrize("address", ADDRESSES, ids=lambda address: repr(address)[:30])
def test_addresses(server: PredictionServer, address: object) -> None:
    response = server.client.post("/v1/predictions", json={"address": address})
    if response.status_code == 202:  # it is one that only its download finds invalid
        assert server.wait(response.json()["id"])["state"] == "failed"
    else:
        assert response.status_code in (400, 422)


@pytest.mark.parametrize(("kind", "body"), BODIES, ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize("path", ["/v1/predictions", "/v1/frames"])
def test_bodies(server: PredictionServer, path: str, kind: str, body: bytes) -> None:
    response = server.client.post(path, content=body, headers={"Content-Type": kind})
    assert response.status_code in (400, 413, 415, 422), response.text
    assert set(response.json()["error"]) == {"code", "message"}


@pytest.mark.parametrize("form", [True, False])
def test_a_body_above_the_limit_ends_where_it_is_exceeded(
    server: PredictionServer, form: bool
) -> None:
    """Neither its length nor its end is announced, so only counting finds it."""
    kind = "multipart/form-data; boundary=x" if form else "video/mp4"
    start = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        if form
        else b""
    )
    head = (
        f"POST /v1/predictions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: {kind}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    ).encode()
    piece = start + b"a" * 300_000
    chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
    refused(raw(server, head + chunk * 5), 413)


@pytest.mark.parametrize("length", ["2000000000", "99999999999999999999", "-1", "1e3", "0x10", "a"])
def test_lengths(server: PredictionServer, length: str) -> None:
    header = ("Content-Length", length)
    refused(request(server, "POST", "/v1/predictions", header), 400, 413)


@pytest.mark.parametrize(
    "kind", ["video/mp4", "multipart/form-data; boundary=x", "application/json"]
)
def test_bodies_that_pause(server: PredictionServer, kind: str) -> None:
    headers = (("Content-Type", kind), ("Content-Length", "1000"))
    refused(request(server, "POST", "/v1/predictions", *headers), 408)


@pytest.mark.parametrize("kind", ["video/mp4", "multipart/form-data; boundary=x"])
def test_bodies_that_end_early(server: PredictionServer, kind: str) -> None:
    head = (
        f"POST /v1/predictions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: {kind}\r\n"
        "Content-Length: 1000\r\n\r\nabc"
    )
    response = raw(server, head.encode(), end=True)
    assert not response or status_of(response) in (400, 408)


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b"\x00" * 100,
            b"GET",
            b"GET / HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA",
        ),
        *(b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"),
        *(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"A: b\r\n" * 20_000),
    ],
    ids=lambda data: repr(data[:30]),
)
def test_connections_that_send_no_request(server: PredictionServer, data: bytes) -> None:
    response = raw(server, data)  # ends, because the server closes it
    assert not response or status_of(response) in (400, 431)


def test_private_addresses_are_all_refused_alike(server: PredictionServer) -> None:
    """In one request after the other, because the queue is short."""
    from peclip.downloads.public_address import PrivateAddressError, public_address

    for address in PRIVATE:
        host = address.split("/")[2]
        name = host.strip("[]") if host.endswith("]") else host.rsplit(":", 1)[0].strip("[]")
        with pytest.raises(PrivateAddressError):
            public_address(name, 80)


def test_what_was_refused_is_counted(server: PredictionServer) -> None:
    assert 'peclip_requests_total{status="404"}' in server.client.get("/metrics").text


def test_the_number_of_hostile_requests() -> None:
    single = [PATHS, HEADERS, HARMLESS, OPTIONS, ADDRESSES, BODIES, BODIES, PRIVATE]
    assert len(NAMES) * 4 + sum(len(cases) for cases in single) >= 200


def test_the_folder_of_the_server_is_private(server: PredictionServer) -> None:
    assert Path(server.service.folder).stat().st_mode & 0o077 == 0


def test_a_response_of_json_is_not_interpreted_as_a_page(server: PredictionServer) -> None:
    response = server.client.post("/v1/predictions", json={"<script>alert(1)</script>": 1})
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert json.loads(response.text)["error"]["code"] == "no_video"
