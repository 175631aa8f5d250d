"""The sections of `gpu.py`: each is a function that writes rows as it measures them."""

from __future__ import annotations

import argparse
import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import train_step
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from videos import crowd, write_video

from peclip import PEClip, PredictOptions
from peclip.engines.base import Job
from peclip.engines.local import open_local
from peclip.models import frozen as frozen_models
from peclip.models.frozen import FrozenModel
from peclip.models.registry import build_model
from peclip.nn.gru import compile_encoder
from peclip.recognizers.predictor import Predictor
from peclip.runtime import compute_type, fp32_products
from peclip.types import Batch
from peclip.video.sources import Source
from peclip.video.windows import FaceWindow
from peclip.weights.resolve import backbone_model_config

Write = Callable[..., None]
ROOT = Path(__file__).resolve().parents[1]
SLOW_CALL_S = 0.4
"""Larger batches than one that takes so long are left out: the device is busy."""


def device_of() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precisions_of(device: torch.device) -> list[str]:
    return ["bf16", "fp16", "tf32", "fp32"] if device.type == "cuda" else ["bf16", "fp32"]


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Returns the time of a call among several that do not wait for each other, as in a busy pipeline."""
    least_s = 0.3 if device.type == "cuda" else 0.02  # a dry run
    call()
    wait(device)
    start = time.perf_counter()
    call()
    wait(device)
    once = time.perf_counter() - start
    count = max(2, min(200, math.ceil(least_s / max(once, 1e-6))))
    start = time.perf_counter()
    for _ in range(count):
        call()
    wait(device)
    return (time.perf_counter() - start) / count


def peak_mb(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else math.nan


@contextmanager
def fresh_memory(device: torch.device) -> Iterator[None]:
    """Counts the peak memory of the block alone; the results of the block must be dropped by then."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    yield


def rates(write: Write, folder: Path, *, dry: bool) -> None:
    """The rate of a large matrix product in each precision."""
    device, size = device_of(), 128 if dry else 8192
    for precision in precisions_of(device):
        with torch.inference_mode(), fp32_products(device, precision):
            a = torch.randn(size, size, device=device, dtype=compute_type(precision))
            taken = seconds(lambda a=a: a @ a, device)
        write(precision=precision, size=size, tflops=2 * size**3 / taken / 1e12)


def known_rates(folder: Path) -> dict[str, float]:
    """Returns the rates that the section `rate` has measured, in operations per second."""
    from gpu import read_rows

    return {row["precision"]: row["tflops"] * 1e12 for row in read_rows(folder / "rate.jsonl")}


def gpu_tests(write: Write, folder: Path, *, dry: bool) -> None:
    """The tests that need CUDA, which no machine without it has ever run."""
    marked = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "pytest.mark.gpu" in path.read_text(encoding="utf-8")
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    command += ["--collect-only"] if dry else []
    done = subprocess.run([*command, *marked], cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()[-200:]]
    for line in lines:
        if re.match(r"(FAILED|ERROR) ", line):
            write(result=line[:300])
    write(result=lines[-1])


def model_of(backbone: str, device: torch.device, precision: str, frames: int) -> PEClip:
    config = backbone_model_config(backbone, None, "pe-clip").derive(num_frames=frames)
    network = build_model(config).eval().requires_grad_(False)
    return PEClip(network, config, device=device, precision=precision)


def windows_of(model: PEClip, count: int) -> list[FaceWindow]:
    """Returns windows of noise in the memory of the host."""
    side = model.config.preprocess.image_size
    shape = (model.config.num_frames, side, side, 3)
    crops = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return [
        FaceWindow(0, n, 0.0, 1.0, 0, len(crops) - 1, len(crops), crops.copy(), None, 1.0, 1)
        for n in range(count)
    ]


def operations_of(model: PEClip) -> int:
    """Returns the operations of one window, as torch counts them, without GRUs."""
    batch = model.batch(windows_of(model, 1))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model.model(batch, model.label_features())
    return int(counter.get_total_flops())


