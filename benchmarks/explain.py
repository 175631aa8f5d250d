"""How faithful explanations are: deletion and insertion curves on videos, against random and occlusion.

    python benchmarks/explain.py CLIP... [-m nano] [--seconds 3] [--steps 10] [--seeds 5] [-o results.json]

The start of each clip is one window, of the person with the highest probability; mirror images are not averaged, to
save time. Maps are measured by the area under the probability of the predicted label, frames by the mean log-odds along
the curve, because without some frames most probabilities are still near 1. For deletion smaller is better, for insertion
larger. Random rankings have the resolution of the methods that they are compared with, because fine noise alone destroys
a picture. The last table has the rank correlation of each method between the model and the same model with random
weights; near 0 is right.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np

from peclip import PEClip, PredictOptions
from peclip.explain.explained_window import ExplainedWindow
from peclip.explain.explaining import prepare_window
from peclip.explain.explanation import Finding
from peclip.explain.faithfulness import (
    area,
    delete_frames,
    delete_pixels,
    insert_frames,
    insert_pixels,
    randomise,
)
from peclip.explain.registry import METHODS
from peclip.explain.window_choice import choose_window

NAMES = ("leave-one-out", "gradient", "dynamic-scale", "rollout", "occlusion")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("-m", "--model", default="nano")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--detector", default="haar")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    model = PEClip.from_pretrained(given.model, precision="fp32")
    model.model.mirror = False
    options = PredictOptions(window=math.inf, end=given.seconds, detector=given.detector)
    areas: dict[str, list[float]] = defaultdict(list)
    same: dict[str, list[float]] = defaultdict(list)
    for clip in given.clips:
        chosen = choose_window(model, clip, None, None, options)
        label = int(np.argmax(chosen.probabilities))
        window = prepare_window(model, clip, chosen.window, label, options)
        print(f"{clip}: {model.labels.names[label]} {max(chosen.probabilities):.3f}", flush=True)
        blind = ExplainedWindow(randomise(model.model), window.batch, label, window.frame_numbers)
        found = {name: METHODS[name].find(window) for name in NAMES}
        measure(window, found, given.seeds, given.steps, areas)
        for name, finding in found.items():
            compare(name, finding, METHODS[name].find(blind), same)
        report(areas, same, given.output)


def measure(
    window: ExplainedWindow,
    found: dict[str, Finding],
    seeds: int,
    steps: int,
    areas: dict[str, list[float]],
) -> None:
    """Adds the areas of each method, and of random rankings of each resolution."""
    rng = np.random.default_rng(0)
    for what in ("frames", "maps"):
        ranked = {name: [getattr(finding, what)] for name, finding in found.items()}
        ranked = {name: values for name, values in ranked.items() if values[0] is not None}
        for shape in {values[0].shape for values in ranked.values()}:
            name = f"random {'x'.join(map(str, shape))}"
            ranked[name] = [rng.random(shape) for _ in range(seeds)]
        for name, several in ranked.items():
            for kind in ("deletion", "insertion"):
                curves = [curve(window, what, kind, values, steps) for values in several]
                # Without a few frames, the probability of a certain prediction does not change.
                found_areas = [area(c) if what == "maps" else c.mean() for c in curves]
                areas[f"{what} {kind} {name}"].append(float(np.mean(found_areas)))


def curve(
    window: ExplainedWindow, what: str, kind: str, values: np.ndarray, steps: int
) -> np.ndarray:
    """Returns the log-odds along a curve."""
    if what == "frames":
        return {"deletion": delete_frames, "insertion": insert_frames}[kind](window, values)
    return {"deletion": delete_pixels, "insertion": insert_pixels}[kind](window, values, steps)


def compare(name: str, own: Finding, blind: Finding, same: dict[str, list[float]]) -> None:
    """Adds the rank correlations with the model of random weights."""
    for what in ("frames", "maps"):
        first, second = getattr(own, what), getattr(blind, what)
        if first is not None:
            same[f"{what} {name}"].append(rank_correlation(first.ravel(), second.ravel()))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Returns Spearman's correlation; 0 if one side is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    ranks = [values.argsort().argsort() for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def report(
    areas: dict[str, list[float]], same: dict[str, list[float]], output: Path | None
) -> None:
    """Prints means over the clips, and writes all values."""
    print(
        f"\n{len(next(iter(areas.values())))} clips: area (maps) or mean log-odds (frames), mean over clips"
    )
    for name, values in sorted(areas.items()):
        print(f"  {name:55s} {np.mean(values):.3f}")
    print("\nrank correlation with random weights, mean and largest over clips")
    for name, values in sorted(same.items()):
        print(f"  {name:55s} {np.mean(values):+.2f} {np.max(np.abs(values)):.2f}")
    if output is not None:
        output.write_text(json.dumps({"areas": areas, "same": same}, indent=2) + "\n")


if __name__ == "__main__":
    main()
