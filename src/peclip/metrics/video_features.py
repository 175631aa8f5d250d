"""Features of videos and their files (.npz), for pictures of how a model arranges the videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peclip.errors import ConfigError, first_line
from peclip.files import replacing
from peclip.labels import canonical
from peclip.text.display import one_line


@dataclass(frozen=True, slots=True, eq=False)
class VideoFeatures:
    """One feature vector per video.

    Raises:
        ConfigError: the columns have different lengths, or a feature is NaN or infinite.
    """

    ids: tuple[str, ...]
    """Names of the N videos."""
    targets: tuple[str, ...]
    """Their true labels."""
    values: NDArray[np.float32]
    """(N, D), unit length."""
    about: str = ""
    """The videos and the model, for titles; empty if unknown."""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not len(self.ids) == len(self.targets) == len(self.values):
            raise ConfigError(
                f"Features must be an array (N, D) with N sources and N targets; got {self.values.shape}, "
                f"{len(self.ids)} sources and {len(self.targets)} targets."
            )
        if not np.isfinite(self.values).all():
            raise ConfigError("Features must be finite; some are NaN or infinite.")

    def __len__(self) -> int:
        return len(self.ids)


def write_features(path: Path, features: VideoFeatures) -> None:
    """Writes a file that `read_features` reads.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(
                file,
                source=np.array(features.ids, str),
                target=np.array(features.targets, str),
                features=features.values,
                about=np.array(features.about, str),
            )
    except OSError as error:
        raise ConfigError(
            f"The features cannot be written to {str(path)!r}: {error.strerror}. Choose a file in an "
            "existing, writable folder."
        ) from None


def read_features(path: Path) -> VideoFeatures:
    """Reads a `.npz` file with the arrays `features` (N, D), `target` (N), `source` (N) and, optionally, `about`.

    Raises:
        ConfigError: the file cannot be read, or an array is missing or has another shape.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # numpy, zipfile and zlib raise many kinds for a damaged file
        # numpy advises to load such a file unsafely.
        pickled = isinstance(error, ValueError) and "pickle" in str(error)
        reason = "it is not a .npz file of numbers and texts" if pickled else first_line(error)
        raise ConfigError(
            f"The features file {str(path)!r} cannot be read: {reason}. Use a .npz file of "
            "numpy.savez, or compute the features from a run: peclip plots RUN --only tsne."
        ) from None
    missing = [name for name in ("features", "target", "source") if name not in arrays]
    if missing:
        raise ConfigError(
            f"The features file {str(path)!r} lacks the array {missing[0]!r}; expected the arrays "
            f"features (N, D), target (N) and source (N), found {', '.join(arrays) or 'none'}."
        )
    try:
        values = np.asarray(arrays["features"], np.float32)
    except (TypeError, ValueError):
        raise ConfigError(f"The features in {str(path)!r} are not numbers.") from None
    return VideoFeatures(
        tuple(map(str, arrays["source"].ravel())),
        tuple(canonical(one_line(str(name))) for name in arrays["target"].ravel()),
        values,
        one_line(str(arrays.get("about", ""))),
    )