def inference(write: Write, folder: Path, *, dry: bool, backbone: str) -> None:
    """Windows per second: of the network alone, and from crops in the host's memory to probabilities."""
    device, known = device_of(), known_rates(folder)
    backbone, batches = ("debug", [1]) if dry else (backbone, [1, 8, 32, 64, 128])
    model = model_of(backbone, device, "fp32", 2 if dry else 16)
    work = operations_of(model)
    for precision in precisions_of(device):
        other = PEClip(model.model, model.config, device=device, precision=precision)
        for batch in batches:
            row: dict[str, Any] = {"precision": precision, "batch": batch}
            try:
                with fresh_memory(device):
                    taken = network_and_whole(other, windows_of(other, batch))
            except torch.OutOfMemoryError:
                write(**row, note="out of memory")
                break
            row |= {"windows/s": batch / taken[0], "from crops": batch / taken[1]}
            row["TFLOP/s"] = work * batch / taken[0] / 1e12
            if precision in known:
                row["use"] = work * batch / taken[0] / known[precision]
            write(**row, **{"peak MB": peak_mb(device)})
            if taken[0] > SLOW_CALL_S:
                break


def network_and_whole(model: PEClip, windows: Sequence[FaceWindow]) -> tuple[float, float]:
    """Returns the seconds of the network for a batch on the device, and of `score`."""
    frozen = FrozenModel(model.model, model.device, model.precision)
    batch = model.batch(windows)
    network = seconds(partial(frozen, batch), model.device)
    return network, seconds(lambda: model.score(windows), model.device)


def compiled(write: Write, folder: Path, *, dry: bool) -> None:
    """torch.compile of the vision tower against the same without it, and what it takes to compile."""
    device, known = device_of(), known_rates(folder)
    backbone, batch = ("debug", 2) if dry else ("ViT-B-16-quickgelu", 32)
    precision = "bf16" if device.type == "cuda" else "fp32"
    if device.type != "cuda":  # where layers are packed, which is not meant to be compiled
        frozen_models.pack = lambda encoder, *_: encoder
    model = model_of(backbone, device, precision, 2 if dry else 16)
    work, frames = operations_of(model), model.batch(windows_of(model, batch))
    frozen = FrozenModel(model.model, device, precision)
    expected = frozen(frames).softmax(-1)
    row = {"batch": batch, "precision": precision}

    def report(way: str, taken: float, **more: Any) -> None:
        rate = known.get(precision)
        use = {} if rate is None else {"use": work * batch / taken / rate}
        write(way=way, **row, **{"windows/s": batch / taken}, **use, **more)

    report("eager", seconds(lambda: frozen(frames), device))
    start = time.perf_counter()
    if dry:
        torch._dynamo.config.allow_rnn = True
        frozen.network.encoders()[0].compile(backend="aot_eager")
    else:
        compile_encoder(frozen.network.encoders()[0])
    apart = (frozen(frames).softmax(-1) - expected).abs().max().item()
    wait(device)
    took = time.perf_counter() - start
    breaks = sum(torch._dynamo.utils.counters["graph_break"].values())
    told = {"compile s": took, "graph breaks": breaks, "probabilities within": apart}
    report("compiled", seconds(lambda: frozen(frames), device), **told)


def graphs(write: Write, folder: Path, *, dry: bool) -> None:
    """CUDA graphs against ordinary calls: they pay where the launches take longer than the kernels."""
    device = device_of()
    cases = [("nano", 8), ("nano", 64), ("ViT-B-16-quickgelu", 1), ("ViT-B-16-quickgelu", 32)]
    for backbone, batch in [("debug", 1)] if dry else cases:
        model = (
            PEClip.from_pretrained(device=str(device), precision="bf16")
            if backbone == "nano"
            else model_of(backbone, device, "bf16", 2 if dry else 16)
        )
        frames = model.batch(windows_of(model, batch))
        frozen = FrozenModel(model.model, device, "bf16")
        row = {"model": backbone, "batch": batch}
        ordinary = seconds(lambda frozen=frozen, frames=frames: frozen(frames), device)
        row["windows/s"] = batch / ordinary
        if device.type != "cuda":
            write(**row, note="graphs need CUDA")
            continue
        try:
            replay, output = captured(partial(frozen, frames))
        except RuntimeError as error:
            write(**row, note=f"cannot be captured: {str(error).splitlines()[0][:150]}")
            continue
        taken = seconds(replay, device)
        apart = (output - frozen(frames)).abs().max().item()
        told = {"with a graph": batch / taken, "ratio": ordinary / taken, "logits within": apart}
        write(**row, **told)


