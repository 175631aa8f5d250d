"""Downloads survive what networks do, against a real server on the loopback that does it on demand."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import random
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import filelock
import http_server
import pytest
from http_server import FakeServer

from peclip.downloads import direct
from peclip.downloads.direct import CHUNK_BYTES, RemoteFile, fetch, open_remote
from peclip.errors import ConfigError, VideoError, WeightsError
from peclip.settings import Settings

BODY = random.Random(0).randbytes(4 * CHUNK_BYTES + 123)
OTHER = random.Random(1).randbytes(len(BODY))
CUT = 2 * CHUNK_BYTES
"""Where connections are cut: whole chunks, so that all that was sent before the cut also arrived."""


@dataclass
class Reply(http_server.Reply):
    """By default the whole body, or the part of it that was asked for."""

    body: Any = BODY
    ranges: bool = True


class Server(FakeServer):
    """Sends the script, and after its end the whole body without a fault."""

    def __init__(self) -> None:
        super().__init__(lambda _: Reply())
        self.url = f"{self.address}/file.bin"

    @property
    def ranges(self) -> list[str | None]:
        return [request.headers.get("Range") for request in self.seen]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    with server.running():
        yield server


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    # Only for our module: the lock waits with the same function, and its waits are not ours.
    monkeypatch.setattr("peclip.downloads.direct.time", SimpleNamespace(sleep=slept.append))
    return slept


@pytest.fixture(autouse=True)
def _quiet_surroundings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pauses: list[float]
) -> None:
    for name in [*os.environ]:
        if name.upper().startswith("PECLIP_") or name.upper() in {"HF_HUB_OFFLINE", "HF_TOKEN"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "*")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))


@pytest.fixture
def settings() -> Settings:
    return Settings(offline=False, http_timeout=5)


@pytest.fixture
def file(server: Server) -> RemoteFile:
    return RemoteFile("model.bin", server.url, hashlib.sha256(BODY).hexdigest())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache folder that does not exist yet, two levels deep."""
    return tmp_path / "cache" / "models"


def put_part(folder: Path, contents: bytes) -> Path:
    folder.mkdir(parents=True)
    part = folder / "model.bin.part"
    part.write_bytes(contents)
    return part


def temporary_files() -> list[str]:
    return os.listdir(tempfile.gettempdir())


# The cache


def test_a_file_is_downloaded_once(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    path = fetch(file, folder, settings=settings)
    assert path == folder / "model.bin"
    assert path.read_bytes() == BODY
    assert not (folder / "model.bin.part").exists()
    assert fetch(file, folder, settings=settings) == path
    assert server.ranges == [None]
    assert server.seen[0].headers["Accept-Encoding"] == "identity"


def test_a_cached_file_needs_no_network_and_is_not_hashed_again(
    server: Server, file: RemoteFile, folder: Path
) -> None:
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"put here by hand")
    path = fetch(file, folder, settings=Settings(offline=True))
    assert path.read_bytes() == b"put here by hand"
    assert server.seen == []


def test_the_checksum_may_be_in_capitals(
    file: RemoteFile, folder: Path, settings: Settings
) -> None:
    capitals = dataclasses.replace(file, sha256=file.sha256.upper())
    assert fetch(capitals, folder, settings=settings).read_bytes() == BODY


def test_offline_names_the_missing_file_its_path_and_the_remedy(
    server: Server, file: RemoteFile, folder: Path
) -> None:
    with pytest.raises(WeightsError) as caught:
        fetch(file, folder, settings=Settings(offline=True))
    message = str(caught.value)
    for part in ("model.bin", str(folder / "model.bin"), server.url, "PECLIP_OFFLINE"):
        assert part in message
    assert server.seen == []
    assert not folder.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "/etc/a", "a\\b", "C:a", "a\0b"])
def test_only_a_plain_name_is_accepted(
    server: Server, file: RemoteFile, folder: Path, settings: Settings, name: str
) -> None:
    with pytest.raises(ConfigError, match="plain file name"):
        fetch(dataclasses.replace(file, name=name), folder, settings=settings)
    assert server.seen == []


