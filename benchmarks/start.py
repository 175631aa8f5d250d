"""CPU seconds of short commands, relative to `import torch` and to a bare scoring loop.

    python benchmarks/start.py --repeat 5 --detector haar

Runs each command in its own process, in turn, and prints the median CPU seconds of the process and its children:
`import torch`; `peclip predict` of examples/astronaut.mp4; `peclip predict` with an output that exists, which is
refused; and, on the same random stills of 48x48 pixels, a loop that scores them with nano, and `peclip evaluate`.
A first run of each, which is not counted, compiles the bytecode, as an installation does. `--small` only checks that
all of this works: one run each, on few stills.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

VIDEO = Path(__file__).parents[1] / "examples" / "astronaut.mp4"
SOURCE = Path(__file__).parents[1] / "src"
PECLIP = (sys.executable, "-m", "peclip")
BATCH = 8

AIMS = {
    "predict": ("import torch", 2.0),
    "evaluate": ("scoring loop", 1.5),
}
"""By command: what its time is compared with, and the largest ratio aimed at."""
REFUSED_S = 0.5
"""The most CPU seconds that a refused output should take."""


def cpu_seconds(command: Sequence[str], environment: Mapping[str, str], expected: int = 0) -> float:
    """Runs a command, and returns its user and system time with that of its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != expected:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(
    commands: Mapping[str, tuple[Sequence[str], int]], repeat: int, environment: Mapping[str, str]
) -> dict[str, list[float]]:
    """Returns the CPU seconds of commands, given with their exit codes; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(repeat + 1):
        for name, (command, code) in commands.items():
            spent = cpu_seconds(command, environment, code)
            if number:
                seconds[name].append(spent)
    return seconds


def write_stills(root: Path, count: int) -> None:
    """Writes random stills in the folders of FER2013's test split."""
    import cv2
    import numpy as np

    random = np.random.default_rng(0)
    for number in range(count):
        label = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")[number % 7]
        for split in ("train", "test"):
            (root / split / label).mkdir(parents=True, exist_ok=True)
        path = root / "test" / label / f"PrivateTest_{number}.jpg"
        cv2.imwrite(str(path), random.integers(0, 256, (48, 48), np.uint8))


def score_stills(root: Path) -> None:
    """Scores the stills with nano and nothing else: the lower bound of an evaluation."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import cv2
    import numpy as np
    import torch

    import peclip
    from peclip.nn.preprocess import as_tensor
    from peclip.types import Batch

    model = peclip.load("nano", device="cpu", precision="fp32")  # as an evaluation
    paths = sorted(root.glob("test/*/PrivateTest_*"))
    size, frames = model.config.preprocess.image_size, model.config.num_frames
    for start in range(0, len(paths), BATCH):
        pictures = [cv2.imread(str(path)) for path in paths[start : start + BATCH]]
        squares = [cv2.resize(picture, (size, size)) for picture in pictures]
        crops = torch.stack([as_tensor(np.stack([square] * frames)) for square in squares])
        model.probabilities(Batch(model.preprocess(crops)))


def table(seconds: Mapping[str, Sequence[float]]) -> str:
    """Returns the medians, and the ratios with their aims, as a Markdown table."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    lines = ["| command | CPU s, median (minimum to maximum) | ratio | aim |", "|---|---|---|---|"]
    for name, values in seconds.items():
        ratio, aim = "", ""
        if name in AIMS:
            base, most = AIMS[name]
            ratio, aim = f"{medians[name] / medians[base]:.2f} x {base}", f"{most:g}"
        elif name == "refused output":
            aim = f"{REFUSED_S:g} s"
        spread = f"{medians[name]:.2f} ({min(values):.2f} to {max(values):.2f})"
        lines.append(f"| {name} | {spread} | {ratio} | {aim} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--stills", type=int, default=140)
    parser.add_argument("--detector", default="auto")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--score", type=Path, metavar="ROOT", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.score is not None:
        score_stills(chosen.score)
        return
    repeat, stills = (1, BATCH) if chosen.small else (chosen.repeat, chosen.stills)
    with tempfile.TemporaryDirectory() as folder:
        root, old = Path(folder) / "fer2013", Path(folder) / "old.csv"
        write_stills(root, stills)
        old.touch()
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPYCACHEPREFIX": f"{folder}/bytecode", "PYTHONPATH": str(SOURCE)}
        predict = (*PECLIP, "predict", str(VIDEO), "--device", "cpu")
        evaluate = (*PECLIP, "evaluate", "--dataset", "fer2013", "--data-root", str(root))
        commands: dict[str, tuple[Sequence[str], int]] = {
            "import torch": ((sys.executable, "-c", "import torch"), 0),
            "predict": ((*predict, "--detector", chosen.detector), 0),
            "refused output": ((*predict, "-o", str(old)), 2),
            "scoring loop": ((sys.executable, __file__, "--score", str(root)), 0),
            "evaluate": ((*evaluate, "-m", "nano", "--device", "cpu"), 0),
        }
        print(table(measure(commands, repeat, environment)))


if __name__ == "__main__":
    main()
