"""What only a machine with CUDA can show; `benchmarks/gpu.py` runs these tests first."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import exact, fresh

from peclip import PEClip, PredictOptions
from peclip.data.dataset import Videos
from peclip.engines.base import Job
from peclip.engines.local import open_local
from peclip.models.frozen import FrozenModel
from peclip.models.registry import build_model
from peclip.nn.adapters import TokenGRU
from peclip.nn.lowered import LoweredTower
from peclip.nn.preprocess import stack_on
from peclip.runtime import autocast
from peclip.training.learner import Learner
from peclip.training.running_metrics import RunningMetrics
from peclip.training.runtime import Runtime
from peclip.types import Batch
from peclip.video.sources import Source
from peclip.weights.resolve import debug_config

CUDA = torch.device("cuda")
pytestmark = pytest.mark.gpu


def test_pixels_are_the_same_on_both_sides() -> None:
    random = np.random.default_rng(0)
    windows = [random.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8) for _ in range(3)]
    assert torch.equal(stack_on(CUDA, windows).cpu(), stack_on(torch.device("cpu"), windows))


@pytest.mark.parametrize(
    ("precision", "apart"), [("fp32", 1e-4), ("tf32", 0.02), ("bf16", 0.05), ("fp16", 0.02)]
)
@pytest.mark.parametrize("architecture", ["pe-clip", "finecliper"])
def test_every_precision_is_near_the_cpu(architecture: str, precision: str, apart: float) -> None:
    """A warning, such as one about the layout of a GRU's weights, is an error here."""
    model = build_model(debug_config(architecture)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    batch = Batch(torch.randn(2, 3, 3, 32, 32))
    expected = FrozenModel(model, torch.device("cpu"), "fp32")(batch).softmax(-1)
    frozen = FrozenModel(model.to(CUDA), CUDA, precision)
    found = frozen(Batch(batch.frames.to(CUDA))).softmax(-1)
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=apart)
    vision = frozen.network.vision
    assert isinstance(vision, LoweredTower) == (precision in ("bf16", "fp16"))
    grus = [module for module in vision.modules() if isinstance(module, TokenGRU)]
    assert {p.dtype for gru in grus for p in gru.parameters()} <= {torch.float32}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_waits_for_the_device_once(precision: str) -> None:
    """In fp16 the scaler also asks whether the gradients are finite."""
    loaded = fresh().loaded
    loaded.network.to(CUDA)
    config = exact(precision=precision, clip_grad=1.0, ema=0.9)
    learner = Learner(loaded, config, Runtime.of(config, CUDA), torch.ones(3))
    learner.training()
    size, targets = loaded.config.preprocess.image_size, torch.arange(3)
    crops = torch.randint(0, 256, (3, 2, 3, size, size), dtype=torch.uint8)
    videos = Videos(crops, targets, F.one_hot(targets, 3).float(), targets, {})
    pinned = Videos(*(part.pin_memory() for part in videos[:4]), {})

    def step(number: int) -> None:
        learner.step(
            [pinned] * 3,
            RunningMetrics.empty(3),
            num_videos=9,
            epoch=1,
            step=number,
            steps_per_epoch=2,
        )

    step(0)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step(1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(one.message) for one in caught if "synchroniz" in str(one.message)]
    assert len(waits) <= (2 if precision == "fp16" else 1), waits


def test_a_compiled_tower_learns_the_same() -> None:
    dynamo = pytest.importorskip("torch._dynamo")
    model = build_model(debug_config("pe-clip")).to(CUDA)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    trained = [p for n, p in model.vision.named_parameters() if "gru" in n]
    frames = torch.rand(1, 3, 3, 32, 32, device=CUDA)
    found = []
    for compiled in (False, True):
        if compiled:
            model.vision.compile(backend="aot_eager", fullgraph=True)
        with dynamo.config.patch(allow_rnn=True), autocast(CUDA, "bf16"):
            features = model.vision(frames)
        found.append(torch.autograd.grad(features.float().square().sum(), trained))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=1e-3)


def test_files_read_at_the_same_time_give_the_rows_of_a_cpu(astronaut: Path) -> None:
    options = PredictOptions(face_crop=False)
    expected = PEClip.from_pretrained(device="cpu").predict(astronaut, options).rows
    job = Job("nano", "cuda", "fp32", options=options)
    with open_local(job) as engine:
        readings = engine.read([Source(f"{n}", astronaut) for n in range(6)])
        for reading in readings:
            rows = list(reading.rows())
            assert [row.window for row in rows] == [row.window for row in expected]
            for row, other in zip(rows, expected, strict=True):
                assert row.scores == pytest.approx(other.scores, abs=1e-3)
