r"""Packs the embedded model, measures it and writes its card: the last step of `make nano`.

    python recipes/nano_card.py --data runs --votes fer2013_ferplus_votes.csv --clips clips \
        --model runs/nano/model --pooled runs/nano-backbone/model --out src/peclip/assets/nano \
        --stages runs/nano-face runs/nano-backbone runs/nano \
        --ablation "everything=runs/ablation-all" --previous CHECKOUT --peers peers.md

`--data` holds fer2013/, lfw_faces/ and lfw-test.csv. Everything in the card is measured here, on the packed weights
(fp16 in the file, fp32 in the computation), or read from the folders of the runs; the words around the numbers are
those of nano_card.md. `--pooled` is the network that the adapters were added to, whose predictions are means over frames.
`--previous` is a checkout of peclip with an earlier embedded model: it is timed in turn with this one, and asked about
the same images. Tables of what was not given are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

from nano_measures import (
    Scored,
    clip_table,
    load_photographs,
    load_private_test,
    load_public_test,
    photograph_table,
    private_tables,
    private_test,
    read_picture,
    repeated,
    score,
    share_table,
    timeline,
    window_counts,
)
from nano_robustness import chosen, photograph_curves, still_curves
from nano_speed import SECONDS, Times, ask_previous, measure_in_turns
from nano_tables import ablation_table, operating_point, percent, read_json, stage_table, table

import peclip
from peclip import PEClip, PredictOptions
from peclip.data import Split
from peclip.metrics.report import Report
from peclip.weights.checkpoint import save_model
from peclip.weights.folder import CONFIG, TENSORS
from peclip.weights.model_card import ETHICS
from peclip.weights.parameter_counts import count_parameters

MAIN = "FER+ majority, without copies"
PARTS = ("all", "without copies")
Facts = dict[str, object]


def named_folder(text: str) -> tuple[str, Path]:
    """Reads `name=folder`."""
    name, sign, folder = text.partition("=")
    if not (name and sign and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not name=folder")
    return name, Path(folder)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("data", "votes", "clips", "model", "pooled", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1000, help="of PrivateTest, for robustness")
    parser.add_argument(
        "--photographs", type=int, default=150, help="of each label, for robustness"
    )
    parser.add_argument("--windows", type=int, default=300, help="images shown as whole windows")
    parser.add_argument("--turns", type=int, default=3, help="of timing")
    parser.add_argument("--previous", type=Path, help="checkout with the previous model")
    parser.add_argument("--peers", type=Path, help="Markdown of benchmarks/peers.py")
    parser.add_argument("--stages", type=Path, nargs="*", default=[], help="run folders in order")
    parser.add_argument(
        "--ablation", type=named_folder, nargs="*", default=[], help="name=run folder"
    )
    return parser.parse_args()


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Prints how long a measurement takes."""
    start, cpu = time.perf_counter(), time.process_time()
    yield
    spent = time.perf_counter() - start, time.process_time() - cpu
    print(f"{name}: {spent[0]:.0f} s, {spent[1]:.0f} s of CPU", flush=True)


def load(model: Path) -> PEClip:
    return PEClip.from_pretrained(model, device="cpu", precision="fp32")


def pack(model: Path, out: Path) -> PEClip:
    """Writes a trained model with weights in fp16, and loads what was written."""
    trained = load(model)
    save_model(trained.model, trained.config, out, full=True, half=True)
    return load(out)


def compare(new: Mapping[str, Report], old: Mapping[str, Report]) -> str:
    """Returns the scores of the previous model and of this one on the same images."""
    rows = []
    for name, report in new.items():
        for title, one in (("previous", old.get(name)), ("this one", report)):
            if one is not None:
                cells = (one.war, one.uar, one.recall["neutral"])
                rows.append([name, title, f"{one.num_videos:,}", *map(percent, cells)])
    return table(["images", "nano", "n", "accuracy", "UAR", "recall of neutral"], rows)


def scores_of_previous(checkout: Path, splits: Mapping[str, Split]) -> dict[str, Report]:
    """Returns the scores of the previous model on splits."""
    sets = [[read_picture(sample.source) for sample in one.samples] for one in splits.values()]
    answers, labels = ask_previous(checkout, sets)
    pairs = zip(splits.items(), answers, strict=True)
    return {name: Scored(split, found, labels).report() for (name, split), found in pairs}


def measure_stills(arguments: argparse.Namespace, model: PEClip) -> Facts:
    with stage("PrivateTest"):
        scored = private_test(model, load_private_test(arguments.data, arguments.votes))
        facts: Facts = dict(private_tables(scored))
        whole, alone = (len(scored[f"FER2013's labels, {part}"].split) for part in PARTS)
        facts |= {"all_images": f"{whole:,}", "copies": whole - alone}
        report = scored[MAIN].report()
        facts["main"] = report
        facts["repeated"] = repeated(model, scored[MAIN], arguments.windows)
    with stage("photographs of LFW"):
        photographs = score(model, load_photographs(arguments.data))
        facts["photographs"] = photograph_table(photographs)
        facts["faces"] = photographs.report()
    new = {MAIN: report, "LFW, test half": photographs.report()}
    old = {}
    if arguments.previous:
        with stage("previous model"):
            splits = {MAIN: scored[MAIN].split, "LFW, test half": photographs.split}
            old = scores_of_previous(arguments.previous, splits)
    facts["compared"] = compare(new, old)
    with stage("robustness"):
        subset = chosen(scored[MAIN].split, arguments.images)
        facts |= {"robustness": still_curves(model, subset), "robust_images": f"{len(subset):,}"}
        subset = chosen(
            photographs.split, arguments.photographs, ("neutral", "happiness", "surprise", "anger")
        )
        curves, found = photograph_curves(model, subset)
        facts |= {"crops": curves, "crop_images": f"{found} of {len(subset)}"}
    return facts


