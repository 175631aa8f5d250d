"""The model hub: repositories come from it and go to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_session, snapshot_download
from huggingface_hub.constants import REPOCARD_NAME
from huggingface_hub.errors import (
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from peclip.errors import ConfigError, WeightsError, first_line
from peclip.settings import Settings, load_settings

_NAMES = re.compile(r'"(sha|oid)"\s*:\s*"((?:[^"\\]|\\.)*)"')
"""Of commits and blobs in JSON."""


def hub_cache(settings: Settings) -> Path | None:
    """Where hub files are kept: `HF_HOME` and `HF_HUB_CACHE` if the user set one, else our cache."""
    if any(os.environ.get(name) for name in ("HF_HOME", "HF_HUB_CACHE")):
        return None
    return settings.cache_dir / "hub"


def download_repository(
    repo: str, revision: str | None, files: Sequence[str], settings: Settings
) -> Path:
    """Returns the local folder of a hub repository, downloaded if it has to be.

    Raises:
        ConfigError: this cannot be the name of a repository.
        WeightsError: it does not exist, or is not cached and cannot be downloaded.
    """
    try:
        with checked_answers():
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
    except HFValidationError:
        raise ConfigError(
            f"{repo!r} is no name of a hub repository; it has the form owner/name[@revision]."
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise WeightsError(
            f"The hub has no repository {repo!r}{f' at {revision!r}' if revision else ''}, or it is "
            "private: then put a token into HF_TOKEN."
        ) from None
    except Exception as error:  # the client's own connection errors have no root but this one
        reason = first_line(error)
        state = "peclip is offline" if settings.offline else f"the hub cannot be reached ({reason})"
        raise WeightsError(
            f"{repo!r} is not in the cache {str(hub_cache(settings) or 'of HF_HOME')!r}, and {state}. "
            f"Download it where there is a network: peclip models download {repo}"
        ) from error
    return Path(folder)


@contextmanager
def checked_answers() -> Iterator[None]:
    """Refuses answers of a hub: files that are too large, and names that lead out of the cache.

    The client makes paths of those names.
    """
    limit = load_settings().max_download_bytes

    def check(response: Any) -> None:
        _check_size(response, limit)
        _check_answer(response)

    session: Any = get_session()
    hooks = session.event_hooks
    session.event_hooks = hooks | {"response": [*hooks["response"], check]}
    try:
        yield
    finally:
        session.event_hooks = hooks


def _check_answer(response: Any) -> None:
    if response.request.method == "HEAD":
        for header in ("ETag", "X-Linked-ETag"):  # as the client reads them
            _check_name(header, response.headers.get(header, "").lstrip("W/").strip('"'))
        _check_name("X-Repo-Commit", response.headers.get("X-Repo-Commit", ""))
    elif "/api/" in response.request.url.path:
        response.read()
        for name, value in _NAMES.findall(response.text):
            _check_name(name, value)


def _check_size(response: Any, limit: int) -> None:
    # What the hub itself says of a large file comes with its redirection.
    for header in ("X-Linked-Size", "Content-Length"):
        size = response.headers.get(header, "")
        if size.isdecimal() and int(size) > limit:
            raise WeightsError(
                f"The hub has a file of {int(size):,} bytes there, and PECLIP_MAX_DOWNLOAD_BYTES={limit} allows "
                "less; nothing was written. Set it higher if you trust the repository."
            )


def _check_name(what: str, name: str) -> None:
    if not re.fullmatch(r"[\w.+=-]*", name) or name in (".", ".."):
        raise WeightsError(
            f"The hub answered with {what} {name!r}, which would be a path out of the cache; nothing "
            "was written. Check HF_ENDPOINT and the proxy: this is no hub to trust."
        )


def push_folder(folder: Path, repo: str, *, private: bool, message: str, settings: Settings) -> str:
    """Uploads a model directory to a hub repository as one commit; returns its address.

    A card that is there stays: somebody may have written it.

    Raises:
        WeightsError: offline, or the hub does not accept it.
    """
    if settings.offline:
        raise WeightsError(
            f"peclip is offline, so {repo!r} cannot be written. Unset PECLIP_OFFLINE."
        )
    api = HfApi(token=_token(settings))
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        kept = [REPOCARD_NAME] if api.file_exists(repo, REPOCARD_NAME) else None
        commit = api.upload_folder(
            repo_id=repo, folder_path=folder, commit_message=message, ignore_patterns=kept
        )
    except Exception as error:  # the client's own connection errors have no root but this one
        reason = first_line(error)
        raise WeightsError(
            f"The hub did not take {repo!r}: {reason}. Check the name, and the token in HF_TOKEN."
        ) from error
    return str(commit.commit_url)


def _token(settings: Settings) -> str | None:
    return None if settings.token is None else settings.token.get_secret_value()
