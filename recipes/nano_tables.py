"""Tables of the embedded model's card that need no model: what its runs have recorded, and Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from peclip.metrics.report import Report

UNKNOWN = "-"


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def percent(fraction: float | None, digits: int = 1) -> str:
    """Returns a fraction as per cent, `-` where there is none."""
    return UNKNOWN if fraction is None else f"{100 * fraction:.{digits}f} %"


def with_interval(value: float, interval: tuple[float, float] | None) -> str:
    """Returns a fraction as per cent with its 95 % interval."""
    if interval is None:
        return percent(value)
    return f"{percent(value)} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def score_cells(report: Report) -> list[str]:
    """Returns the cells n, accuracy, UAR and ECE."""
    return [
        f"{report.num_videos:,}",
        with_interval(report.war, report.war_ci),
        with_interval(report.uar, report.uar_ci),
        UNKNOWN if report.ece is None else f"{report.ece:.3f}",
    ]


def confusion_table(report: Report) -> str:
    """Returns the counts of a report, a row per true label."""
    names = report.confusion.labels
    rows = []
    for name, counts in zip(names, report.confusion.counts.tolist(), strict=True):
        rows.append([name, *counts, percent(report.recall[name])])
    return table(["truth \\ prediction", *names, "recall"], rows)


def recall_table(reports: Mapping[str, Report]) -> str:
    """Returns the recall of every class, a row per report."""
    labels = next(iter(reports.values())).labels
    rows = [
        [name, *(percent(report.recall[label]) for label in labels)]
        for name, report in reports.items()
    ]
    return table(["recall", *labels], rows)


def read_json(path: Path) -> dict[str, Any]:
    """Returns the content of a JSON file; nothing where there is none."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def public_test(run: Path) -> list[str]:
    """Returns accuracy, UAR, recall of neutral and n, as the report of a run has them, with its split."""
    report = read_json(run / "report.json")
    if "war" not in report:
        return [UNKNOWN] * 4
    neutral = report["recall"].get("neutral")
    values = (report["war"], report["uar"], neutral)
    scores = [UNKNOWN if value is None else f"{value:.1f} %" for value in values]
    targets = report.get("targets", "labels")
    return [*scores, f"{report['num_videos']:,} of {report['reported_on']}, {targets}"]


PUBLIC_TEST = ("accuracy", "UAR", "neutral", "images")


def stage_row(run: Path) -> list[str]:
    """Returns what is known of a step of the training: its data, its time and its scores.

    The minutes are those of the epochs, without validation, and without what an interruption cost.
    """
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [json.loads(line) for line in lines]
    minutes = sum(epoch["seconds"] for epoch in epochs) / 60
    videos = read_json(run / "env.json").get("videos", {})
    images = videos.get("train", 0)
    base = re.sub(r"/model$", "", str(config["base"]))
    return [
        run.name,
        Path(base).name,
        f"{images:,} images, {targets_of(config['data'])}",
        f"{len(epochs)}",
        f"{minutes:.0f}",
        *public_test(run),
    ]


def targets_of(data: Mapping[str, Any]) -> str:
    """Returns in words what a run learned from."""
    targets = str(data.get("targets", "labels"))
    if targets == "mixed":
        return f"votes and {data['label_votes']:g} votes for the label"
    return targets


def stage_table(runs: Sequence[Path]) -> str:
    """Returns the steps of the training, one row each."""
    head = ["step", "starts from", "data and targets", "epochs", "minutes", *PUBLIC_TEST]
    return table(head, [stage_row(run) for run in runs])


def ablation_table(runs: Mapping[str, Path]) -> str:
    """Returns the scores of runs, by what was left out."""
    return table(
        ["variant", *PUBLIC_TEST], [[name, *public_test(run)] for name, run in runs.items()]
    )


def operating_point(run: Path, config: Mapping[str, Any]) -> str:
    """Returns the prior, its weight and the temperature, and what choosing them changed."""
    labels, weight = config["labels"], config.get("prior_weight")
    point = read_json(run / "report.json").get("operating_point") or {}
    rows = [["temperature", f"{config['temperature']:.4f}"]]
    for name, words in (("prior", "prior"), ("label_frequencies", "before balancing")):
        if shares := config.get(name):
            shown = ", ".join(f"{label} {100 * shares[label]:.1f} %" for label in labels)
            rows.append([words, shown])
    if weight is not None:
        rows.append(["weight of equal frequencies", f"{weight:.2f}"])
    if point:
        rows.append(["chosen on", f"{point['chosen_on']}, by {point['criterion']}"])
    if weight is not None and point:
        for when, words in (("before", "without the weight"), ("after", "with the weight")):
            scores = f"{point[f'war_{when}']:.1f} % accuracy, {point[f'uar_{when}']:.1f} % UAR"
            rows.append([f"{words}, there", scores])
    return table(["", ""], rows)
