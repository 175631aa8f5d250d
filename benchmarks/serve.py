"""Throughput of `peclip serve` with several clients on loopback, against `peclip predict` of the same videos.

    python benchmarks/serve.py VIDEO [--videos 16] [--clients 1 4 16] [--jobs 2] [--model nano]

Each client sends one copy of the video after the other and waits for its rows. Prints CPU seconds per second of video,
which change little if other programs run, their ratio to those of `predict`, seconds of video per second, and the peak
memory of the processes. All include decoding, detection and the model, but not loading it: of `predict`, the difference
between all videos and one is taken.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import requests

COMMAND = (sys.executable, "-m", "peclip")


@dataclass(frozen=True)
class Cost:
    """What some videos took."""

    cpu: float
    """Seconds of all processes together."""
    wall: float
    """Seconds."""
    memory: tuple[float, ...]
    """Peak of each process in MiB."""


def processor() -> str:
    """Returns the name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def peak_mib(pid: int) -> float:
    """Returns the peak memory of a running process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time that a running process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def predict(videos: list[Path], model: str, folder: Path) -> Cost:
    """Returns the cost of `peclip predict`, with loading the model."""
    command = [*COMMAND, "predict", *map(str, videos), "-m", model, "--overwrite", "--no-progress"]
    begin = time.perf_counter()
    process = subprocess.Popen(
        [*command, "-o", str(folder / "rows.csv")], stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("peclip predict failed")
    wall = time.perf_counter() - begin
    return Cost(used.ru_utime + used.ru_stime, wall, (used.ru_maxrss / 1024,))


def predict_more(videos: list[Path], model: str, folder: Path) -> Cost:
    """Returns the cost of all videos, without what happens once."""
    one, every = predict(videos[:1], model, folder), predict(videos, model, folder)
    scale = len(videos) / (len(videos) - 1)
    return Cost((every.cpu - one.cpu) * scale, (every.wall - one.wall) * scale, every.memory)


def send(address: str, video: Path) -> None:
    """Sends a video, and follows its events to the end."""
    with requests.Session() as session:
        session.trust_env = False
        with video.open("rb") as stream:
            response = session.post(
                f"{address}v1/predictions?name={video.name}", data=stream, timeout=600
            )
        response.raise_for_status()
        job = f"{address}v1/predictions/{response.json()['id']}"
        with session.get(f"{job}/events", stream=True, timeout=600) as events:
            for _ in events.iter_lines():
                pass
        state = session.get(f"{job}?limit=0", timeout=60).json()
        session.delete(job, timeout=60)
        if state["state"] != "done":
            raise SystemExit(state["error"])


def serve(videos: list[Path], model: str, clients: int, jobs: int) -> Cost:
    """Returns the cost of `peclip serve` for all videos; memory is that of the server and of its worker process."""
    command = [*COMMAND, "serve", "--port", "0", "-m", model, "--jobs", str(jobs), "--queue", "64"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    address = ""
    while not address:
        line = process.stderr.readline()
        if not line:
            raise SystemExit("peclip serve ended")
        address = next((word for word in line.split() if word.startswith("http://127")), "")
    threading.Thread(target=process.stderr.read, daemon=True).start()
    try:
        send(address, videos[0])  # the first one also starts the threads
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        processes = [process.pid, *map(int, children)]
        before, begin = sum(map(cpu_seconds, processes)), time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda video: send(address, video), videos))
        wall = time.perf_counter() - begin
        cpu = sum(map(cpu_seconds, processes)) - before
        return Cost(cpu, wall, tuple(map(peak_mib, processes)))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def main() -> None:
    """Measures, and prints a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--videos", type=int, default=16, help="at least 2")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()
    from peclip.video.reader import open_video

    with open_video(arguments.video) as reader:
        length = (reader.metadata.duration_s or 0.0) * arguments.videos
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos = [folder / f"{n}{arguments.video.suffix}" for n in range(arguments.videos)]
        for path in videos:
            shutil.copy(arguments.video, path)
        print(f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(f"{len(videos)} videos of {length / len(videos):.1f} s, {arguments.model}")
        print("                   CPU s per s   ratio   x real time   MiB", flush=True)
        usual = predict_more(videos, arguments.model, folder)

        def show(what: str, cost: Cost) -> None:
            memory = " + ".join(f"{size:.0f}" for size in cost.memory)
            print(
                f"{what:18} {cost.cpu / length:11.2f} {cost.cpu / usual.cpu:7.2f} "
                f"{length / cost.wall:13.1f}   {memory}",
                flush=True,
            )

        show("predict", usual)
        for clients in arguments.clients:
            cost = serve(videos, arguments.model, clients, arguments.jobs)
            show(f"serve, {clients} {'client' if clients == 1 else 'clients'}", cost)


if __name__ == "__main__":
    main()
