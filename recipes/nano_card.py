r"""Packs the embedded model, measures it and writes its card: the last step of `make nano`.

    python recipes/nano_card.py --data fer2013 --clips clips --model runs/nano/model \
        --pooled runs/nano-pooled/model --out src/peclip/assets/nano

Everything in the card is measured here, on the packed weights (fp16 in the file, fp32 in the computation):
PrivateTest as one-frame windows, the clips, the share of a window that must be expressive, the size and the speed.
The words around the numbers are those of nano_card.md. The curve over the share is made from PublicTest: an expressive
part of a given share at a random place, between frames of a neutral face; `--pooled` is the network that the
temporal adapter was added to, which means over frames.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

import cv2
import numpy as np
import torch

import peclip
from peclip import PEClip, PredictOptions
from peclip.data import DataConfig, Split, load_split
from peclip.data.animation import AnimateConfig, AnimatedStills
from peclip.data.dataset import Draw
from peclip.data.loader import batches_of, load_batches
from peclip.labels import canonical
from peclip.metrics.report import Report
from peclip.runs.dataset_evaluation import EvaluateOptions, evaluate_dataset
from peclip.runtime import device_name
from peclip.types import Batch
from peclip.video.reader import open_video
from peclip.weights.checkpoint import TENSORS, save_model
from peclip.weights.model_card import ETHICS
from peclip.weights.parameter_counts import count_parameters

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "neutral", "sadness", "surprise")
"""Clips that are named by what they show."""

SHARES = (0.125, 0.25, 1 / 3, 0.5, 0.75, 1.0)
CHANGES = (
    "rotation scale stretch shift jitter flip contrast brightness blur compression noise erase"
)
STILL = dict.fromkeys(CHANGES.split(), 0.0)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def private_test(model: Path, data: Path) -> Report:
    """Returns the scores of PrivateTest, every image a window of one frame."""
    asked = evaluate_dataset(
        model,
        DataConfig(dataset="fer2013", root=data),
        EvaluateOptions(batch_size=32, workers=0),
        device="cpu",
        precision="fp32",
    )
    return asked.folds[0].report


def confusion_table(report: Report) -> str:
    names = report.confusion.labels
    rows = []
    for name, counts in zip(names, report.confusion.counts.tolist(), strict=True):
        rows.append([name, *counts, f"{100 * (report.recall[name] or 0):.1f} %"])
    return table(["truth \\ answer", *names, "recall"], rows)


def with_wide_crops(model: PEClip) -> PEClip:
    """Returns the model with crops that do not match FER2013: more room, and not turned."""
    wide = model.config.preprocess.model_copy(
        update={"face_margin": 0.3, "face_shift": 0.0, "align": False}
    )
    config = model.config.derive(preprocess=wide)
    return PEClip(model.model, config, device=model.device, precision=model.precision)


def clip_table(model: PEClip, clips: Path) -> str:
    wide, rows = with_wide_crops(model), []
    for name in EXPRESSIONS:
        video, truth = clips / f"{name}.mp4", canonical(name)
        found = [(name, f"{score:.2f}") for name, score in model.predict(video).scores.items()]
        before = wide.predict(video)
        marks = ["right" if label == truth else "wrong" for label in (found[0][0], before.label)]
        rows.append([name, marks[0], *(" ".join(one) for one in found[:2]), marks[1]])
    return table(["video", "answer", "most likely", "next", "with wide crops"], rows)


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
    return table(["window", "answer", "neutral", "happiness"], shown)


@torch.inference_mode()
def accuracy(model: PEClip, split: Split, share: float, *, neutral: bool) -> float:
    """Returns the accuracy in per cent on windows of which a share shows a still, between frames of a neutral face.

    Args:
        model: in fp32.
        split: the stills.
        share: from 0 to 1.
        neutral: whether the stills are the neutral ones, or all others.
    """
    stills = [i for i, sample in enumerate(split.samples) if (sample.label == "neutral") is neutral]
    animate = AnimateConfig.model_validate(
        STILL | {"partial": 1.0, "share": (share, share)} if share < 1 else STILL
    )
    data = AnimatedStills(
        split,
        model.config.preprocess,
        model.config.num_frames,
        seed=0,
        labels=model.labels,
        animate=animate,
    )
    texts = model.model.encode_labels()
    right = 0
    for videos in load_batches(data, batches_of([Draw(0, i) for i in stills], 32)):
        assert videos is not None
        logits = model.model(Batch(model.preprocess(videos.crops)), texts).logits
        right += int((logits.argmax(-1) == videos.targets).sum())
    return 100 * right / len(stills)


def share_table(models: dict[str, PEClip], split: Split) -> str:
    rows = []
    for kind, neutral in (("expressive", False), ("neutral", True)):
        for name, model in models.items():
            curve = [accuracy(model, split, share, neutral=neutral) for share in SHARES]
            rows.append([f"{kind}, {name}", *(f"{value:.1f} %" for value in curve)])
    return table(["part of the window", *(f"{100 * share:.0f} %" for share in SHARES)], rows)


def speed(model: PEClip, clip: Path) -> tuple[float, str]:
    """Returns seconds of 480p video at 30 fps that are predicted in a second, and with which detector.

    The clip's first frames are scaled to 854x480 with room at the sides and repeated for 20 s.
    """
    with open_video(clip) as reader:
        frames = next(iter(reader.chunks(64))).data.permute(0, 2, 3, 1).numpy()
    wide = []
    for frame in frames:
        picture = np.full((480, 854, 3), 96, np.uint8)
        face = cv2.resize(frame, (round(480 * frame.shape[1] / frame.shape[0]), 480))[:, :854]
        left = (854 - face.shape[1]) // 2
        picture[:, left : left + face.shape[1]] = face
        wide.append(picture)
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        written = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 30, (854, 480))
        for number in range(600):
            written.write(cv2.cvtColor(wide[number % len(wide)], cv2.COLOR_RGB2BGR))
        written.release()
        options = PredictOptions()
        model.predict(video, options)
        start = time.perf_counter()
        prediction = model.predict(video, options)
        seconds = time.perf_counter() - start
    return 20 / seconds, str(prediction.metadata["face_detector"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--pooled", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=600, help="of PublicTest, for the curve")
    arguments = parser.parse_args()
    trained = PEClip.from_pretrained(arguments.model, device="cpu", precision="fp32")
    save_model(trained.model, trained.config, arguments.out, full=True, half=True)
    model = PEClip.from_pretrained(arguments.out, device="cpu", precision="fp32")
    pooled = PEClip.from_pretrained(arguments.pooled, device="cpu", precision="fp32")
    report = private_test(arguments.out, arguments.data)
    assert report.ece is not None
    split = load_split(DataConfig(dataset="fer2013", root=arguments.data, split="val"))
    split = split.with_samples(split.samples[:: max(1, len(split) // arguments.images)])
    times, detector = speed(model, arguments.clips / "happy.mp4")
    counts = count_parameters(model.config)["total"]
    facts = {
        "parameters": table(["part", "parameters"], [[k, f"{v:,}"] for k, v in counts.items()]),
        "megabytes": f"{(arguments.out / TENSORS).stat().st_size / 1e6:.1f}",
        "num_frames": model.config.num_frames,
        "war": f"{100 * report.war:.2f}",
        "uar": f"{100 * report.uar:.2f}",
        "ece": f"{report.ece:.4f}",
        "num_images": f"{report.num_videos:,}",
        "confusion": confusion_table(report),
        "clips": clip_table(model, arguments.clips),
        "timeline": timeline(model, arguments.clips / "single_face.mp4"),
        "shares": share_table({"TDA": model, "mean over frames": pooled}, split),
        "curve_images": len(split),
        "speed": f"{times:.1f}",
        "detector": detector,
        "machine": f"{device_name(model.device)}, {torch.get_num_threads()} threads",
        "version": peclip.__version__,
        "ethics": ETHICS,
    }
    words = Template((Path(__file__).with_suffix(".md")).read_text(encoding="utf-8"))
    card = words.substitute({name: str(value) for name, value in facts.items()})
    (arguments.out / "README.md").write_text(card, encoding="utf-8")
    print(json.dumps({name: facts[name] for name in ("war", "uar", "ece", "megabytes", "speed")}))


if __name__ == "__main__":
    main()
