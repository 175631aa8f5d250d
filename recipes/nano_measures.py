"""Measurements of the embedded model for its card: stills, clips, and windows that are partly expressive."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from nano_tables import confusion_table, percent, recall_table, score_cells, table
from numpy.typing import NDArray

from peclip import PEClip, PredictOptions
from peclip.data import DataConfig, Split, load_split
from peclip.data.animation import AnimateConfig, AnimatedStills
from peclip.data.dataset import Draw
from peclip.data.loader import batches_of, load_batches
from peclip.labels import canonical
from peclip.metrics.calibration_error import calibration_error
from peclip.metrics.confusion import ConfusionMatrix
from peclip.metrics.report import Report
from peclip.models.frozen import FrozenModel
from peclip.types import Batch
from peclip.video.faces import Image, resize_frame

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "neutral", "sadness", "surprise")
"""Clips that are named by what they show."""
WIDE = 0.25
"""Face margin of crops that are wider than the model's own."""
SHARES = (0.25, 0.5, 0.75, 1.0)
CHANGES = (
    "rotation scale stretch shift jitter flip contrast brightness blur compression noise erase"
)
STILL = dict.fromkeys(CHANGES.split(), 0.0)


@dataclass(frozen=True, eq=False)
class Scored:
    """Stills with what is true of them, and what a model predicts."""

    split: Split
    probabilities: NDArray[np.float64]
    """(N, C)"""
    labels: tuple[str, ...]

    def report(self) -> Report:
        """Returns accuracy, UAR, intervals, recall and calibration."""
        truth = [sample.label for sample in self.split.samples]
        found = [self.labels[i] for i in self.probabilities.argmax(-1)]
        right = [a == b for a, b in zip(truth, found, strict=True)]
        ece = calibration_error(self.probabilities.max(-1), right)
        return Report.of(ConfusionMatrix.of(self.labels, truth, found), ece=ece)

    def among(self, split: Split) -> Scored:
        """Returns the same predictions with other truths, for the stills that are in both."""
        rows = {sample.id: row for row, sample in enumerate(self.split.samples)}
        kept = split.with_samples(sample for sample in split.samples if sample.id in rows)
        chosen = self.probabilities[[rows[sample.id] for sample in kept.samples]]
        return Scored(kept, chosen, self.labels)


