"""Reads every media file of a folder and compares the result with ffprobe and ffmpeg.

    python benchmarks/corpus.py FOLDER --decoder torchcodec pyav [--model debug]

For each file and decoder: the number of frames (decoded, and `len()`), the time from the first frame to the last, the upright
size, whether the first picture is turned, mirrored or different, and whether the decoders agree on how long the last frame is
shown. The truth is the stream that ffmpeg chooses by default. Times are compared if the file has any; where they jump back, the
recordings in the file count as joined (docs/windows.md). With `--model`, the file is also predicted. Each file is read in a
worker process for at most `--timeout` seconds, so that a crash or a hang is a verdict. A table comes at the end; the exit code
is 1 if anything differs. Needs `ffprobe`, and `ffmpeg` for the pictures.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SKIPPED = frozenset({".csv", ".json", ".jsonl", ".md", ".py", ".sh", ".txt", ".yaml", ".yml"})
"""No media; everything else is tried, whatever its name."""
SIDE = 32
"""Side to which pictures are shrunk before they are compared."""
MARGIN = 3.0
"""Levels by which a turned picture has to fit better than the upright one."""
DIFFERENT = 16.0
"""Mean difference of two pictures, in levels, above which they are different, such as black."""
SHOWN = 0.01
"""Seconds by which the decoders may differ in how long the last frame is shown."""
RESTART = 1.0
"""Seconds by which times jump back where a recording follows another one, as in peclip.video.readers.clock."""
SAME, NOT_READ, REFUSED = "ok", "neither reads it", "not for torchcodec"
"""`REFUSED`: torchcodec reads only some containers exactly; `auto` reads the others with PyAV."""
FINE = (SAME, NOT_READ, REFUSED, "only peclip reads it", "ffprobe timed out")


@dataclass(frozen=True)
class Video:
    """What was read of a file."""

    frames: int
    span_s: float | None
    """Presentation time of the last frame minus that of the first; `None` if the file has no times."""
    size: tuple[int, int]
    """Width and height of the first frame, upright, with square pixels."""
    picture: np.ndarray | None = field(default=None, compare=False)
    """The first frame, uint8 (32, 32, 3)."""
    length: int | None = None
    """`len()` of the reader, where it differs from the frames."""
    rows: int | None = None
    """Rows of a prediction."""
    last_s: float | None = None
    """How long the last frame is shown."""
    joined_s: float | None = None
    """The span if recordings that start again are joined, where it differs."""

    def __str__(self) -> str:
        width, height = self.size
        rows = "" if self.rows is None else f", {self.rows} rows"
        span = "no times" if self.span_s is None else f"{self.span_s:.2f} s"
        return f"{self.frames} frames, {span}, {width}x{height}{rows}"


Result = Video | str
"""A video, or why there is none."""


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    name: str
    decoder: str
    ours: Result
    truth: Result
    verdict: str

    @property
    def cells(self) -> tuple[str, ...]:
        return self.name, self.decoder, str(self.ours), str(self.truth), self.verdict


# --- ffprobe ------------------------------------------------------------------------------------


def ffprobe(path: Path, timeout: float) -> Result:
    """Decodes the stream of a file that ffmpeg chooses, with ffprobe."""
    picture, stream_index = first_picture(path, timeout)
    command = [
        *("ffprobe", "-v", "error", "-select_streams", stream_index, "-count_frames"),
        *("-of", "compact"),
        "-show_entries",
        "frame=best_effort_timestamp_time:stream=width,height,sample_aspect_ratio,nb_read_frames"
        ":stream_side_data=rotation",
    ]
    try:
        done = subprocess.run(
            [*command, absolute(path)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return "ffprobe timed out"
    times, stream = [], dict[str, str]()
    for line in done.stdout.splitlines():
        kind, *fields = line.split("|")
        values = dict(text.split("=", 1) for text in fields if "=" in text)
        if kind == "stream" and not stream:
            stream = values
        elif kind == "frame":
            times.append(number(values.get("best_effort_timestamp_time")))
    frames = number(stream.get("nb_read_frames"))
    if not frames:  # a NaN is none, too
        return (done.stderr.strip().splitlines() or ["no video stream"])[0][:80]
    if math.isnan(frames):
        return "no frames"
    known = [time for time in times if not math.isnan(time)]
    span = max(known) - min(known) if known else None
    return Video(int(frames), span, upright(stream), picture, joined_s=joined(known))


def joined(times: Sequence[float]) -> float | None:
    """Returns the span of times that jump back where recordings are joined; `None` if they do not."""
    steps = np.diff(times)
    if not (steps < -RESTART).any():
        return None
    usual = float(np.median(steps))
    return float(np.where(steps < -RESTART, usual, steps).sum())


def upright(stream: dict[str, str]) -> tuple[int, int]:
    """Returns width and height as a player shows them: quarter turns, and square pixels."""
    width, height = number(stream.get("width")), number(stream.get("height"))
    above, _, below = stream.get("sample_aspect_ratio", "1:1").partition(":")
    aspect = number(above) / (number(below) or math.nan)
    if 1 / 4 <= aspect <= 4 and abs(aspect - 1) > 0.01:  # as peclip.video.readers.pyav_probe
        width, height = (width * aspect, height) if aspect > 1 else (width, height / aspect)
    rotation = number(stream.get("rotation", "0"))
    if not math.isnan(rotation) and round(rotation / 90) % 2:
        width, height = height, width
    return round(width), round(height)


CHOSEN = re.compile(rb"Stream #0:(\d+)\S* -> #0:0 ")
"""The line in which ffmpeg says which stream it reads."""


def first_picture(path: Path, timeout: float) -> tuple[np.ndarray | None, str]:
    """Returns the first frame as ffmpeg shows it, uint8 (32, 32, 3), and the stream it chooses."""
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-i", absolute(path), "-an", "-sn", "-dn"]
    command += ["-frames:v", "1", "-vf", f"scale={SIDE}:{SIDE}:flags=area"]
    try:
        done = subprocess.run(
            [*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
            capture_output=True,
            timeout=timeout,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, "V:0"
    chosen = CHOSEN.search(done.stderr)
    stream = chosen[1].decode() if chosen else "V:0"
    if len(done.stdout) != SIDE * SIDE * 3:
        return None, stream
    return np.frombuffer(done.stdout, np.uint8).reshape(SIDE, SIDE, 3), stream


def absolute(path: Path) -> str:
    """Returns a name that FFmpeg takes neither for an option nor for a protocol."""
    return f"file:{path.absolute()}"


def number(text: str | None) -> float:
    try:
        return math.nan if text is None else float(text)
    except ValueError:
        return math.nan


# --- peclip -------------------------------------------------------------------------------------


def read(path: Path, decoder: Any, model: str | None) -> Result:
    """Reads a file with peclip; what is not a `PEClipError` is a defect, and raised."""
    from peclip.errors import PEClipError
    from peclip.video.reader import open_video

    count, first, last, size, picture, shown = 0, 0.0, 0.0, (0, 0), None, None
    try:
        with open_video(path, decoder=decoder) as reader:
            for chunk in reader.chunks():
                if not count and len(chunk):
                    first, size = float(chunk.timestamps[0]), chunk.data.shape[2:0:-1]
                    picture = cv2.resize(chunk.data[0], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
                count += len(chunk)
                last = float(chunk.timestamps[-1])
                shown = None if chunk.durations is None else float(chunk.durations[-1])
            length = len(reader)
        rows = None if model is None else predict(path, decoder, model)
    except PEClipError as error:
        return f"{type(error).__name__} after {count} frames: {' '.join(str(error).split())[:120]}"
    known = length if length != count else None
    return Video(count, last - first, (size[0], size[1]), picture, known, rows, shown)


_models: dict[str, Any] = {}


def predict(path: Path, decoder: Any, model: str) -> int:
    """Predicts a file and returns the number of rows."""
    import peclip

    if model not in _models:
        _models[model] = peclip.load(model, device="cpu")
    options = peclip.PredictOptions(decoder=decoder, detector="haar")
    return sum(1 for _ in _models[model].stream(path, options))


class Worker:
    """A process that reads files, and is replaced when it hangs or dies."""

    def __init__(self, model: str | None, timeout: float) -> None:
        self._model, self._timeout = model, timeout
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None

    def read(self, path: Path, decoder: str) -> Result:
        """Reads a file, and returns at the latest after the time limit."""
        if self._process is None:
            self._start()
        try:
            self._pipe.send((path, decoder))
            if not self._pipe.poll(self._timeout):
                self.close()
                return f"timed out after {self._timeout:g} s"
            result: Result = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code, self._process = self._process.exitcode, None
            return f"crashed with exit code {code}"
        return result

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=_serve, args=(theirs, self._model), daemon=True
        )
        self._process.start()
        theirs.close()
        self._pipe.recv()  # the imports do not count

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(pipe: Any, model: str | None) -> None:
    import peclip.video.reader  # noqa: F401

    pipe.send("ready")
    while True:
        try:
            path, decoder = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(read(path, decoder, model))
        except Exception as error:  # a defect of peclip, which must not end the run
            pipe.send(f"crashed with {type(error).__name__}: {' '.join(str(error).split())[:120]}")


# --- comparison ---------------------------------------------------------------------------------


def compare(ours: Result, truth: Result, others: Mapping[str, Result] | None = None) -> str:
    """Returns `ok`, or what differs.

    Args:
        ours: what peclip read.
        truth: what ffprobe read.
        others: what peclip read with other decoders, by their names.
    """
    if isinstance(ours, str):
        if ours.startswith(("crashed", "timed out")):
            return ours.split(":")[0]
        if "torchcodec cannot be used for" in ours:
            return REFUSED
        return NOT_READ if isinstance(truth, str) else "not read"
    if isinstance(truth, str):
        return "ffprobe timed out" if "timed out" in truth else "only peclip reads it"
    found = []
    if ours.frames != truth.frames:
        found.append(f"{ours.frames - truth.frames:+} frames")
    if ours.length is not None:
        found.append(f"len() is {ours.length}")
    found.append(compare_spans(ours, truth))
    if any(abs(a - b) > 2 for a, b in zip(ours.size, truth.size, strict=True)):  # rounded to even
        found.append("size")
    if ours.picture is not None and truth.picture is not None:
        found.append(turned(ours.picture, truth.picture))
    for name, other in (others or {}).items():
        last_s = other.last_s if isinstance(other, Video) else None
        if ours.last_s is not None and last_s is not None and abs(ours.last_s - last_s) > SHOWN:
            found.append(f"last frame {ours.last_s:.2f} s, with {name} {last_s:.2f} s")
    return ", ".join(filter(None, found)) or SAME


def compare_spans(ours: Video, truth: Video) -> str:
    """Returns the difference in time from the first frame to the last; empty without one, or without times."""
    if ours.span_s is None or truth.span_s is None:
        return ""
    interval = truth.span_s / max(truth.frames - 1, 1)
    spans = [span for span in (truth.span_s, truth.joined_s) if span is not None]
    difference = min((ours.span_s - span for span in spans), key=abs)
    return f"{difference:+.2f} s" if abs(difference) > min(max(0.05, interval), 1.0) else ""


def turned(ours: np.ndarray, truth: np.ndarray) -> str:
    """Names the turn that would make a picture upright, or says that it is another one; empty if it fits."""
    names = [f"{'mirrored, ' * flip}{90 * turns} degrees" for flip in (0, 1) for turns in range(4)]
    errors = [
        float(np.abs(np.rot90(picture, turns).astype(float) - truth).mean())
        for picture in (ours, ours[:, ::-1])
        for turns in range(4)
    ]
    best = int(np.argmin(errors))
    if errors[0] - errors[best] > MARGIN:
        return f"turned: {names[best]}"
    return f"picture differs by {errors[0]:.0f} levels" if errors[0] > DIFFERENT else ""


def media(folder: Path) -> list[Path]:
    """Returns the files of a folder and of those below it."""
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix not in SKIPPED
    )


def run(
    folder: Path, decoders: Sequence[str], *, model: str | None = None, timeout: float = 120
) -> Iterator[Line]:
    """Yields a line per file and decoder, as they are read."""
    worker = Worker(model, timeout)
    try:
        for path in media(folder):
            truth = ffprobe(path, timeout)
            read: dict[str, Result] = {}
            for decoder in decoders:
                ours = worker.read(path, decoder)
                name = path.relative_to(folder).as_posix()
                yield Line(name, decoder, ours, truth, compare(ours, truth, read))
                read[decoder] = ours
    finally:
        worker.close()


def table(lines: Sequence[Line]) -> str:
    """Returns the lines as a table of Markdown, and a summary."""
    from peclip.text.display import markdown

    cells = [("file", "decoder", "peclip", "ffprobe", "verdict"), ("---",) * 5]
    cells += [tuple(map(markdown, line.cells)) for line in lines]
    counts = Counter(line.verdict in FINE for line in lines)
    summary = f"{len(lines)} read, {counts[True]} agree, {counts[False]} differ"
    return "\n".join([*(f"| {' | '.join(row)} |" for row in cells), "", summary])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--decoder", nargs="+", default=["auto"], help="auto, torchcodec, pyav")
    parser.add_argument("--model", help="also predict every file, such as debug")
    parser.add_argument("--timeout", type=float, default=120, help="seconds per file and program")
    given = parser.parse_args(arguments)
    lines = []
    for line in run(given.folder, given.decoder, model=given.model, timeout=given.timeout):
        print(f"{line.name} ({line.decoder}): {line.verdict}", file=sys.stderr, flush=True)
        lines.append(line)
    print(table(lines))
    return int(any(line.verdict not in FINE for line in lines))


if __name__ == "__main__":
    sys.exit(main())
