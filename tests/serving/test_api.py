"""The API: from a video to rows and files, on a real server with a real worker process."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from http_server import FakeServer, Reply
from prediction_server import PredictionServer

from peclip.cli.app import run
from peclip.serving.jobs import PredictionJob
from peclip.serving.row_log import RowLog
from peclip.serving.views import PredictionView


def predicted(astronaut: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `peclip predict` writes for the astronaut."""
    monkeypatch.chdir(astronaut.parent)
    options = ["--device", "cpu", "--precision", "fp32", "--no-progress"]
    assert run(["predict", astronaut.name, "-o", str(output), *options]) == 0
    return output.read_text()


def test_the_csv_is_that_of_predict(
    server: PredictionServer,
    video: bytes,
    astronaut: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = server.submit(video, "astronaut.mp4")
    told = server.wait(job)
    assert (told["state"], told["error"], told["num_rows"]) == ("done", None, len(told["rows"]))
    assert told["video"] == {"width": 320, "height": 240, "duration_s": 3.0}
    response = server.client.get(f"/v1/predictions/{job}/rows.csv")
    assert response.text == predicted(astronaut, tmp_path / "rows.csv", monkeypatch)
    assert "astronaut.csv" in response.headers["content-disposition"]


def test_the_files_of_a_prediction(server: PredictionServer, video: bytes, tmp_path: Path) -> None:
    job = server.submit(video, "../we\x00ird/nam\u202ee.mp4", window="2", hop="1")
    told = server.wait(job)
    assert told["name"] == "name.mp4"
    assert told["options"] == {"window": 2.0, "hop": 1.0}
    base = f"/v1/predictions/{job}"
    lines = server.client.get(f"{base}/rows.jsonl").text.splitlines()
    assert [json.loads(line) for line in lines] == told["rows"]
    document = server.client.get(f"{base}/prediction.json").json()
    assert document["rows"] == told["rows"]
    assert document["label"] == "happiness"
    assert server.client.get(f"{base}/summary.csv").text.startswith("source,track_id,")
    assert server.client.get(f"{base}/people/0.png").content.startswith(b"\x89PNG")
    assert server.client.get(f"{base}/people/1.png").status_code == 404
    assert server.client.get(f"{base}/video").content == video
    part = server.client.get(f"{base}/video", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    (tmp_path / "o.mp4").write_bytes(server.client.get(f"{base}/overlay.mp4").content)
    reader = cv2.VideoCapture(str(tmp_path / "o.mp4"))
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 72
    reader.release()
    page = server.client.get(base, params={"offset": 1, "limit": 1}).json()
    assert page["rows"] == told["rows"][1:2]


@pytest.mark.slow
def test_an_explanation(server: PredictionServer, video: bytes) -> None:
    job = server.submit(video)
    assert server.wait(job)["state"] == "done"
    path = f"/v1/predictions/{job}/explain"
    found = server.client.get(path, params={"at": 1.2, "person": 0}, timeout=200).json()
    assert (found["label"], found["track_id"]) == ("happiness", 0)
    assert found["start_s"] <= 1.2 <= found["end_s"]
    pytest.importorskip("matplotlib")
    picture = server.client.get(path, params={"at": 1.2, "format": "png"}, timeout=200)
    assert picture.content.startswith(b"\x89PNG")
    nobody = server.client.get(path, params={"person": 7}, timeout=200)
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (409, "no_explanation")
    assert not [*server.service.folder.glob("*/why-*")]
    assert server.wait(server.submit(video))["rows"][0]["label"] == "happiness"


def test_bytes_without_a_form(server: PredictionServer, video: bytes) -> None:
    response = server.client.post(
        "/v1/predictions?name=a.mp4&hop=1.5", content=video, headers={"Content-Type": "video/mp4"}
    )
    assert response.status_code == 202
    told = server.wait(response.json()["id"])
    assert (told["name"], told["options"]["hop"], told["state"]) == ("a.mp4", 1.5, "done")


def test_events_resume_after_the_rows_a_client_has(server: PredictionServer, video: bytes) -> None:
    job = server.submit(video)
    rows = server.wait(job)["rows"]
    again = server.client.get(
        f"/v1/predictions/{job}/events", headers={"Last-Event-ID": str(len(rows) - 1)}
    )
    events = [block.split("\n") for block in again.text.strip().split("\n\n")]
    assert [event[0] for event in events] == ["event: rows", "event: state"]
    assert json.loads(events[0][2].removeprefix("data: ")) == rows[-1:]
    assert json.loads(events[1][2].removeprefix("data: "))["state"] == "done"


def test_a_delete_removes_every_file(server: PredictionServer, video: bytes) -> None:
    job = server.submit(video)
    folder = server.service.folder / job
    assert (folder / "source.mp4").read_bytes() == video
    assert server.client.delete(f"/v1/predictions/{job}").status_code == 204
    assert not folder.exists()
    assert server.client.get(f"/v1/predictions/{job}").json()["error"]["code"] == "not_found"


def test_a_still(server: PredictionServer, astronaut: Path) -> None:
    reader = cv2.VideoCapture(str(astronaut))
    _, image = reader.read()
    reader.release()
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    response = server.client.post(
        "/v1/frames", content=jpeg, headers={"Content-Type": "image/jpeg"}
    )
    told = response.json()
    assert told["video"] == {"width": 320, "height": 240, "duration_s": None}
    assert [row["label"] for row in told["rows"]] == ["happiness"]
    assert (told["name"], told["rows"][0]["source"]) == ("frame.jpg", "frame.jpg")
    broken = server.client.post(
        "/v1/frames", content=b"\xff\xd8 no", headers={"Content-Type": "image/jpeg"}
    )
    assert (broken.status_code, broken.json()["error"]["code"]) == (422, "unreadable")
    assert not [*server.service.folder.glob("still-*")]


@pytest.mark.parametrize("container", ["avi", "h264"])  # the second one has no duration
def test_a_video_is_no_still(
    server: PredictionServer, astronaut: Path, tmp_path: Path, container: str
) -> None:
    path = tmp_path / f"a.{container}"
    with av.open(str(astronaut)) as source, av.open(str(path), "w", format=container) as target:
        stream = target.add_stream("libx264", rate=24, width=320, height=240)
        for frame in source.decode(video=0):
            target.mux(stream.encode(frame.reformat(format="yuv420p")))
        target.mux(stream.encode())
    response = server.client.post("/v1/frames?name=a.avi", content=path.read_bytes())
    assert response.status_code == 422
    assert "a.avi is not a single image" in response.json()["error"]["message"]


def test_an_overlay_does_not_wait_for_a_worker_that_starts(
    server: PredictionServer, video: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = server.submit(video)
    server.wait(job)
    monkeypatch.setattr(server.service.worker, "ready", False)
    refused = server.client.get(f"/v1/predictions/{job}/overlay.mp4")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    monkeypatch.undo()
    assert server.client.get(f"/v1/predictions/{job}/overlay.mp4").status_code == 200


def test_a_full_disk_fails_the_prediction(
    server: PredictionServer, video: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(log: RowLog, line: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RowLog, "add", full)
    told = server.wait(server.submit(video))
    assert told["state"] == "failed"
    assert "No space left on device" in told["error"]
    monkeypatch.undo()
    assert server.wait(server.submit(video))["state"] == "done"


@pytest.mark.parametrize("content", [b"no video", b"\x00" * 5000])
def test_a_broken_file_fails_with_one_line(server: PredictionServer, content: bytes) -> None:
    told = server.wait(server.submit(content, "broken.mp4"))
    assert (told["state"], told["num_rows"]) == ("failed", 0)
    assert told["error"].startswith("broken.mp4 ")
    assert "\n" not in told["error"]
    assert str(server.service.folder) not in told["error"]


def test_a_truncated_video_keeps_its_rows(server: PredictionServer, tmp_path: Path) -> None:
    path = tmp_path / "long.avi"  # MJPG in AVI can be read up to where it is cut
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for _ in range(60):
        writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    content = path.read_bytes()
    told = server.wait(server.submit(content[: len(content) // 2], "cut.avi"))
    assert told["state"] in ("done", "failed")
    assert told["num_rows"] > 1


def test_a_playlist_makes_no_request(server: PredictionServer) -> None:
    other = FakeServer(lambda request: Reply(b""))
    with other.running():
        entry = f"#EXTINF:1,\n{other.address}/a.ts"
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{entry}\n#EXT-X-ENDLIST\n"
        told = server.wait(server.submit(text.encode(), "list.mp4"))
        assert told["state"] == "failed"
        assert not other.seen


def test_videos_above_the_limits_are_refused(server: PredictionServer, tmp_path: Path) -> None:
    for name, size, seconds in (("large.avi", (656, 480), 1), ("long.avi", (64, 48), 31)):
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 1, size)
        for _ in range(seconds):
            writer.write(np.zeros((size[1], size[0], 3), np.uint8))
        writer.release()
    told = server.wait(server.submit((tmp_path / "large.avi").read_bytes(), "large.avi"))
    assert "large.avi has 656 x 480 pixels" in told["error"]
    assert "307,200" in told["error"]
    told = server.wait(server.submit((tmp_path / "long.avi").read_bytes(), "long.avi"))
    assert "long.avi is longer than 30 s" in told["error"]
    assert (told["state"], told["num_rows"]) == ("failed", 0)


def test_several_videos_at_once(server: PredictionServer, video: bytes) -> None:
    with ThreadPoolExecutor(4) as pool:
        jobs = [*pool.map(lambda n: server.submit(video, f"{n}.mp4"), range(3))]
        told = [*pool.map(server.wait, jobs)]
    assert [one["state"] for one in told] == ["done"] * 3
    labels = [[row["label"] for row in one["rows"]] for one in told]
    assert labels[0] == labels[1] == labels[2]
    assert [one["rows"][0]["source"] for one in told] == ["0.mp4", "1.mp4", "2.mp4"]


@pytest.mark.slow
def test_a_full_queue_and_a_killed_worker(server: PredictionServer, video: bytes) -> None:
    worker = server.service.worker
    first = worker.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)  # nothing ends from here on
    jobs = [server.submit(video) for _ in range(6)]  # 2 run, 4 wait
    states = [server.client.get(f"/v1/predictions/{job}").json()["state"] for job in jobs]
    assert states == ["running"] * 2 + ["queued"] * 4
    refused = server.client.post("/v1/predictions", files={"file": ("a.mp4", video)})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    os.kill(first, signal.SIGKILL)
    told = [server.wait(job) for job in jobs]
    assert [one["state"] for one in told] == ["failed"] * 2 + ["done"] * 4
    assert "worker process ended" in told[0]["error"]
    assert worker.pid != first
    assert server.client.get("/health").json()["status"] == "ok"
    assert "peclip_worker_restarts_total " in server.client.get("/metrics").text


@pytest.mark.slow
def test_a_worker_that_sends_nonsense_is_replaced(
    server: PredictionServer, video: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def confused(job: PredictionJob, event: dict[str, Any]) -> None:
        monkeypatch.undo()
        raise KeyError("event")

    monkeypatch.setattr(server.service, "_update", confused)
    job = server.submit(video)
    assert server.wait(job)["state"] == "failed"
    assert server.wait(server.submit(video))["state"] == "done"


@pytest.mark.slow
def test_a_worker_that_makes_no_progress_is_replaced(
    server: PredictionServer, video: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = server.service
    monkeypatch.setattr(service, "timeouts", replace(service.timeouts, stalled=0.2))
    pid = service.worker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    assert server.wait(server.submit(video))["state"] == "failed"
    monkeypatch.undo()  # the next process takes longer to start
    assert server.wait(server.submit(video))["state"] == "done"


def test_models_health_and_description(server: PredictionServer) -> None:
    found = server.client.get("/v1/models").json()
    assert found["models"][0]["name"] == "nano"
    assert found["models"][0]["label_colours"]["happiness"] == "#E69F00"
    assert found["limits"]["max_bytes"] == 1_000_000
    described = server.client.get("/openapi.json").json()
    assert {"/v1/predictions", "/v1/frames", "/v1/predictions/{name}/events"} <= set(
        described["paths"]
    )
    example = described["components"]["schemas"]["PredictionView"]["examples"][0]
    assert PredictionView(**example).state == "running"


def test_every_response_is_described(server: PredictionServer) -> None:
    """With an example, unless it is a file of bytes or one of the views, whose fields have them."""
    paths = server.client.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method, about in methods.items():
            contents = [body.get("content", {}) for body in about["responses"].values()]
            found = [one for content in contents for one in content.values()]
            assert found, path
            for one in found:
                schema = one["schema"]
                assert "$ref" in schema or schema.get("format") == "binary" or one["example"], path
            assert method == "get" or "{name}" in path or about["requestBody"]["content"], path


@pytest.mark.slow
def test_the_command_ends_on_sigterm_and_deletes_its_files(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "peclip", "serve", "--port", "0", "-m", "debug"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "http://127.0.0.1:" not in (line := process.stderr.readline()):
            assert line, "the server ended"
        assert len([*tmp_path.iterdir()]) == 1
        port = int(line.split()[0].rsplit(":")[-1].strip("/"))
        with socket.create_connection(("127.0.0.1", port)) as upload:
            head = (
                f"POST /v1/predictions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 9\r\n"
            )
            upload.sendall(
                f"{head}Content-Type: video/mp4\r\nExpect: 100-continue\r\n\r\n".encode()
            )
            assert b" 100 " in upload.recv(100)  # it waits for the body
            process.send_signal(signal.SIGTERM)
            assert b" 503 " in upload.recv(100)
            assert process.wait() == 0
        assert "Traceback" not in process.stderr.read()
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_a_worker_deletes_the_files_of_a_server_that_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "source.mp4").write_bytes(b"private")
    settings = {
        "model": "debug",
        "device": "cpu",
        "precision": "fp32",
        "jobs": 1,
        "folder": str(folder),
    }
    command = [sys.executable, "-m", "peclip.serving.worker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{json.dumps(settings)}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["event"] == "ready"
        assert folder.exists()
        process.stdin.close()  # as the system does when the server ends
        assert process.wait() == 0
    assert not folder.exists()