def read_picture(path: Path) -> Image:
    """Returns a picture, RGB (H, W, 3)."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)


def squares(model: PEClip, split: Split) -> list[Image]:
    """Returns the stills of a split as evaluation shows them to a model: whole, (S, S, 3)."""
    size = model.config.preprocess.image_size
    return [resize_frame(read_picture(sample.source), size) for sample in split.samples]


def ask(model: PEClip, pictures: Sequence[Image], frames: int = 1) -> NDArray[np.float64]:
    """Returns the probabilities (N, C) for pictures (S, S, 3), each a window of equal frames."""
    found: list[list[float]] = []
    for start in range(0, len(pictures), 64):
        crops = torch.from_numpy(np.stack(pictures[start : start + 64])).permute(0, 3, 1, 2)
        seen = model.preprocess(crops)[:, None].expand(-1, frames, -1, -1, -1)
        found += model.probabilities(Batch(seen))
    return np.asarray(found)


def score(model: PEClip, split: Split) -> Scored:
    """Asks a model about the stills of a split."""
    return Scored(split, ask(model, squares(model, split)), model.labels.names)


def load_private_test(data: Path, votes: Path) -> dict[str, Split]:
    """Returns PrivateTest with its own labels and with the majority of votes, and both without copies."""
    whole = DataConfig(dataset="fer2013", root=data / "fer2013", split="test")
    labels = load_split(whole)
    majority = load_split(whole.model_copy(update={"targets": "votes", "votes": votes}))
    alone = load_split(whole.model_copy(update={"copies": "drop_from_test"}))
    ids = {sample.id for sample in alone.samples}
    clean = majority.with_samples(sample for sample in majority.samples if sample.id in ids)
    return {
        "FER2013's labels, all": labels,
        "FER2013's labels, without copies": alone,
        "FER+ majority, all": majority,
        "FER+ majority, without copies": clean,
    }


def private_test(model: PEClip, splits: Mapping[str, Split]) -> dict[str, Scored]:
    """Returns one pass over PrivateTest with each of the truths; the first split has all images."""
    everything = score(model, next(iter(splits.values())))
    return {name: everything.among(split) for name, split in splits.items()}


def private_tables(scored: Mapping[str, Scored]) -> dict[str, str]:
    """Returns the tables of scores, of votes, of recall, and one confusion matrix: that of the last split."""
    reports = {name: one.report() for name, one in scored.items()}
    rows = [[name, *score_cells(report)] for name, report in reports.items()]
    voted = {name: one for name, one in scored.items() if one.split.samples[0].soft_target}
    return {
        "private": table(["truth, images", "n", "accuracy (WAR)", "UAR", "ECE"], rows),
        "votes": table(VOTES, [[name, *vote_cells(one)] for name, one in voted.items()]),
        "recall": recall_table(reports),
        "confusion": confusion_table(list(reports.values())[-1]),
    }


VOTES = ("images", "n", "cross-entropy", "entropy of the votes", "KL", "probability of the votes")


def vote_cells(scored: Scored) -> list[str]:
    """Returns n and means over images: `-sum t log p`, `-sum t log t`, their difference, `sum t p`."""
    votes = np.array(
        [
            [dict(s.soft_target or ()).get(name, 0.0) for name in scored.labels]
            for s in scored.split.samples
        ]
    )
    p = scored.probabilities.clip(1e-12)
    cross = -(votes * np.log(p)).sum(-1).mean()
    entropy = -(votes * np.log(votes.clip(1e-12))).sum(-1).mean()
    numbers = (cross, entropy, cross - entropy)
    likely = (votes * scored.probabilities).sum(-1).mean()
    return [f"{len(votes):,}", *(f"{number:.3f}" for number in numbers), percent(likely)]


def load_photographs(data: Path) -> Split:
    """Returns the half of the photographs of LFW that is for testing."""
    table_file = data / "lfw-test.csv"
    return load_split(DataConfig(dataset="table", root=data, annotations=table_file, split="test"))


def photograph_table(scored: Scored) -> str:
    """Returns where the photographs of each label go, and the mean of their recall."""
    report = scored.report()
    rows = []
    for name, counts in zip(report.labels, report.confusion.counts, strict=True):
        if total := int(counts.sum()):
            shares = [percent(count / total) for count in counts]
            rows.append([name, f"{total:,}", *shares, f"**{percent(report.recall[name])}**"])
    rows.append(["mean", f"{report.num_videos:,}", *[""] * len(report.labels), percent(report.uar)])
    return table(["truth \\ prediction", "n", *report.labels, "recall"], rows)


def repeated(model: PEClip, scored: Scored, images: int) -> str:
    """Returns a sentence on images shown as full windows, as `peclip evaluate` does, against one frame."""
    frames = model.config.num_frames
    step = max(1, len(scored.split) // images)
    part = scored.split.with_samples(scored.split.samples[::step])
    one = scored.among(part)
    window = Scored(part, ask(model, squares(model, part), frames), model.labels.names)
    same = (window.probabilities.argmax(-1) == one.probabilities.argmax(-1)).mean()
    return (
        f"Each image is one frame here. `peclip evaluate` repeats it {frames} times: of {len(part)} images {percent(same)} "
        f"have the same prediction then; accuracy {percent(window.report().war)} instead of {percent(one.report().war)}."
    )


def with_margin(model: PEClip, margin: float) -> PEClip:
    """Returns the model with crops of another margin."""
    preprocess = model.config.preprocess.model_copy(update={"face_margin": margin})
    config = model.config.derive(preprocess=preprocess)
    return PEClip(model.model, config, device=model.device, precision=model.precision)


def clip_table(model: PEClip, clips: Path) -> str:
    """Returns what is predicted for clips that are named by what they show."""
    wide, rows = with_margin(model, WIDE), []
    for name in EXPRESSIONS:
        video, truth = clips / f"{name}.mp4", canonical(name)
        found = [(label, f"{score:.2f}") for label, score in model.predict(video).scores.items()]
        other = wide.predict(video)
        rows.append(
            [
                name,
                "right" if found[0][0] == truth else "wrong",
                *(" ".join(one) for one in found[:2]),
                f"{other.label} {other.confidence:.2f}",
            ]
        )
    return table(["clip", "", "most likely", "second", f"most likely, margin {WIDE}"], rows)


def timeline(model: PEClip, video: Path) -> str:
    """Returns happiness and neutral over short windows of a video."""
    rows = model.predict(video, PredictOptions(window=0.3, hop=0.2)).rows
    shown = [
        [
            f"{row.start_s:.1f} to {row.end_s:.1f} s",
            row.label,
            f"{row.scores['neutral']:.2f}",
            f"{row.scores['happiness']:.2f}",
        ]
        for row in rows
        if row.label is not None
    ]
    return table(["window", "prediction", "neutral", "happiness"], shown)


def window_counts(model: PEClip, video: Path) -> str:
    """Returns how many windows of a video have which label, such as `neutral 6 of 7 windows`."""
    labels = [row.label for row in model.predict(video).rows if row.label is not None]
    counts = Counter(labels).most_common()
    return ", ".join(f"{label} {count}" for label, count in counts) + f" of {len(labels)} windows"


@torch.inference_mode()
def accuracy(model: PEClip, split: Split, frames: int, share: float, *, neutral: bool) -> float:
    """Returns the accuracy on windows of which a share shows a still, between frames of a neutral face.

    Args:
        model: in fp32; it is asked without mirror images, which halves the time.
        split: the stills.
        frames: of a window.
        share: from 0 to 1.
        neutral: whether the stills are the neutral ones, or all others.
    """
    stills = [i for i, sample in enumerate(split.samples) if (sample.label == "neutral") is neutral]
    between = {"partial": 1.0, "share": (share, share)} if share < 1 else {}
    data = AnimatedStills(
        split,
        model.config.preprocess,
        frames,
        seed=0,
        labels=model.labels,
        animate=AnimateConfig.model_validate(STILL | between),
    )
    network = copy.copy(model.model)
    network.mirror = False
    frozen = FrozenModel(network, model.device, model.precision)
    right = 0
    for videos in load_batches(data, batches_of([Draw(0, i) for i in stills], 16)):
        assert videos is not None
        logits = frozen(Batch(model.preprocess(videos.crops)))
        right += int((logits.argmax(-1) == videos.targets).sum())
    return right / len(stills)


def load_public_test(data: Path, votes: Path, images: int) -> Split:
    """Returns every so-many-th image of PublicTest, with the majority of votes."""
    config = DataConfig(
        dataset="fer2013", root=data / "fer2013", split="val", targets="votes", votes=votes
    )
    split = load_split(config)
    return split.with_samples(split.samples[:: max(1, len(split) // images)])


def share_table(models: Mapping[str, PEClip], split: Split, frames: int) -> str:
    """Returns the accuracy over the share of a window that shows an expression."""
    rows = []
    for kind, neutral in (("expressive", False), ("neutral", True)):
        for name, model in models.items():
            curve = [accuracy(model, split, frames, share, neutral=neutral) for share in SHARES]
            rows.append([f"{kind}, {name}", *map(percent, curve)])
    return table(["part of the window", *(f"{100 * share:.0f} %" for share in SHARES)], rows)
