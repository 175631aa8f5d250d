"""Face ranges and baselines of the embedded model, from FER2013's PublicTest, and what both are worth.

    python recipes/nano_ranges.py --data DATA --model src/peclip/assets/nano --write

Run it after `nano_card.py`: training removes both from the configuration. DATA has the tables and pictures that
`nano_faces.py` writes.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from nano_measures import ask, load_photographs, read_picture, squares
from nano_tables import percent, table
from numpy.typing import NDArray

from peclip import PEClip, PredictOptions
from peclip.data import DataConfig, Split, load_split
from peclip.inference.baseline import MIN_WINDOWS, Baseline, baseline_of
from peclip.results.rows import Row
from peclip.video.face_measures import face_pose, sharpness
from peclip.video.faces import Image

SMALLEST = 24.0
"""Pixels; the card has the accuracy on smaller faces."""
ALIGNED = 60.0
"""Degrees, up to which `crop_face` levels the eyes."""
BORDER = 24
"""Pixels added around a picture for the detector, which misses faces that fill it."""

Numbers = NDArray[np.float64]


def load_public_test(data: Path) -> Split:
    """Returns PublicTest with the majority of the FER+ votes as the truth."""
    known = load_split(
        DataConfig(dataset="table", root=data, annotations=data / "faces.csv", split="val")
    )
    return known.with_samples(s for s in known.samples if "PublicTest" in s.source.name)


def measures(model: PEClip, split: Split) -> dict[str, Numbers]:
    """Returns sharpness, brightness and absolute yaw of each picture; NaN where no face is found."""
    detector = model.detector(PredictOptions(detector="yunet", face_threshold=0.6))
    assert detector is not None
    found = defaultdict(list)
    for sample, square in zip(split.samples, squares(model, split), strict=True):
        grey = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
        found["sharpness"].append(sharpness(grey))
        found["brightness"].append(float(grey.mean()))
        faces = detector.detect(bordered(read_picture(sample.source)))
        pose = face_pose(faces[0]) if faces else None
        found["yaw"].append(np.nan if pose is None else abs(pose[0]))
    return {name: np.array(values) for name, values in found.items()}


def bordered(picture: Image) -> Image:
    return np.asarray(
        cv2.copyMakeBorder(picture, *[BORDER] * 4, borderType=cv2.BORDER_REPLICATE), np.uint8
    )


def ranges_of(found: dict[str, Numbers]) -> dict[str, list[float | None]]:
    """Returns the 1st and the 99th percentile; sharper pictures than FER2013's are no reason to warn."""
    low, high = np.percentile(found["brightness"], [1, 99])
    blurred = np.percentile(found["sharpness"], 1)
    turned = np.nanpercentile(found["yaw"], 99)
    return {
        "size": [SMALLEST, None],
        "sharpness": [round(float(blurred), 1), None],
        "brightness": [round(float(low), 1), round(float(high), 1)],
        "yaw": [None, round(float(turned), 1)],
        "roll": [None, ALIGNED],
    }


def range_table(
    ranges: dict[str, list[float | None]], found: dict[str, Numbers], right: NDArray[np.bool_]
) -> str:
    """Returns the accuracy inside and outside of each range."""
    rows = []
    for name, values in found.items():
        low, high = ranges[name]
        known = np.isfinite(values)
        outside = known & ((values < (low or -np.inf)) | (values > (high or np.inf)))
        inside = known & ~outside
        limits = " to ".join("" if end is None else f"{end:g}" for end in (low, high))
        cells = [f"{outside.sum():,}", percent(float(right[outside].mean()))]
        rows.append([name, limits, percent(float(right[inside].mean())), *cells])
    return table(["measure", "range", "accuracy inside", "n outside", "accuracy outside"], rows)


def scores_of(probabilities: Numbers, labels: tuple[str, ...]) -> list[dict[str, float]]:
    return [dict(zip(labels, map(float, row), strict=True)) for row in probabilities]


def baselines_of(scores: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Returns the reference of each kind of baseline: people in general."""
    found = {kind: baseline_of(kind, scores) for kind in ("neutral", "median")}
    return {
        kind: {name: round(value, 4) for name, value in one.items()} for kind, one in found.items()
    }


def baseline_table(model: PEClip, split: Split, scores: list[dict[str, float]]) -> str:
    """Returns the scores on people with several photographs, with and without their baseline."""
    by_person = defaultdict(list)
    for sample, one in zip(split.samples, scores, strict=True):
        by_person[sample.subject].append((sample.label, one))
    many = [photographs for photographs in by_person.values() if len(photographs) >= MIN_WINDOWS]
    rows = []
    for kind in (None, "neutral", "median"):
        truth, found = list[str](), list[str]()
        for photographs in many:
            baseline = Baseline(kind, model.config, min_score=0.0)
            made = [_row(number, one) for number, (_, one) in enumerate(photographs)]
            kept = [row for one in made for row in baseline.hold(one)] + list(baseline.rest())
            truth += [label for label, _ in photographs]
            found += [str(row.label) for row in kept]
        right = np.array([a == b for a, b in zip(truth, found, strict=True)])
        recalls = [right[np.array(truth) == label].mean() for label in sorted(set(truth))]
        cells = [percent(float(right.mean())), percent(float(np.mean(recalls)))]
        rows.append([kind or "none", f"{len(truth):,} of {len(many)} people", *cells])
    return table(["baseline", "photographs", "accuracy", "UAR"], rows)


def _row(window: int, scores: dict[str, float]) -> Row:
    best = max(scores, key=lambda name: scores[name])
    return Row("", "", "", 0, window, 0.0, 1.0, 0, 0, 1, 1, "ok", best, scores[best], scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("src/peclip/assets/nano"))
    parser.add_argument("--write", action="store_true", help="write both to the config.json")
    given = parser.parse_args()
    model = PEClip.from_pretrained(given.model, device="cpu", precision="fp32")
    labels = model.labels.names
    public, photographs = load_public_test(given.data), load_photographs(given.data)
    probabilities = ask(model, squares(model, public))
    truth = np.array([labels.index(sample.label) for sample in public.samples])
    found = measures(model, public)
    fields = {
        "face_ranges": ranges_of(found),
        "baselines": baselines_of(scores_of(probabilities, labels)),
    }
    print(json.dumps(fields, indent=2))
    print(range_table(fields["face_ranges"], found, probabilities.argmax(-1) == truth))
    model.loaded = model.loaded.derive(**fields)
    scores = scores_of(ask(model, squares(model, photographs)), labels)
    print(baseline_table(model, photographs, scores))
    if given.write:
        path = given.model / "config.json"
        config = json.loads(path.read_text(encoding="utf-8")) | fields
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
