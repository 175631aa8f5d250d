"""Landmarks and parsing maps of face crops: found once, stored compactly, drawn when they are needed."""

from __future__ import annotations

import hashlib
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from peclip.downloads.direct import RemoteFile, fetch
from peclip.errors import ConfigError, DatasetError, MissingExtraError, WeightsError, first_line
from peclip.files import replacing
from peclip.settings import Settings

NUM_LANDMARKS, NUM_CLASSES = 478, 11

LANDMARKER = RemoteFile(
    name="face_landmarker_float16_1.task",
    url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1"
    "/face_landmarker.task",
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    size=3_758_596,
)
"""MediaPipe Face Landmarker, 478 points, Apache 2.0, from Google."""

_SMALLEST = 192  # the landmarker's own input; smaller crops are enlarged first
# The detector wants some room around a face: of 226 stills of FER2013, which leave none, it finds 201 as
# they are, and 216 with a second look at those without a face, with a wider border.
_BORDERS = (0.0, 0.25)
_UNREADABLE = (
    *(SafetensorError, OSError, ValueError, KeyError, zlib.error),
    *(TypeError, AttributeError),  # a type that numpy lacks
)
_TYPES = ("F16", "F32")  # of landmarks; numpy has bfloat16 only if another package adds it
_MAX_SIDE, _MAX_PIXELS = 4096, 2**30  # of a map, as PreprocessConfig.image_size; of a file
_REMEMBERED = 512  # crops; overlapping windows show the same ones again


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What was found in the frames of one video.

    Raises:
        ValueError: shapes or dtypes are not those of the fields.
    """

    landmarks: NDArray[np.float32]
    """float32 (T, 478, 2): x and y in fractions of the crop's side, from its top left; may lie outside."""
    found: NDArray[np.bool_]
    """bool (T,): whether a face was found. If not, the landmarks are zeros."""
    maps: NDArray[np.uint8] | None = None
    """uint8 (T, S, S): class numbers of `drawing.CLASSES`, from a parser that finds them itself."""

    def __post_init__(self) -> None:
        shape = (len(self.found), NUM_LANDMARKS, 2)
        if self.landmarks.dtype != np.float32 or self.landmarks.shape != shape:
            raise ValueError(
                f"Landmarks must be a float32 array of shape {shape}; got {self.landmarks.dtype} "
                f"of shape {tuple(self.landmarks.shape)}."
            )
        if self.found.dtype != np.bool_ or self.found.ndim != 1:
            raise ValueError(f"found must be a bool array of shape (T,); got {self.found.dtype}.")
        if not np.isfinite(self.landmarks).all():
            raise ValueError("Landmarks must be finite, but some are NaN or infinite.")
        maps = self.maps
        if maps is not None and (
            maps.dtype != np.uint8
            or maps.ndim != 3
            or maps.shape[:1] != self.found.shape
            or maps.shape[1] != maps.shape[2]
            or (maps >= NUM_CLASSES).any()
        ):
            raise ValueError(
                "maps must be a uint8 array of shape (T, S, S) with one map per frame and "
                f"class indices below {NUM_CLASSES}."
            )

    def __len__(self) -> int:
        return len(self.found)

    def at(self, indices: Sequence[int]) -> Parts:
        """Returns the parts of some frames, by their numbers; a number may come again.

        Raises:
            DatasetError: there is no such frame, so the parts belong to other crops.
        """
        wanted = list(indices)
        if any(not 0 <= number < len(self) for number in wanted):
            raise DatasetError(
                f"The parts cover {len(self)} frames, but frame {max(wanted)} was requested, so "
                "they are from different crops. Delete parts.safetensors and run peclip data "
                "prepare again."
            )
        maps = None if self.maps is None else self.maps[wanted]
        return Parts(self.landmarks[wanted], self.found[wanted], maps)


def joined(pieces: Sequence[Parts]) -> Parts:
    """Returns the parts of pieces of a video that follow each other."""
    maps = [piece.maps for piece in pieces if piece.maps is not None]
    return Parts(
        np.concatenate([piece.landmarks for piece in pieces]),
        np.concatenate([piece.found for piece in pieces]),
        np.concatenate(maps) if maps else None,
    )


class PartsFinder(Protocol):
    """Finds the parts of faces. FaceXFormer or another parser can be plugged in by implementing this."""

    name: str

    def find(self, crops: NDArray[np.uint8]) -> Parts:
        """Returns the parts in crops of one face, uint8 (T, S, S, 3)."""
        ...


