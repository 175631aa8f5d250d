"""Throughput of `peclip serve` with several clients on loopback, against `peclip predict` of the same videos.

    python benchmarks/serve.py VIDEO [--videos 16] [--clients 1 4 16] [--jobs 2] [--model nano]

Each client sends one copy of the video after the other and waits for its rows. Prints seconds of video per second and
the peak memory of the processes. Both include decoding, detection and the model, but not loading it, which is measured
with an empty run of `predict`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

COMMAND = (sys.executable, "-m", "peclip")


def peak_mib(pid: int) -> float:
    """Returns the peak memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def predict_seconds(videos: list[Path], model: str, folder: Path) -> tuple[float, float]:
    """Returns the time and the peak memory of `peclip predict`."""
    output = folder / "rows.csv"
    command = [
        *COMMAND,
        "predict",
        *map(str, videos),
        "-m",
        model,
        "-o",
        str(output),
        "--overwrite",
    ]
    begin = time.perf_counter()
    process = subprocess.Popen([*command, "--no-progress"], stderr=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        try:
            peak = max(peak, peak_mib(process.pid))
        except OSError:
            break
        time.sleep(0.2)
    if process.wait():
        raise SystemExit("peclip predict failed")
    return time.perf_counter() - begin, peak


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


def serve_seconds(
    videos: list[Path], model: str, clients: int, jobs: int
) -> tuple[float, float, float]:
    """Returns the time for all videos, and the peak memory of the server and of its worker process."""
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
    send(address, videos[0])  # the first one also starts the threads
    begin = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda video: send(address, video), videos))
    seconds = time.perf_counter() - begin
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    memory = peak_mib(process.pid), max(map(peak_mib, map(int, children)))
    process.send_signal(signal.SIGTERM)
    process.wait()
    return seconds, *memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--videos", type=int, default=16)
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
        one, _ = predict_seconds(videos[:1], arguments.model, folder)
        every, peak = predict_seconds(videos, arguments.model, folder)
        seconds = (every - one) * len(videos) / (len(videos) - 1)
        print(
            f"{len(videos)} videos of {length / len(videos):.1f} s, load {os.getloadavg()[0]:.1f}"
        )
        print(f"predict            {length / seconds:6.1f} x real time, {peak:.0f} MiB", flush=True)
        for clients in arguments.clients:
            seconds, server, worker = serve_seconds(
                videos, arguments.model, clients, arguments.jobs
            )
            print(
                f"serve, {clients:2} clients  {length / seconds:6.1f} x real time, {server:.0f} MiB and "
                f"{worker:.0f} MiB (worker)",
                flush=True,
            )


if __name__ == "__main__":
    main()
