"""Who gets in: hosts, pages of other sites, tokens; and addresses that the server may fetch."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from command_line import Output, refused
from http_server import FakeServer, Reply

from peclip.downloads import public_address as module
from peclip.downloads.direct import open_remote
from peclip.downloads.public_address import PrivateAddressError, is_public, public_address
from peclip.errors import ConfigError, VideoError
from peclip.serving.security import Access, check_access
from peclip.serving.uploads import plain_name, suffix_of
from peclip.serving.worker_files import fetch
from peclip.settings import load_settings

TOKEN = "0123456789abcdef"


def scope(path: str = "/v1/models", **headers: str) -> dict[str, Any]:
    given = {"host": "127.0.0.1:8000", **{key.replace("_", "-"): v for key, v in headers.items()}}
    pairs = [(key.encode(), value.encode()) for key, value in given.items()]
    return {"type": "http", "path": path, "headers": pairs}


def status(access: Access, **values: str) -> int:
    found = access.refusal(scope(**values))
    return 200 if found is None else found[0]


def test_another_host_requires_a_token() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
        check_access(host, None)
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.org"):
        with pytest.raises(ConfigError, match="--token"):
            check_access(host, None)
        check_access(host, TOKEN)
    for token in ("", "short", "0123456789 abcdef", "0123456789abcdeé"):
        with pytest.raises(ConfigError, match="16 ASCII characters"):
            check_access("127.0.0.1", token)


def test_the_command_refuses_before_it_loads_a_model(capsys: Output) -> None:
    assert "--token" in refused(capsys, "serve", "--host", "0.0.0.0", "-m", "no such model")
    assert "max_upload" in refused(capsys, "serve", "--max-upload", "0")


def test_a_name_that_leads_to_this_machine_is_refused() -> None:
    access = Access("127.0.0.1")
    for host in ("127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000"):
        assert status(access, host=host) == 200
    for host in ("evil.example:8000", "127.0.0.1.evil.example", "", "127.0.0.1@evil.example"):
        assert status(access, host=host) == 400
    assert (
        status(Access("0.0.0.0", TOKEN), host="lab.example", authorization=f"Bearer {TOKEN}") == 200
    )


def test_pages_of_other_sites_are_refused() -> None:
    access = Access("127.0.0.1")
    assert status(access, origin="http://127.0.0.1:8000") == 200
    for origin in (
        "http://localhost:8000",
        "http://127.0.0.1:9000",
        "null",
        "https://evil.example",
    ):
        assert status(access, origin=origin) == 403
    assert status(access, sec_fetch_site="same-origin") == 200
    for site in ("cross-site", "same-site"):  # another port of this machine is the same site
        assert status(access, sec_fetch_site=site) == 403
    assert status(access, path="/", sec_fetch_site="cross-site") == 200  # a link to the page


def test_a_token_or_its_cookie_is_needed_for_all_but_the_page() -> None:
    access = Access("0.0.0.0", TOKEN)
    assert status(access) == 401
    for value in (f"Bearer {TOKEN}", f"bearer {TOKEN}"):
        assert status(access, authorization=value) == 200
    for value in ("Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer é"):
        assert status(access, authorization=value) == 401
    assert status(access, cookie=f"peclip_session={access.session}") == 200
    for cookie in (f"peclip_session={TOKEN}", "peclip_session=", f"other={access.session}"):
        assert status(access, cookie=cookie) == 401
    for path in ("/", "/app.js", "/health", "/v1/session"):
        assert status(access, path=path) == 200
    for path in ("/metrics", "/openapi.json", "/v1/frames", "/app.js/../metrics"):
        assert status(access, path=path) == 401


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *[(name, True) for name in ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808")],
        *[
            (name, False)
            for name in ("127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.0.1", "0.0.0.0")
        ],
        *[
            (name, False)
            for name in ("169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255")
        ],
        *[
            (name, False)
            for name in ("::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1")
        ],
        *[(name, False) for name in ("64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:a00:1::")],
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_a_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [["8.8.8.8"], ["8.8.8.8", "10.0.0.1"]]

    def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in answers.pop(0)]

    monkeypatch.setattr(module.socket, "getaddrinfo", resolve)
    assert public_address("example.org", 80) == "8.8.8.8"
    with pytest.raises(PrivateAddressError, match=r"example\.org"):
        public_address("example.org", 80)


def test_the_checked_address_is_the_one_connected_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A name server that sends another address the second time (DNS rebinding) is not asked again."""
    monkeypatch.delenv("PECLIP_OFFLINE")
    other = FakeServer(lambda request: Reply(b"video"))
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, *rest: Any, **options: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if host == "example.invalid" else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(module, "is_public", lambda address: True)
    with other.running():
        url = f"http://example.invalid:{other.server_port}/a.mp4"
        path = fetch(url, tmp_path, max_bytes=100, seconds=10, allow_private=False)
        assert path.read_bytes() == b"video"
        assert asked.count("example.invalid") == 1
        assert other.seen[0].headers["Host"] == f"example.invalid:{other.server_port}"