def test_a_cache_that_cannot_be_created_gives_the_remedy(
    file: RemoteFile, tmp_path: Path, settings: Settings
) -> None:
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    with pytest.raises(WeightsError, match="PECLIP_CACHE_DIR") as caught:
        fetch(file, tmp_path / "cache", settings=settings)
    assert str(tmp_path / "cache" / "model.bin") in str(caught.value)


def test_a_read_only_cache_gives_the_remedy(
    file: RemoteFile, folder: Path, settings: Settings
) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("needs a user other than root, who may write anywhere")
    try:
        with pytest.raises(WeightsError, match=r"Permission denied.*PECLIP_CACHE_DIR"):
            fetch(file, folder, settings=settings)
    finally:
        folder.chmod(0o700)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk needs Linux's /dev/full")
def test_a_full_disk_gives_the_remedy(file: RemoteFile, folder: Path, settings: Settings) -> None:
    folder.mkdir(parents=True)
    (folder / "model.bin.part").symlink_to("/dev/full")
    with pytest.raises(WeightsError, match=r"No space left.*PECLIP_CACHE_DIR") as caught:
        fetch(file, folder, settings=settings)
    assert str(folder / "model.bin") in str(caught.value)


def test_concurrent_callers_download_once(
    monkeypatch: pytest.MonkeyPatch,
    server: Server,
    file: RemoteFile,
    folder: Path,
    settings: Settings,
) -> None:
    at_the_lock = threading.Semaphore(0)

    class ObservedLock(filelock.FileLock):
        def acquire(self, *args: Any, **kwargs: Any) -> Any:
            at_the_lock.release()
            return super().acquire(*args, **kwargs)

    monkeypatch.setattr(direct, "FileLock", ObservedLock)
    first_asked, respond = threading.Event(), threading.Event()

    def hold() -> None:
        first_asked.set()
        respond.wait(30)

    server.script = [Reply(before=hold)]
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(fetch, file, folder, settings=settings)
        try:
            assert first_asked.wait(30)
            assert at_the_lock.acquire(timeout=30)
            second = threads.submit(fetch, file, folder, settings=settings)
            assert at_the_lock.acquire(timeout=30)
        finally:
            respond.set()
        assert first.result() == second.result()
    assert server.ranges == [None]


# Faults on the way