class MediaPipeFinder:
    """MediaPipe Face Landmarker in image mode: frames are independent, so their order does not matter.

    Args:
        model: the `.task` file.

    Raises:
        MissingExtraError: MediaPipe is not installed.
        WeightsError: the file is not a valid Face Landmarker model.
    """

    name = "mediapipe"

    def __init__(self, model: Path) -> None:
        mediapipe, tasks = _import_mediapipe()
        self._mediapipe = mediapipe
        options = tasks.vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=str(model)), num_faces=1
        )
        try:
            self._landmarker = tasks.vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise WeightsError(
                f"{str(model)!r} is not a valid Face Landmarker file ({error}). Delete it to download it "
                "again."
            ) from None
        # Otherwise MediaPipe closes too late at interpreter exit and prints a traceback.
        weakref.finalize(self, self._landmarker.close)
        self._known: OrderedDict[bytes, NDArray[np.float32] | None] = OrderedDict()

    def find(self, crops: NDArray[np.uint8]) -> Parts:
        """Returns the parts in crops of one face, uint8 (T, S, S, 3); repeated crops are cached."""
        landmarks = np.zeros((len(crops), NUM_LANDMARKS, 2), np.float32)
        found = np.zeros(len(crops), np.bool_)
        for number, crop in enumerate(crops):
            points = self._remember(crop)
            if points is not None:
                landmarks[number], found[number] = points, True
        return Parts(landmarks, found)

    def close(self) -> None:
        """Releases the landmarker and its threads."""
        self._landmarker.close()

    def _remember(self, crop: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        key = hashlib.sha256(crop.tobytes()).digest()
        if key not in self._known:
            self._known[key] = self._look(crop)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _look(self, crop: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        if crop.shape[0] < _SMALLEST:
            size = (_SMALLEST, _SMALLEST)
            crop = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        for border in _BORDERS:
            width = round(border * len(crop))
            wide = cv2.copyMakeBorder(crop, width, width, width, width, cv2.BORDER_REPLICATE)
            picture = self._mediapipe.Image(
                image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(wide)
            )
            for face in self._landmarker.detect(picture).face_landmarks:  # one or none
                points = np.array([(point.x, point.y) for point in face], np.float32)
                return np.asarray((points * len(wide) - width) / len(crop), np.float32)
        return None


def _import_mediapipe() -> tuple[Any, Any]:
    try:
        return import_module("mediapipe"), import_module("mediapipe.tasks.python")
    except ImportError as error:
        purpose = f"Extracting landmarks and parsing maps with MediaPipe ({error})"
        raise MissingExtraError(purpose, "parts") from None


def _load_mediapipe(settings: Settings) -> PartsFinder:
    _import_mediapipe()  # fails before the download
    return MediaPipeFinder(fetch(LANDMARKER, settings.cache_dir, settings=settings))


FINDERS: dict[str, Callable[[Settings], PartsFinder]] = {"mediapipe": _load_mediapipe}
"""Finders by name; add one, and `peclip.cli.app.run(["data", "prepare", "--parts", NAME, …])` accepts it."""


def load_finder(name: str, *, settings: Settings) -> PartsFinder:
    """Loads a finder of parts.

    Raises:
        ConfigError: the name is unknown.
        MissingExtraError: its package is not installed.
        WeightsError: its model is not cached and cannot be downloaded.
    """
    if name not in FINDERS:
        raise ConfigError(f"Unknown parts finder {name!r}; choose one of {', '.join(FINDERS)}.")
    return FINDERS[name](settings)


def parts_path(source: Path) -> Path:
    """Returns the path of a video's parts: in its folder of frames, or next to its file."""
    if source.is_dir():
        return source / "parts.safetensors"
    return source.with_name(f"{source.name}.parts.safetensors")


def save_parts(path: Path, parts: Parts) -> None:
    """Writes parts, complete or not at all: landmarks in fp16, about 2 KB per frame, and packed maps.

    Raises:
        ConfigError: the file cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {
        "landmarks": parts.landmarks.astype(np.float16),
        "found": parts.found,
    }
    metadata = None
    if parts.maps is not None:
        packed = zlib.compress(parts.maps.tobytes())
        arrays["maps"] = np.frombuffer(packed, np.uint8)
        metadata = {"side": str(parts.maps.shape[-1])}
    try:
        with replacing(path) as partial:
            save_file(arrays, partial, metadata)
            partial.chmod(0o644)  # safetensors makes files that only their owner can read
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"The parts cannot be saved in {str(path)!r}: {error}") from None


def load_parts(path: Path) -> Parts:
    """Reads what `save_parts` wrote.

    Raises:
        DatasetError: the file is missing, or holds no parts.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        raise DatasetError(
            f"No parts found at {str(path)!r}. Extract them together with the crops: peclip data "
            "prepare --parts mediapipe"
        ) from None
    except _UNREADABLE as error:
        reason = first_line(error)
        raise DatasetError(
            f"The parts file {str(path)!r} cannot be read: {reason}. Delete it and run peclip "
            "data prepare again."
        ) from None


def _read(path: Path) -> Parts:
    with safe_open(path, framework="np") as file:
        kind = file.get_slice("landmarks").get_dtype()
        if kind not in _TYPES:
            raise ValueError(f"its landmarks are {kind}; {' and '.join(_TYPES)} are supported")
        landmarks = file.get_tensor("landmarks").astype(np.float32)
        found = file.get_tensor("found")
        if "maps" not in set(file.keys()):
            return Parts(landmarks, found)
        side = int((file.metadata() or {})["side"])
        if not 0 < side <= _MAX_SIDE or len(found) * side**2 > _MAX_PIXELS:
            raise ValueError(
                f"it has {len(found)} maps of {side} pixels; at most {_MAX_SIDE} are supported"
            )
        packed = file.get_tensor("maps").tobytes()
    # Bounded: a few corrupt bytes could expand to any number of zeros.
    pixels = zlib.decompressobj().decompress(packed, max(1, len(found) * side * side))
    maps = np.frombuffer(pixels, np.uint8).reshape(len(found), side, side)
    return Parts(landmarks, found, maps)