def captured(call: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Returns what replays a call as a CUDA graph, and the tensor that it writes."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.inference_mode(), torch.cuda.stream(aside):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        output = call()
    return graph.replay, output


def training(write: Write, folder: Path, *, dry: bool) -> None:
    """A training step against the released layout (released.py): time and peak memory."""
    device = device_of()
    sizes = {"batch": 2, "frames": 2, "steps": 1} if dry else {"batch": 8, "frames": 16, "steps": 5}
    backbone = "debug" if dry else "ViT-B-16-quickgelu"
    ways = [("baseline", "fp32", False), ("stored", "bf16", False), ("recomputed", "bf16", False)]
    if device.type == "cuda":
        ways += [("stored", "fp16", False), ("stored", "tf32", False), ("stored", "fp32", False)]
        ways += [("stored", "bf16", True)]  # compiled, which takes the longest
    base: dict[str, Any] = {}
    for way, precision, compile_it in ways:
        asked = argparse.Namespace(
            way=way,
            precision=precision,
            compile=compile_it,
            backbone=backbone,
            recipe=None,
            device=device.type,
            **sizes,
        )
        row = {"way": way + " and compiled" * compile_it, "precision": precision}
        try:
            with fresh_memory(device):
                found = train_step.measure(asked)
        except torch.OutOfMemoryError:
            write(**row, note="out of memory")
            continue
        base = base or found
        write(
            **row,
            **{"s per step": found["seconds_per_step"], "peak MB": found["peak_mb"]},
            **{"speed-up": base["seconds_per_step"] / max(found["seconds_per_step"], 1e-9)},
            memory=found["peak_mb"] / base["peak_mb"],
        )


def many_videos(write: Write, folder: Path, *, dry: bool) -> None:
    """The model nano from files to rows: one video after the other, and many at the same time."""
    device, count, length = device_of(), 2 if dry else 48, 1 if dry else 10
    size = (160, 120) if dry else (1280, 720)
    with tempfile.TemporaryDirectory() as place:
        first = Path(place) / "0.mp4"
        write_video(first, crowd(25 * length, 1 if dry else 2, *size), 25)
        sources = [Source(first.name, first)]
        for number in range(1, count):
            sources.append(Source(f"{number}.mp4", first.with_name(f"{number}.mp4")))
            shutil.copy(first, sources[-1].location)
        for faces in (False, True):
            options = PredictOptions(face_crop=faces)
            job = Job("nano", device.type, "auto", options=options, keep_rows=False)
            for at_once in (2,) if dry else (1, 4, 16):
                # One at a time is slow: its figure needs only a few videos.
                asked = sources[: max(2, count * at_once // 16)]
                row = videos_at_once(job, asked, at_once)
                row["video s per s"] = length * len(asked) / row["seconds"]
                write(faces="found" if faces else "whole frames", **row)


def videos_at_once(job: Job, sources: Sequence[Source], at_once: int) -> dict[str, Any]:
    """Reads sources with the local engine; returns its rows, its time and the share of it in the model."""
    before, Predictor.sources_at_once = Predictor.sources_at_once, property(lambda self: at_once)
    busy, batches = [0.0], list[int]()
    try:
        with open_local(job) as engine:
            model = engine._recognizer
            probabilities = model.probabilities

            def clocked(batch: Batch, weight: float | None = None) -> list[list[float]]:
                start = time.perf_counter()
                found: list[list[float]] = probabilities(batch, weight)
                busy[0] += time.perf_counter() - start
                batches.append(len(found))
                return found

            model.probabilities = clocked
            start = time.perf_counter()
            rows = sum(1 for reading in engine.read(sources) for _ in reading.rows())
            taken = time.perf_counter() - start
    finally:
        Predictor.sources_at_once = before
    mean = sum(batches) / max(1, len(batches))
    told = {"videos": len(sources), "at once": at_once, "rows": rows, "seconds": taken}
    return {**told, "windows a batch": mean, "model busy": busy[0] / taken}


SECTIONS: dict[str, Callable[..., None]] = {
    "rate": rates,
    "tests": gpu_tests,
    "training": training,
    "videos": many_videos,
    "graphs": graphs,
    "compiled": compiled,
    **{
        name: partial(inference, backbone=name)
        for name in ("ViT-B-32-quickgelu", "ViT-B-16-quickgelu", "ViT-L-14-quickgelu")
    },
}
