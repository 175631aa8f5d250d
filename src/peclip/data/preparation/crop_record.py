"""How the crops of a data set were made: a record that lies beside them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peclip.config import Config, PreprocessConfig
from peclip.errors import ConfigError
from peclip.files import replacing

RECORD = "preprocessing.json"
LEFT_OUT = "left_out.json"


_WITHOUT_CROPS = frozenset({"no_face", "decode_error", "not_done"})
"""Ends of a preparation that leave no crops; `not_done` is that of one that was stopped."""


class CropConfig(Config):
    """How crops are made. The geometry is the model's, so that training sees what prediction sees."""

    size: int
    """Side of a crop in pixels."""
    margin: float
    shift: float
    align: bool
    detector: str
    threshold: float
    parts: str | None = None
    """The finder of landmarks and parsing maps, if they are to be found."""

    @classmethod
    def of(
        cls,
        preprocess: PreprocessConfig,
        *,
        size: int | None,
        detector: str,
        threshold: float,
        parts: str | None = None,
    ) -> CropConfig:
        """Takes the geometry of a model; the size is the model's too, unless one is given."""
        return cls(
            size=size or preprocess.image_size,
            margin=preprocess.face_margin,
            shift=preprocess.face_shift,
            align=preprocess.align,
            detector=detector,
            threshold=threshold,
            parts=parts,
        )


def record_crops(root: Path, output: Path, config: CropConfig) -> None:
    """Writes how the crops of a data set are made, before the first is.

    Raises:
        ConfigError: the output is inside the data set, or holds crops that were made otherwise.
        OSError: it cannot be written.
    """
    if output.resolve().is_relative_to(root.resolve()):
        raise ConfigError(
            f"The output {str(output)!r} is inside the data set {str(root)!r}, whose files would then "
            "be mixed with the crops; give a folder outside."
        )
    record = output / RECORD
    if record.exists():
        before = _read_record(record)
        wanted = config.model_dump()
        if before.get("parts") is None:
            before["parts"] = wanted["parts"]  # crops that were made without parts may get them
        elif wanted["parts"] is None:
            wanted["parts"] = before["parts"]
        changed = [name for name, value in wanted.items() if before.get(name) != value]
        if changed:
            was = ", ".join(f"{name}={before.get(name)}" for name in changed)
            raise ConfigError(
                f"{str(output)!r} holds crops that were made otherwise ({was}); give another folder."
            )
        config = config.model_copy(update={"parts": before["parts"]})
    output.mkdir(parents=True, exist_ok=True)
    content = config.model_dump() | {"peclip_version": version("peclip")}
    with replacing(record) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def record_left_out(output: Path, ends: Mapping[str, str]) -> None:
    """Writes which videos of the data set have no crops, and why: a score on the crops is one without them.

    Args:
        output: the folder of the crops.
        ends: id of a video → what became of it. Videos that are not among them stay as an earlier run left them.

    Raises:
        ConfigError: what an earlier run wrote is damaged.
        OSError: it cannot be written.
    """
    path = output / LEFT_OUT
    without = (_read_record(path) if path.exists() else {}) | dict(ends)
    without = {id: end for id, end in sorted(without.items()) if end in _WITHOUT_CROPS}
    with replacing(path) as partial:
        partial.write_text(json.dumps(without, indent=2) + "\n", encoding="utf-8")


def left_out(crops: Path) -> str | None:
    """Returns what must be said where a folder of crops lacks videos, of which its readers may not know."""
    path = crops / LEFT_OUT
    without = _read_record(path) if path.exists() else {}
    if not without:
        return None
    counts = ", ".join(f"{n:,} {end}" for end, n in Counter(without.values()).most_common())
    return (
        f"Some videos have no crops in {str(crops)!r} ({counts}; {LEFT_OUT} names them): what is trained or "
        "scored on these crops is without them."
    )


def unlike(crops: Path, preprocess: PreprocessConfig) -> str | None:
    """Returns what must be said where the crops in a folder are not those that a model sees in prediction.

    `None` where they are, and where the folder is not one that `prepare` has made.
    """
    record = crops / RECORD
    if not record.exists():
        return None
    made = _read_record(record)
    wanted = {
        "margin": preprocess.face_margin,
        "shift": preprocess.face_shift,
        "align": preprocess.align,
    }
    if made.get("size", 0) < preprocess.image_size:  # larger ones lose nothing
        wanted["size"] = preprocess.image_size
    differ = [
        f"{name} {made.get(name)} instead of {value}"
        for name, value in wanted.items()
        if made.get(name) != value
    ]
    if not differ:
        return None
    return (
        f"The crops in {str(crops)!r} are not those that the model sees in prediction: {', '.join(differ)}. "
        "Prepare them anew with -m and the model's name."
    )


def _read_record(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError(
            f"{str(path)!r} is damaged, and nothing else says of the crops beside it what it said; prepare "
            "them anew in another folder."
        )
    return found
