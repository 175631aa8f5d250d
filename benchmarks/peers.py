"""Other packages for facial expressions beside peclip, on the same face crops: a table in Markdown.

    pip install peclip tensorflow-cpu 'opencv-python-headless<5' scikit-image 'setuptools<81'
    pip install --no-deps fer facex
    python benchmarks/peers.py --data FER2013 --votes votes.csv --peers nano fer facex
    python benchmarks/peers.py --dataset folder --data labelled-faces --split all --peers nano fer

`fer` and `facex` need TensorFlow (more than 1 GB) and OpenCV 4, so give them an environment of their own, with peclip
in it; the other packages that they ask for are not needed here. Every peer is given the crop itself, and none searches
for a face: the numbers are of the classifiers alone, on pictures that are cropped as FER2013 is.

nano has learned from FER2013's Training, and so has fer's network; facex does not say what it has learned from. Eight of
a hundred pictures of PrivateTest have the pixels of one in Training and show what a network remembers, so the rows
"without copies" are those to compare.

`--votes` is a file as for `data.votes` (docs/datasets.md), such as FER+'s: the label with the most votes is the second
target of a picture. Where that is a tie, or contempt, unknown or NF, the picture is left out of these rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import torch

from peclip.data import DataConfig, find_benchmark, read_split
from peclip.data.duplicates import pixel_digests
from peclip.data.votes import Votes, most_voted
from peclip.labels import EMOTIONS, canonical
from peclip.metrics.confusion import ConfusionMatrix
from peclip.metrics.report import Report
from peclip.recognizers.loading import load
from peclip.types import Batch
from peclip.video.faces import resize_frame

Pixels = np.ndarray
"""A face crop, uint8 (H, W, 3), RGB."""

Peer = Callable[[Sequence[Pixels]], list[dict[str, float]]]
"""Face crops → probabilities by label name, in any usual spelling."""

OWN, CROWD = "data set", "votes"


@dataclass(frozen=True)
class Face:
    """A picture to recognise."""

    pixels: Pixels
    targets: Mapping[str, str]
    """The label by whom: the data set, and the voters where they agree on one."""
    is_copy: bool = False
    """Its pixels are those of a training picture."""


def load_peclip(name: str) -> Peer:
    """Returns a model of peclip, which sees a still as a window of equal frames."""
    model = load(name)
    T, size = model.config.num_frames, model.config.preprocess.image_size

    def recognise(crops: Sequence[Pixels]) -> list[dict[str, float]]:
        squares = np.stack([resize_frame(crop, size) for crop in crops])
        frames = torch.from_numpy(squares).permute(0, 3, 1, 2)[:, None].expand(-1, T, -1, -1, -1)
        rows = model.probabilities(Batch(model.preprocess(frames.to(model.device))))
        return [dict(zip(model.labels, row, strict=True)) for row in rows]

    return recognise


def load_fer(use_tflite: bool) -> Peer:
    """Returns `fer` (mini-Xception, 64x64), whose probabilities come with two decimals."""
    from fer.fer import FER

    detector = FER(use_tflite=use_tflite, offsets=(0, 0))  # no margin around the rectangle

    def recognise(crops: Sequence[Pixels]) -> list[dict[str, float]]:
        found = []
        for crop in crops:
            height, width = crop.shape[:2]
            picture = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
            (face,) = detector.detect_emotions(picture, [(0, 0, width, height)])
            found.append(dict(face["emotions"]))
        return found

    return recognise


def load_facex() -> Peer:
    """Returns `facex` (200x200, grey)."""
    import facex
    from facex.core import EmotionClassifier

    model = Path(facex.__file__).parent / "assets" / "model_optimized.tflite"
    classifier = EmotionClassifier(str(model))

    def recognise(crops: Sequence[Pixels]) -> list[dict[str, float]]:
        grey = [cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in crops]
        return [
            {name: float(p) for name, p in classifier.detect_emotion(crop).items()} for crop in grey
        ]

    return recognise


PEERS: dict[str, Callable[[], Peer]] = {
    "nano": lambda: load_peclip("nano"),
    "fer": lambda: load_fer(use_tflite=True),
    "fer-keras": lambda: load_fer(use_tflite=False),
    "facex": load_facex,
}
"""By the name for --peers: what loads it. `fer` is its default, a quantised network; `fer-keras` is the whole one."""


def read_pixels(path: Path) -> Pixels:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SystemExit(f"{path} cannot be read as an image. Leave it out, or get it again.")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))


def majority(votes: Mapping[str, float]) -> str | None:
    """Returns the label of an emotion with more votes than any other column; `None` without one."""
    first = most_voted(votes)
    return first[0] if len(first) == 1 and first[0] in EMOTIONS[:7] else None


def read_faces(data: DataConfig, votes: Path | None, limit: int | None) -> list[Face]:
    """Reads the pictures of a split, in a random order if there is a limit."""
    split = read_split(data)
    samples = list(split.samples)
    if limit is not None:
        Random(0).shuffle(samples)
    samples = samples[:limit]
    crowd: Votes = {}
    if votes is not None:
        voted = data.model_copy(update={"votes": votes, "targets": "votes"})
        crowd = find_benchmark(data.dataset).read_votes(voted, split.labels)
    copies = [False] * len(samples)
    if data.dataset == "fer2013":
        train = read_split(data.model_copy(update={"split": "train"}))
        learned = {*pixel_digests(train.samples)}
        copies = [digest in learned for digest in pixel_digests(samples)]
    faces = []
    for sample, is_copy in zip(samples, copies, strict=True):
        said = majority(crowd.get(sample.id, {}))
        targets = {OWN: sample.label, **({} if said is None else {CROWD: said})}
        faces.append(Face(read_pixels(sample.source), targets, is_copy))
    return faces


def ask(peer: Peer, faces: Sequence[Face], batch_size: int) -> tuple[list[str], float]:
    """Returns the most likely label of every face, and the seconds for all of them."""
    peer([face.pixels for face in faces[:1]])  # whatever is prepared once
    labels, start = [], time.perf_counter()
    for first in range(0, len(faces), batch_size):
        crops = [face.pixels for face in faces[first : first + batch_size]]
        labels += [canonical(max(found, key=found.__getitem__)) for found in peer(crops)]
    return labels, time.perf_counter() - start


def score(faces: Sequence[Face], labels: Sequence[str], by: str) -> Report | None:
    """Returns the report against one kind of targets; `None` if no face has such a target."""
    pairs = [(f.targets[by], x) for f, x in zip(faces, labels, strict=True) if by in f.targets]
    if not pairs:
        return None
    targets, found = zip(*pairs, strict=True)
    known = {*targets, *found}
    names = [*(n for n in EMOTIONS if n in known), *sorted(known - set(EMOTIONS))]
    return Report.of(ConfusionMatrix.of(names, targets, found), resamples=0)


def table(faces: Sequence[Face], answers: Mapping[str, tuple[list[str], float]]) -> str:
    """Returns the table: for every kind of targets, with and without copies, a row per peer."""
    seen = {name for face in faces for name in face.targets.values()}
    names = [*(n for n in EMOTIONS if n in seen), *sorted(seen - set(EMOTIONS))]
    heading = ["peer", "targets", "pictures", "n", "accuracy", "UAR", *names, "s per 1,000"]
    lines = [heading, ["---"] * len(heading)]
    parts = {"all": list(range(len(faces)))}
    if any(face.is_copy for face in faces):
        parts["without copies"] = [i for i, face in enumerate(faces) if not face.is_copy]
    for by in (OWN, CROWD):
        for part, chosen in parts.items():
            for peer, (labels, seconds) in answers.items():
                report = score([faces[i] for i in chosen], [labels[i] for i in chosen], by)
                if report is not None:
                    recall = [_percent(report.recall.get(name)) for name in names]
                    scores = [_percent(report.war), _percent(report.uar), *recall]
                    speed = f"{1000 * seconds / len(faces):.1f}"
                    lines.append([peer, by, part, str(report.num_videos), *scores, speed])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--dataset", default="fer2013", help="fer2013, folder or table")
    parser.add_argument("--annotations", type=Path, help="of a table")
    parser.add_argument("--split", default="test")
    parser.add_argument("--votes", type=Path, help="a csv of votes by file")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=["nano"])
    parser.add_argument("--limit", type=int, help="so many pictures, drawn at random")
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args(arguments)
    peers: dict[str, Any] = {}
    for name in given.peers:
        try:
            peers[name] = PEERS[name]()
        except ImportError as error:
            raise SystemExit(
                f"{name} cannot be loaded: {error}. Install it as the first lines of this file say, or leave "
                "it out of --peers."
            ) from None
    data = DataConfig(
        dataset=given.dataset, root=given.data, annotations=given.annotations, split=given.split
    )
    faces = read_faces(data, given.votes, given.limit)
    print(table(faces, {name: ask(peer, faces, given.batch) for name, peer in peers.items()}))


if __name__ == "__main__":
    main()
