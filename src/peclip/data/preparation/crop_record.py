"""The record of the settings used to create face crops, stored next to the crops."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from peclip.config import MAX_SECONDS, Config, PreprocessConfig, check
from peclip.errors import ConfigError
from peclip.files import replacing
from peclip.predict_options import PredictOptions
from peclip.text.comparison import differences
from peclip.text.parsing import parse_json
from peclip.version import VERSION

RECORD = "preprocessing.json"
LEFT_OUT = "left_out.json"


_WITHOUT_CROPS = frozenset({"no_face", "decode_error", "not_done"})
"""Outcomes without crops; `not_done` marks videos of an interrupted run."""


class CropConfig(Config):
    """Settings of crops. The geometry is the model's, so that training matches prediction."""

    size: int = Field(ge=8, le=4096)
    """Side of a crop in pixels."""
    margin: float = Field(ge=-0.5, le=3.0)
    shift: float = Field(ge=-1.0, le=1.0)
    align: bool
    detector: str
    threshold: float = Field(ge=0, le=1)
    max_gap: float = Field(1.0, ge=0, le=MAX_SECONDS)
    reidentify: bool = True
    detect_size: int | None = Field(None, ge=64, le=16_384)
    parts: str | None = None
    """The parts finder, if landmarks and parsing maps are extracted."""
    sound: bool = False
    """Whether the sound is copied next to the crops."""

    @classmethod
    def of(
        cls,
        preprocess: PreprocessConfig,
        *,
        size: int | None,
        detector: str,
        threshold: float,
        tracking: PredictOptions | None = None,
        parts: str | None = None,
        sound: bool = False,
    ) -> CropConfig:
        """Uses a model's crop geometry, and its image size unless a size is given.

        `tracking` contains `max_gap`, `reidentify` and `detect_size`; the defaults are those of `peclip predict`.
        """
        tracking = tracking or PredictOptions()
        values = {
            "size": size or preprocess.image_size,
            "margin": preprocess.face_margin,
            "shift": preprocess.face_shift,
            "align": preprocess.align,
            "detector": detector,
            "threshold": threshold,
            "max_gap": tracking.max_gap,
            "reidentify": tracking.reidentify,
            "detect_size": tracking.detect_size,
            "parts": parts,
            "sound": sound,
        }
        return check(cls, values)


def make_output(root: Path, output: Path) -> None:
    """Creates the folder for a data set's crops.

    Raises:
        ConfigError: it is inside the data set.
        OSError: it cannot be created.
    """
    if output.resolve().is_relative_to(root.resolve()):
        raise ConfigError(
            f"The output {str(output)!r} is inside the data set folder {str(root)!r}, so the "
            "crops would be mixed with the original files; choose a folder outside it."
        )
    output.mkdir(parents=True, exist_ok=True)


def check_present(output: Path) -> None:
    """Checks that the folder is still the one in which `record_crops` wrote the settings.

    Raises:
        ConfigError: it was removed.
    """
    if not (output / RECORD).is_file():
        raise ConfigError(
            f"The output {str(output)!r} was removed while it was being written, so its crops are "
            "lost. Run the command again."
        )


def record_crops(root: Path, output: Path, config: CropConfig) -> None:
    """Writes a data set's crop settings before the first crop.

    Raises:
        ConfigError: the output is inside the data set, or contains crops made with other settings.
        OSError: it cannot be written.
    """
    make_output(root, output)
    record = output / RECORD
    if record.exists():
        before = _read_record(record)
        wanted = config.model_dump()
        for name in ("parts", "sound"):  # may be added to existing crops
            if not before.get(name):
                before[name] = wanted[name]
            elif not wanted[name]:
                wanted[name] = before[name]
        changed = differences(before, wanted, ignored={"peclip_version"})
        if changed:
            raise ConfigError(
                f"{str(output)!r} contains crops made with different settings "
                f"({', '.join(map(str, changed))}); choose another folder."
            )
        config = check(CropConfig, wanted)
    output.mkdir(parents=True, exist_ok=True)
    content = config.model_dump() | {"peclip_version": VERSION}
    with replacing(record) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def record_left_out(output: Path, ends: Mapping[str, str]) -> None:
    """Records which videos of the data set have no crops, and why: scores on the crops exclude them.

    Args:
        output: the folder of the crops.
        ends: video id → outcome. Other videos keep the outcome of an earlier run.

    Raises:
        ConfigError: the record of an earlier run is corrupt.
        OSError: it cannot be written.
    """
    path = output / LEFT_OUT
    without = (_read_record(path) if path.exists() else {}) | dict(ends)
    without = {id: end for id, end in sorted(without.items()) if end in _WITHOUT_CROPS}
    with replacing(path) as partial:
        partial.write_text(json.dumps(without, indent=2) + "\n", encoding="utf-8")


def left_out(crops: Path) -> str | None:
    """Returns a warning if a folder of crops lacks videos."""
    path = crops / LEFT_OUT
    without = _read_record(path) if path.exists() else {}
    if not without:
        return None
    counts = ", ".join(f"{n:,} {end}" for end, n in Counter(without.values()).most_common())
    return (
        f"Some videos have no crops in {str(crops)!r} ({counts}; listed in {LEFT_OUT}), so "
        "training and evaluation on these crops exclude them."
    )


def crop_mismatch(crops: Path, preprocess: PreprocessConfig) -> str | None:
    """Returns a warning if the crops in a folder differ from those a model sees in prediction.

    `None` if they match, or if `prepare` did not make the folder.
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
    size = made.get("size")
    if not isinstance(size, int) or size < preprocess.image_size:  # larger ones lose nothing
        wanted["size"] = preprocess.image_size
    changed = differences({name: made.get(name) for name in wanted}, wanted)
    if not changed:
        return None
    return (
        f"The crops in {str(crops)!r} were made with settings that differ from those of the "
        f"model: {', '.join(map(str, changed))}. Prepare the crops again, passing the model with "
        "-m."
    )


def _read_record(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # ConfigError is a ValueError
        found = None
    if not isinstance(found, dict) or not all(map(_is_scalar, found.values())):
        raise ConfigError(
            f"{str(path)!r} is corrupt, so the crop settings are unknown. Prepare the "
            "crops again in another folder."
        )
    return found


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)
