"""Direct downloads over HTTP: verified files for the cache, and temporary source videos.

Model hub files are fetched by the hub's client; this module covers the few files stored elsewhere.
A file in the cache under its final name is complete and verified, because it is moved there only then;
a partial download is `NAME.part`, and a later call resumes it.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import requests
from filelock import FileLock
from requests.exceptions import ChunkedEncodingError

from peclip.downloads.address import LiveStream, is_live, without_password
from peclip.downloads.problems import connection_problem, response_problem, status_problem
from peclip.downloads.public_address import PrivateAddressError
from peclip.downloads.time_limit import TimeLimit, TimeLimitExceeded
from peclip.errors import ConfigError, VideoError, WeightsError, cause, is_bug
from peclip.settings import Settings

ATTEMPTS = 3
RETRY_PAUSE_SECONDS = 1.0
"""The pause before the second request; before the third it is twice as long."""

CHUNK_BYTES = 1 << 16
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")
"""Limited because Python refuses to convert numbers with thousands of digits."""

Progress = Callable[[int, int | None], None]
"""Called with bytes done and total (None: unknown). Bytes done drop when a download starts over."""


@dataclass(frozen=True)
class RemoteFile:
    """A file with a fixed address and checksum; `name` is its file name in the cache."""

    name: str
    url: str
    sha256: str
    size: int | None = None


class _TransferError(Exception):
    """Why a transfer failed, in words for a user; a retry would not help."""


class _TransientError(_TransferError):
    """A failure that a retry may fix."""


def fetch(
    file: RemoteFile, directory: Path, *, settings: Settings, progress: Progress | None = None
) -> Path:
    """Returns the verified file in `directory`, downloading it the first time.

    Raises:
        ConfigError: The name is not a plain file name.
        WeightsError: The file is not cached and cannot be downloaded.
    """
    path = directory / _plain(file.name)
    try:
        if path.is_file():
            return path
        if settings.offline:
            raise WeightsError(
                f"{file.name} is not cached at {path}, and peclip is in offline mode. Unset "
                f"PECLIP_OFFLINE and HF_HUB_OFFLINE to download it once, or download {file.url} "
                "manually and save it there."
            )
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            # The previous holder of the lock may have fetched it.
            if not path.is_file():
                _complete(file, path, settings, progress)
    except _TransferError as error:
        problem = f"{file.name} could not be downloaded from {file.url}: {error}"
        raise WeightsError(
            f"{problem}. Try again, or download the file manually and save it as {path}."
        ) from error
    except OSError as error:
        raise WeightsError(
            f"{file.name} cannot be saved as {path}: {error.strerror or error}. Free up disk "
            "space, or set PECLIP_CACHE_DIR to a writable folder."
        ) from error
    return path


@contextmanager
def open_remote(
    url: str,
    *,
    settings: Settings,
    suffix: str,
    public_only: bool = False,
    progress: Progress | None = None,
) -> Iterator[Path]:
    """Downloads a source video to a temporary file and deletes it at exit.

    The file name ends in `suffix` (".mp4"), which some decoders rely on. With `public_only`, servers in
    private networks are refused, and proxies are not used. An exception of `progress` ends the download.

    Raises:
        ConfigError: The suffix cannot end a file name.
        VideoError: The video cannot be downloaded.
        LiveStream: The server sends an MJPEG stream or an HLS playlist, judging by its media type or the
            extension of the address to which it redirects.
    """
    name = _plain(f"video{suffix}")
    check_online(url, settings)
    try:
        folder = tempfile.TemporaryDirectory(prefix="peclip-", ignore_cleanup_errors=True)
    except OSError as error:
        raise _no_room(url, error) from error
    with folder:
        path = Path(folder.name) / name
        try:
            _Transfer(
                url, path, settings, progress, live_allowed=True, public_only=public_only
            ).run()
        except _TransferError as error:
            problem = f"{without_password(url)} cannot be read: {error}"
            raise VideoError(f"{problem}. Check the URL, or use a local file.") from error
        except OSError as error:
            raise _no_room(url, error) from error
        yield path


def check_online(url: str, settings: Settings) -> None:
    """Checks that sources may be read from the network.

    Raises:
        VideoError: peclip is in offline mode.
    """
    if settings.offline:
        raise VideoError(
            f"{without_password(url)} cannot be read: peclip is in offline mode. Unset PECLIP_OFFLINE and HF_HUB_OFFLINE, "
            "or use a local file."
        )


def _no_room(url: str, error: OSError) -> VideoError:
    return VideoError(
        f"{without_password(url)} cannot be saved to a temporary file: {error.strerror or error}. Free up disk "
        "space, or set TMPDIR to a writable folder."
    )


def _plain(name: str) -> str:
    if name in {"", ".", ".."} or any(character in name for character in "/\\:\0"):
        raise ConfigError(
            f"Invalid download file name {name!r}. Use a plain file name without folders, drive letters or '..'."
        )
    return name


def _complete(file: RemoteFile, path: Path, settings: Settings, progress: Progress | None) -> None:
    part = path.with_name(f"{path.name}.part")
    # Twice, because the first attempt may have resumed an unrelated partial file.
    for _ in range(2):
        _Transfer(file.url, part, settings, progress, total=file.size).run()
        with part.open("rb+") as stream:
            got = hashlib.file_digest(stream, "sha256").hexdigest()
            # Without it, a power cut could leave the final name on bytes that never reached the disk.
            os.fsync(stream.fileno())
        if got == file.sha256.lower():
            os.replace(part, path)
            return
        part.unlink()
    raise _TransferError(f"its SHA-256 checksum is {got}; expected {file.sha256}")


@dataclass
class _Transfer:
    """One download into the file `part`, over as many requests as it takes."""

    url: str
    part: Path
    settings: Settings
    progress: Progress | None = None
    live_allowed: bool = False
    """Whether a live stream raises `LiveStream`."""
    public_only: bool = False
    total: int | None = None
    etag: str | None = None

    def run(self) -> None:
        """Fills `part`. After a failure, a later transfer may resume from it."""
        # str.lower, not urlsplit, which raises on some user input.
        if not self.url.lower().startswith(("http://", "https://")):
            raise _TransferError("the URL must start with http:// or https://")
        with TimeLimit(self.settings.download_timeout) as limit:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    self._request(limit)
                    return
                except _TransientError:
                    if attempt == ATTEMPTS:
                        raise
                time.sleep(RETRY_PAUSE_SECONDS * attempt)

    def _request(self, limit: TimeLimit) -> None:
        offset = self.part.stat().st_size if self.part.exists() else 0
        headers = {
            # With compression, bytes in the file would differ from those counted by Range.
            "Accept-Encoding": "identity",
            "Range": f"bytes={offset}-" if offset else None,  # requests omits None
            "If-Range": self.etag if offset else None,
        }
        timeout = self.settings.http_timeout
        try:
            with (
                limit.session(public_only=self.public_only) as session,
                session.get(self.url, headers=headers, stream=True, timeout=timeout) as response,
            ):
                self._receive(response, self._accept(response, offset))
                limit.check()  # a body without a length ends where the connection does
        except Exception as error:
            self._fail(error, limit)

    def _fail(self, error: Exception, limit: TimeLimit) -> NoReturn:
        """Raises what went wrong; whatever a server makes the libraries raise is a failed transfer."""
        try:
            limit.check()
            raise error
        except (LiveStream, _TransferError):
            raise
        except PrivateAddressError as refused:
            raise _TransferError(str(refused)) from error
        except TimeLimitExceeded as exceeded:
            raise _TransferError(f"{exceeded} (PECLIP_DOWNLOAD_TIMEOUT)") from error
        except (requests.ConnectionError, requests.Timeout, ChunkedEncodingError) as error:
            raise _TransientError(connection_problem(error)) from error
        except requests.RequestException as error:
            raise _TransferError(response_problem(error)) from error
        except Exception as error:
            if isinstance(error, OSError) or is_bug(error):  # the first is of the file written
                raise
            raise _TransferError(cause(error)) from error

    def _accept(self, response: requests.Response, offset: int) -> int:
        """Returns the file offset of this response, and records its total and ETag."""
        status = response.status_code
        problem = status_problem(response)
        plain = response.headers.get("Content-Encoding", "identity") == "identity"
        if status == 200:
            if self.live_allowed and is_live(
                response.url, response.headers.get("Content-Type", "")
            ):
                raise LiveStream
            length = response.headers.get("Content-Length", "")
            self.total = (
                int(length.lstrip("0")[:19] or 0) if plain and length.isdecimal() else self.total
            )
            etag = response.headers.get("ETag", "")
            self.etag = etag if etag.startswith('"') else None  # W/"…" promises no equal bytes
            return 0
        if status == 206:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            total = int(match[2]) if match and match[2] != "*" else self.total
            if match and plain and int(match[1]) == offset and self.total in (None, total):
                self.total = total
                return offset
        if offset and status in (206, 416):
            # The partial file does not match the server's: the next request fetches all of it.
            self.part.unlink()
            raise _TransientError(problem)
        if status in {408, 425, 429} or status >= 500:
            raise _TransientError(problem)
        raise _TransferError(problem)

    def _receive(self, response: requests.Response, done: int) -> None:
        self._bound(self.total or 0)
        with self.part.open("ab" if done else "wb") as stream:
            for chunk in response.iter_content(CHUNK_BYTES):
                done += len(chunk)
                if done > self.settings.max_download_bytes:
                    break
                stream.write(chunk)
                if self.progress is not None:
                    self.progress(done, self.total)
        self._bound(done)
        if self.total is not None and done < self.total:
            raise _TransientError(f"the download ended after {done} of {self.total} bytes")

    def _bound(self, size: int) -> None:
        limit = self.settings.max_download_bytes
        if size > limit:
            self.part.unlink(missing_ok=True)
            raise _TransferError(f"the file is larger than PECLIP_MAX_DOWNLOAD_BYTES={limit}")
