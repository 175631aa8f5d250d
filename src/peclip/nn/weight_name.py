"""Names of CLIP weights in a file, as values of `pretrained`, without torch; `peclip.nn.weight_file` reads the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from peclip.errors import ConfigError

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
DIGEST = re.compile(r"[0-9a-f]{64}")
_FORMS = "file:PATH or hub:OWNER/NAME/FILE[@REVISION], each with an optional #SHA256"


@dataclass(frozen=True, slots=True)
class WeightFile:
    """Where the weights of a backbone are: `file:PATH[#SHA256]` or `hub:OWNER/NAME/FILE[@REVISION][#SHA256]`."""

    path: str
    """Of a local file, or inside the repository."""
    repository: str | None = None
    revision: str | None = None
    sha256: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Returns the file that a value of `pretrained` names, or `None` for a weight tag.

        Raises:
            ConfigError: it begins like a file, but is incomplete.
        """
        kind, colon, rest = text.partition(":")
        if not colon or kind not in ("file", "hub"):
            return None
        rest, _, digest = rest.partition("#")
        if digest and not DIGEST.fullmatch(digest):
            raise ConfigError(
                f"Invalid checksum in {text!r}: a SHA-256 has 64 digits 0-9 a-f; compute it with: sha256sum FILE"
            )
        if kind == "file" and rest:
            return cls(rest, sha256=digest or None)
        rest, _, revision = rest.partition("@")
        owner, _, inside = rest.partition("/")
        name, _, path = inside.partition("/")
        outside = path.startswith("/") or ".." in path.split("/")
        if not path or outside or not _REPOSITORY.fullmatch(f"{owner}/{name}"):
            raise ConfigError(f"Invalid weights {text!r}; use {_FORMS}.")
        return cls(path, f"{owner}/{name}", revision or None, digest or None)

    @property
    def is_local(self) -> bool:
        """Whether only this machine has the file."""
        return self.repository is None


def is_local_file(pretrained: str) -> bool:
    """Returns whether a value of `pretrained` names a file that only this machine has."""
    file = WeightFile.parse(pretrained)
    return file is not None and file.is_local