def measure_videos(arguments: argparse.Namespace, model: PEClip) -> Facts:
    with stage("clips"):
        facts: Facts = {
            "clips": clip_table(model, arguments.clips),
            "timeline": timeline(model, arguments.clips / "single_face.mp4"),
            "carphone": window_counts(model, arguments.clips / "carphone_pristine.mp4"),
            "detector": getattr(model.detector(PredictOptions()), "name", "none"),
        }
    with stage("part of a window"):
        split = load_public_test(arguments.data, arguments.votes, arguments.windows)
        models = {"TDA": model, "mean over frames": load(arguments.pooled)}
        facts |= {
            "shares": share_table(models, split, model.config.num_frames),
            "curve_images": len(split),
        }
    return facts


def speed_table(arguments: argparse.Namespace) -> Facts:
    """Times the model, and the previous one in turn; returns the table and the speed of `predict`."""
    with stage("speed"):
        times = measure_in_turns(
            arguments.out, arguments.previous, arguments.clips / "happy.mp4", arguments.turns
        )
    sizes = [(arguments.out / TENSORS).stat().st_size / 1e6]
    if arguments.previous:
        old = arguments.previous / "src/peclip/assets/nano" / TENSORS
        sizes.append(old.stat().st_size / 1e6)
    rows = [["weights, MB", *cells(sizes, 1)]]
    names = {
        "window_cpu": "a window of 8 frames and its mirror image, ms of CPU",
        "window_wall": "the same, ms",
        "video_cpu": f"predict, {SECONDS} s of 854x480 at 30 fps, ms of CPU",
        "video_wall": "the same, ms",
    }
    rows += [[words, *cells([1000 * one[key] for one in times], 1)] for key, words in names.items()]
    head = ["", "this one", "previous", "previous / this one"][: 2 + 2 * (len(times) - 1)]
    return {"speed": table(head, rows), "megabytes": f"{sizes[0]:.1f}", "times": speed(times[0])}


def speed(times: Times) -> str:
    return f"{SECONDS / times['video_wall']:.1f}"


def cells(values: list[float], digits: int) -> list[str]:
    """Returns the numbers and, of two, how many times the second is the first."""
    shown = [f"{value:.{digits}f}" for value in values]
    return shown if len(values) == 1 else [*shown, f"{values[1] / values[0]:.2f}"]


def read_runs(arguments: argparse.Namespace, model: PEClip) -> Facts:
    config = read_json(arguments.out / CONFIG)
    counts = count_parameters(model.config)["total"]
    stages = (
        stage_table(arguments.stages)
        if arguments.stages
        else "Not measured in this run: `make nano-ablation` trains them, and `make nano` adds them to this card."
    )
    peers = "Not measured in this run: see benchmarks/peers.py."
    if arguments.peers:
        peers = arguments.peers.read_text(encoding="utf-8").strip()
    return {
        "parameters": table(["part", "parameters"], [[k, f"{v:,}"] for k, v in counts.items()]),
        "num_frames": model.config.num_frames,
        "image_size": model.config.preprocess.image_size,
        "margin": model.config.preprocess.face_margin,
        "stages": stages,
        "ablation": ablation_table(dict(arguments.ablation))
        if arguments.ablation
        else "Not measured in this run: `make nano-ablation` trains them, and `make nano` adds them to this card.",
        "point": operating_point(arguments.model.parent, config),
        "peers": peers,
        "cores": os.cpu_count(),
        "version": peclip.__version__,
        "ethics": ETHICS,
    }


def headline(report: Report, faces: Report) -> Facts:
    """Returns the numbers that sentences of the card name."""
    recalled = {name: value for name, value in report.recall.items() if value is not None}
    worst = sorted(recalled, key=lambda name: recalled[name])[:2]
    return {
        "war": percent(report.war),
        "uar": percent(report.uar),
        "neutral": percent(report.recall["neutral"]),
        "num_images": f"{report.num_videos:,}",
        "faces_uar": percent(faces.uar),
        "faces_neutral": percent(faces.recall["neutral"]),
        "num_faces": f"{faces.num_videos:,}",
        "worst": " and ".join(f"{name} ({percent(recalled[name], 0)})" for name in worst),
    }


def main() -> None:
    arguments = read_arguments()
    model = pack(arguments.model, arguments.out)
    facts: dict[str, Any] = measure_stills(arguments, model)
    facts |= headline(facts.pop("main"), facts.pop("faces"))
    facts |= measure_videos(arguments, model) | speed_table(arguments)
    facts |= read_runs(arguments, model)
    words = Template(Path(__file__).with_suffix(".md").read_text(encoding="utf-8"))
    card = words.substitute({name: str(value) for name, value in facts.items()})
    (arguments.out / "README.md").write_text(card, encoding="utf-8")
    shown = ("war", "uar", "neutral", "faces_uar", "faces_neutral", "carphone", "megabytes")
    print(json.dumps({name: facts[name] for name in shown}))


if __name__ == "__main__":
    main()