def test_private_servers_and_redirects_to_them_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PECLIP_OFFLINE")
    other = FakeServer(lambda request: Reply(b"secret"))
    with other.running():
        url = f"{other.address}/a.mp4"
        for proxy in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY"):  # it would connect on our behalf
            monkeypatch.setenv(proxy, other.address)
        with pytest.raises(VideoError, match="not an address on the public network"):
            fetch(url, tmp_path, max_bytes=100, seconds=10, allow_private=False)
        assert not other.seen
        for proxy in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(proxy)
        assert fetch(url, tmp_path, max_bytes=100, seconds=10, allow_private=True).read_bytes()
        # The first server counts as public, and the one that it redirects to does not.
        target = f"http://localhost:{other.server_port}/b.mp4"
        other.respond = lambda request: Reply(status=302, headers={"Location": target})
        monkeypatch.setattr(module, "is_public", lambda address: not other.seen)
        other.seen.clear()
        with pytest.raises(VideoError, match="localhost is not an address"):
            fetch(url, tmp_path, max_bytes=100, seconds=10, allow_private=False)
        assert [one.path for one in other.seen] == ["/a.mp4"]


def test_a_download_is_bounded_and_live_streams_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PECLIP_OFFLINE")
    other = FakeServer(lambda request: Reply(b"a" * 101))
    with other.running():
        for path, message in (("/a.mp4", "larger"), ("/a.m3u8", "live stream")):
            with pytest.raises(VideoError, match=message):
                fetch(
                    f"{other.address}{path}", tmp_path, max_bytes=100, seconds=9, allow_private=True
                )
        other.respond = lambda request: Reply(
            b"", headers={"Content-Type": "multipart/x-mixed-replace; boundary=a"}
        )
        with pytest.raises(VideoError, match="live stream"):
            fetch(f"{other.address}/a", tmp_path, max_bytes=100, seconds=9, allow_private=True)
    assert not [*tmp_path.iterdir()]


def test_other_downloads_still_reach_private_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PECLIP_OFFLINE")
    other = FakeServer(lambda request: Reply(b"video"))
    with other.running(), open_remote(other.address, settings=load_settings(), suffix="") as path:
        assert path.read_bytes() == b"video"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a.mp4", "a.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\videos\\b.mp4", "b.mp4"),
        ("", "video"),
        ("..", "video"),
        ("a\r\nSet-Cookie: b.mp4", "aSet-Cookie: b.mp4"),
        ("é\u202egpj.mp4", "égpj.mp4"),
        ("a\udcff.mp4", "a?.mp4"),
        ("x" * 500 + ".mp4", "x" * 116 + ".mp4"),
    ],
)
def test_names_of_uploads(given: str, name: str) -> None:
    assert plain_name(given) == name


def test_suffixes_of_uploads() -> None:
    assert [suffix_of(name) for name in ("a.MP4", "a.html", "a", "a.mp4.exe", ".webm")] == [
        *(".mp4", "", "", "", ""),
    ]