def test_an_interrupted_download_is_resumed(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    server.script = [Reply(cut_after=CUT)]
    assert fetch(file, folder, settings=settings).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={CUT}-"]
    assert server.sent == [CUT, len(BODY) - CUT]


def test_a_download_that_is_always_interrupted_gives_up_and_keeps_the_partial_file(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    server.script = [Reply(cut_after=CUT), Reply(cut_after=0), Reply(cut_after=0)]
    with pytest.raises(WeightsError, match="the connection was interrupted") as caught:
        fetch(file, folder, settings=settings)
    assert server.url in str(caught.value)
    assert len(server.seen) == 3
    assert not (folder / "model.bin").exists()
    assert (folder / "model.bin.part").read_bytes() == BODY[:CUT]
    fetch(file, folder, settings=settings)
    assert server.ranges[-1] == f"bytes={CUT}-"


def test_a_body_shorter_than_declared_is_requested_again(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    server.script = [Reply(declared=len(BODY) + 10)]
    assert fetch(file, folder, settings=settings).read_bytes() == BODY
    # All of the body is there, yet one that claims more is not trusted: 416, then from the start.
    assert server.ranges[-1] is None


def test_a_body_longer_than_declared_is_refused(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    server.script = [Reply(declared=CUT)]
    assert fetch(file, folder, settings=settings).read_bytes() == BODY
    assert server.ranges == [None, None]


def test_without_a_length_the_known_size_reveals_truncation(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    server.script = [Reply(declared=-1, cut_after=CUT)]
    sized = dataclasses.replace(file, size=len(BODY))
    assert fetch(sized, folder, settings=settings).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={CUT}-"]


def test_wrong_bytes_are_fetched_once_more_and_then_refused(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    server.script = [Reply(body=OTHER), Reply(body=OTHER)]
    with pytest.raises(WeightsError) as caught:
        fetch(file, folder, settings=settings)
    for part in (server.url, file.sha256, hashlib.sha256(OTHER).hexdigest()):
        assert part in str(caught.value)
    assert server.ranges == [None, None]
    assert not (folder / "model.bin").exists()
    assert not (folder / "model.bin.part").exists()


def test_a_corrupt_partial_file_is_downloaded_afresh(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    put_part(folder, b"garbage" * 100)
    assert fetch(file, folder, settings=settings).read_bytes() == BODY
    assert server.ranges == ["bytes=700-", None]


def test_a_partial_download_is_resumed(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    put_part(folder, BODY[:1000])
    assert fetch(file, folder, settings=settings).read_bytes() == BODY
    assert server.sent == [len(BODY) - 1000]


def test_a_partial_file_longer_than_the_file_starts_over(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    put_part(folder, BODY + b"more")
    assert fetch(file, folder, settings=settings).read_bytes() == BODY
    assert server.ranges == [f"bytes={len(BODY) + 4}-", None]


def test_a_server_without_ranges_starts_over(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    server.script = [Reply(cut_after=CUT), Reply(ranges=False)]
    assert fetch(file, folder, settings=settings).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={CUT}-"]


@pytest.mark.parametrize(
    "content_range",
    [
        f"bytes 0-{len(BODY) - 1}/{len(BODY)}",
        f"bytes {CUT}-{len(BODY)}/{len(BODY) + 1}",
        "items 1-2/3",
        "",
    ],
)
def test_an_unrequested_range_starts_over(
    server: Server, file: RemoteFile, folder: Path, settings: Settings, content_range: str
) -> None:
    server.script = [Reply(cut_after=CUT), Reply(headers={"Content-Range": content_range})]
    assert fetch(file, folder, settings=settings).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={CUT}-", None]


def test_a_compressed_response_is_decoded_and_its_length_ignored(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    packed = gzip.compress(BODY)
    assert len(packed) > len(BODY)
    server.script = [Reply(body=packed, headers={"Content-Encoding": "gzip"})]
    assert fetch(file, folder, settings=settings).read_bytes() == BODY
    assert server.ranges == [None]


def test_a_compressed_range_starts_over(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    server.script = [Reply(cut_after=CUT), Reply(headers={"Content-Encoding": "gzip"})]
    assert fetch(file, folder, settings=settings).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={CUT}-", None]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_server_is_retried_after_a_pause(
    server: Server,
    file: RemoteFile,
    folder: Path,
    settings: Settings,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    monkeypatch.setattr(direct, "RETRY_PAUSE_SECONDS", 7.0)
    server.script = [Reply(b"busy", status), Reply(b"busy", status)]
    assert fetch(file, folder, settings=settings).read_bytes() == BODY
    assert pauses == [7, 14]


def test_a_server_that_stays_busy_is_named_with_its_status(
    server: Server, file: RemoteFile, folder: Path, settings: Settings, pauses: list[float]
) -> None:
    server.script = [Reply(b"busy", 503)] * 3
    with pytest.raises(WeightsError, match="503 Service Unavailable"):
        fetch(file, folder, settings=settings)
    assert len(server.seen) == 3
    assert len(pauses) == 2


def test_a_missing_file_is_requested_once(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    server.script = [Reply(b"<html>", 404)]
    with pytest.raises(WeightsError, match="404 Not Found"):
        fetch(file, folder, settings=settings)
    assert len(server.seen) == 1
    assert not (folder / "model.bin.part").exists()


def test_a_redirect_is_followed(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    server.script = [Reply(b"", 302, headers={"Location": "/elsewhere"})]
    assert fetch(file, folder, settings=settings).read_bytes() == BODY


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/file.bin"])
def test_a_redirect_away_from_http_is_refused(
    server: Server, file: RemoteFile, folder: Path, settings: Settings, target: str
) -> None:
    server.script = [Reply(b"", 302, headers={"Location": target})]
    with pytest.raises(WeightsError, match="No connection adapters"):
        fetch(file, folder, settings=settings)
    assert len(server.seen) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/a", "a.mp4", "http:/a", ""])
def test_only_http_addresses_are_accepted(
    file: RemoteFile, folder: Path, settings: Settings, url: str
) -> None:
    with pytest.raises(WeightsError, match="http:// or https://"):
        fetch(dataclasses.replace(file, url=url), folder, settings=settings)


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://127.0.0.1:port/a"])
def test_a_malformed_address_is_a_clear_error(
    folder: Path, file: RemoteFile, settings: Settings, url: str, pauses: list[float]
) -> None:
    with pytest.raises(WeightsError, match="could not be downloaded"):
        fetch(dataclasses.replace(file, url=url), folder, settings=settings)
    assert pauses == []


def test_a_refused_connection_gives_the_system_error(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    server.shutdown()
    server.server_close()  # the port was ours until now, so nothing else listens on it
    with pytest.raises(WeightsError, match=r": Connection refused\. Try again") as caught:
        fetch(file, folder, settings=settings)
    assert "urllib3" not in str(caught.value)


def test_an_unresponsive_server_times_out(server: Server, file: RemoteFile, folder: Path) -> None:
    hung_up = threading.Event()
    server.script = [Reply(before=lambda: hung_up.wait(5)) for _ in range(3)]
    try:
        with pytest.raises(WeightsError, match="PECLIP_HTTP_TIMEOUT"):
            fetch(file, folder, settings=Settings(offline=False, http_timeout=0.05))
    finally:
        hung_up.set()


@pytest.mark.parametrize("declared", [None, -1])
def test_a_file_that_is_too_large_is_stopped_and_removed(
    server: Server, file: RemoteFile, folder: Path, declared: int | None
) -> None:
    put_part(folder, BODY[:10])
    server.script = [Reply(declared=declared, ranges=False)]
    limited = Settings(offline=False, max_download_bytes=CUT)
    heard: list[int] = []
    with pytest.raises(WeightsError, match=f"PECLIP_MAX_DOWNLOAD_BYTES={CUT}"):
        fetch(file, folder, settings=limited, progress=lambda done, total: heard.append(done))
    assert len(server.seen) == 1
    assert not (folder / "model.bin.part").exists()
    # A declared length is believed before the first byte, else the limit is where it stops.
    assert max(heard, default=0) <= (CUT if declared == -1 else 0)


def test_a_file_of_exactly_the_limit_is_accepted(file: RemoteFile, folder: Path) -> None:
    limited = Settings(offline=False, max_download_bytes=len(BODY))
    assert fetch(file, folder, settings=limited).read_bytes() == BODY


def test_progress_counts_all_bytes_over_a_resume(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    server.script = [Reply(cut_after=CUT)]
    heard: list[tuple[int, int | None]] = []
    fetch(file, folder, settings=settings, progress=lambda *counts: heard.append(counts))
    done = [counts[0] for counts in heard]
    assert done == sorted(set(done))
    assert done[-1] == len(BODY)
    assert {total for _, total in heard} == {len(BODY)}


def test_progress_reports_an_unknown_total(
    server: Server, file: RemoteFile, folder: Path, settings: Settings
) -> None:
    server.script = [Reply(declared=-1)]
    heard: list[tuple[int, int | None]] = []
    fetch(file, folder, settings=settings, progress=lambda *counts: heard.append(counts))
    assert heard[-1] == (len(BODY), None)


# Source videos


def test_a_video_exists_inside_the_context_only(server: Server, settings: Settings) -> None:
    with open_remote(server.url, settings=settings, suffix=".mp4") as path:
        assert path.suffix == ".mp4"
        assert path.read_bytes() == BODY
        assert temporary_files() != []
    assert temporary_files() == []


def test_a_video_is_removed_after_an_exception_which_propagates(
    server: Server, settings: Settings
) -> None:
    # An OSError and a connection error of the caller's own are not about our download.
    with (
        pytest.raises(ConnectionError, match=r"^mine$"),
        open_remote(server.url, settings=settings, suffix=".mp4"),
    ):
        raise ConnectionError("mine")
    assert temporary_files() == []


def test_an_interrupted_video_download_is_resumed(server: Server, settings: Settings) -> None:
    tag = {"ETag": '"one"'}
    server.script = [Reply(cut_after=CUT, headers=tag), Reply(headers=tag)]
    with open_remote(server.url, settings=settings, suffix=".mp4") as path:
        assert path.read_bytes() == BODY
    assert server.sent == [CUT, len(BODY) - CUT]
    assert server.seen[1].headers["If-Range"] == '"one"'


def test_a_video_that_changes_between_two_requests_is_not_spliced(
    server: Server, settings: Settings
) -> None:
    server.script = [
        Reply(cut_after=CUT, headers={"ETag": '"one"'}),
        Reply(body=OTHER, headers={"ETag": '"two"'}),
    ]
    with open_remote(server.url, settings=settings, suffix=".mp4") as path:
        assert path.read_bytes() == OTHER


def test_a_weak_etag_is_not_trusted(server: Server, settings: Settings) -> None:
    server.script = [Reply(cut_after=CUT, headers={"ETag": 'W/"one"'})]
    with open_remote(server.url, settings=settings, suffix=".mp4") as path:
        assert path.read_bytes() == BODY
    assert "If-Range" not in server.seen[1].headers


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([Reply(b"", 404)], "404 Not Found"),
        ([Reply(b"", 503)] * 3, "503 Service Unavailable"),
        ([Reply(cut_after=0)] * 3, "the connection was interrupted"),
        ([Reply(body=BODY + BODY)], "PECLIP_MAX_DOWNLOAD_BYTES"),
    ],
)
def test_an_unavailable_video_names_the_reason(
    server: Server, script: list[Reply], reason: str
) -> None:
    server.script = [*script]
    limited = Settings(offline=False, max_download_bytes=len(BODY))
    with (
        pytest.raises(VideoError, match=reason) as caught,
        open_remote(server.url, settings=limited, suffix=".mp4"),
    ):
        pytest.fail("there is no video")
    assert server.url in str(caught.value)
    assert caught.value.exit_code == 3
    assert server.script == []
    assert temporary_files() == []


def test_offline_forbids_a_remote_video(server: Server) -> None:
    with (
        pytest.raises(VideoError, match="PECLIP_OFFLINE") as caught,
        open_remote(server.url, settings=Settings(offline=True), suffix=".mp4"),
    ):
        pytest.fail("there is no video")
    assert server.url in str(caught.value)
    assert server.seen == []


def test_no_temporary_folder_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, server: Server, settings: Settings, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with (
        pytest.raises(VideoError, match="TMPDIR"),
        open_remote(server.url, settings=settings, suffix=".mp4"),
    ):
        pytest.fail("there is no video")


def test_a_deleted_temporary_folder_is_a_clear_error(server: Server, settings: Settings) -> None:
    def sweep() -> None:
        for name in temporary_files():
            shutil.rmtree(Path(tempfile.gettempdir()) / name)

    server.script = [Reply(before=sweep)]
    with (
        pytest.raises(VideoError, match=r"No such file.*TMPDIR"),
        open_remote(server.url, settings=settings, suffix=".mp4"),
    ):
        pytest.fail("there is no video")


def test_a_suffix_cannot_leave_the_temporary_folder(server: Server, settings: Settings) -> None:
    with (
        pytest.raises(ConfigError, match="plain file name"),
        open_remote(server.url, settings=settings, suffix="/../../evil.mp4"),
    ):
        pytest.fail("there is no video")
    assert server.seen == []
