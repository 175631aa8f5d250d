"""The model hub: downloading and uploading repositories.

huggingface_hub is imported on use, because an embedded model and one in a folder do not need it.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peclip.errors import ConfigError, WeightsError, first_line
from peclip.settings import Settings, load_settings

_NAMES = re.compile(r'"(sha|oid)"\s*:\s*"((?:[^"\\]|\\.)*)"')
"""JSON keys of commits and blobs."""

_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
"""What the cache's file system answers, not the hub."""


def hub_cache(settings: Settings) -> Path | None:
    """Where hub files are kept: `HF_HOME` and `HF_HUB_CACHE` if the user set one, else our cache."""
    if any(os.environ.get(name) for name in ("HF_HOME", "HF_HUB_CACHE")):
        return None
    return settings.cache_dir / "hub"


def download_repository(
    repo: str,
    revision: str | None,
    files: Sequence[str],
    settings: Settings,
    *,
    advice: str | None = None,
) -> Path:
    """Returns the local folder of a hub repository, downloaded if it has to be.

    `advice` says how to download it; by default, as a model of peclip.

    Raises:
        ConfigError: the repository ID is invalid.
        WeightsError: it does not exist, or is not cached and cannot be downloaded.
    """
    from huggingface_hub import errors, snapshot_download

    try:
        with checked_responses():
            folder = snapshot_download(
                repo,
                revision=revision,
                allow_patterns=list(files),
                cache_dir=hub_cache(settings),
                token=_token(settings),
                local_files_only=settings.offline,
                etag_timeout=settings.http_timeout,
            )
    except WeightsError:
        raise
    except errors.HFValidationError:
        raise ConfigError(
            f"{repo!r} is not a valid repository ID; use owner/name[@revision]."
        ) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise WeightsError(
            f"The hub has no repository {repo!r}{f' at {revision!r}' if revision else ''}, or it "
            "is private. Check the name; for a private repository, set HF_TOKEN to an access "
            "token."
        ) from None
    except Exception as error:  # the client's connection errors share no narrower base class
        raise _not_downloaded(repo, error, settings, advice) from error
    return Path(folder)


def _not_downloaded(
    repo: str, error: Exception, settings: Settings, advice: str | None
) -> WeightsError:
    cache = str(hub_cache(settings) or "of HF_HOME")
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        return WeightsError(
            f"{repo!r} cannot be saved in the cache {cache!r}: {error.strerror}. Free up disk "
            "space, or set PECLIP_CACHE_DIR to a writable folder."
        )
    reason = f"the hub cannot be reached ({first_line(error)})"
    state = "peclip is in offline mode" if settings.offline else reason
    return WeightsError(
        f"{repo!r} is not in the cache {cache!r}, and {state}. "
        f"{advice or f'Once online, download it with: peclip models download {repo}'}"
    )


@contextmanager
def checked_responses() -> Iterator[None]:
    """Rejects hub responses with files that are too large, or names that escape the cache.

    The client turns those names into paths. Its warnings are not shown: they are of errors that it
    ignores, and one that it does not ignore is raised.
    """
    from huggingface_hub import get_session
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity

    limit = load_settings().max_download_bytes

    def check(response: Any) -> None:
        _check_size(response, limit)
        _check_response(response)

    session: Any = get_session()
    hooks, verbosity = session.event_hooks, get_verbosity()
    set_verbosity(logging.ERROR)
    session.event_hooks = hooks | {"response": [*hooks["response"], check]}
    try:
        yield
    finally:
        session.event_hooks = hooks
        set_verbosity(verbosity)


def _check_response(response: Any) -> None:
    if response.request.method == "HEAD":
        for header in ("ETag", "X-Linked-ETag"):  # as the client reads them
            _check_name(header, response.headers.get(header, "").lstrip("W/").strip('"'))
        _check_name("X-Repo-Commit", response.headers.get("X-Repo-Commit", ""))
    elif "/api/" in response.request.url.path:
        response.read()
        for name, value in _NAMES.findall(response.text):
            _check_name(name, value)


def _check_size(response: Any, limit: int) -> None:
    # The hub announces the size of a large file in its redirect.
    for header in ("X-Linked-Size", "Content-Length"):
        size = response.headers.get(header, "")
        if size.isdecimal() and int(size) > limit:
            raise WeightsError(
                f"The repository contains a file of {int(size):,} bytes, which exceeds "
                f"PECLIP_MAX_DOWNLOAD_BYTES={limit}; nothing was written. Raise the limit if you "
                "trust the repository."
            )


def _check_name(what: str, name: str) -> None:
    if not re.fullmatch(r"[\w.+=-]*", name) or name in (".", ".."):
        raise WeightsError(
            f"The hub returned {what} {name!r}, which is outside the cache; nothing was written. "
            "Check HF_ENDPOINT and the proxy, and do not trust this hub."
        )


def push_folder(folder: Path, repo: str, *, private: bool, message: str, settings: Settings) -> str:
    """Uploads a model directory to a hub repository as one commit; returns its address.

    An existing card is kept: somebody may have edited it.

    Raises:
        WeightsError: offline, or the upload failed.
    """
    if settings.offline:
        raise WeightsError(
            f"Cannot upload to {repo!r}: peclip is in offline mode. Unset PECLIP_OFFLINE."
        )
    from huggingface_hub import HfApi
    from huggingface_hub.constants import REPOCARD_NAME

    api = HfApi(token=_token(settings))
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        kept = [REPOCARD_NAME] if api.file_exists(repo, REPOCARD_NAME) else None
        commit = api.upload_folder(
            repo_id=repo, folder_path=folder, commit_message=message, ignore_patterns=kept
        )
    except Exception as error:  # the client's connection errors share no narrower base class
        reason = first_line(error)
        raise WeightsError(
            f"Upload to {repo!r} failed: {reason}. Check the repository name and the token in "
            "HF_TOKEN."
        ) from error
    return str(commit.commit_url)


def _token(settings: Settings) -> str | None:
    return None if settings.token is None else settings.token.get_secret_value()
