"""The worker process: loads the model once, and predicts videos and stills for the server.

Only this process decodes what strangers send. It reads one request per line of standard input and writes one event per
line, both as JSON, so that a decoder that was taken over cannot do more to the server than send rows.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from peclip.config import check
from peclip.engines.base import Job
from peclip.errors import InternalError, PEClipError, UserError, cause
from peclip.inference.predictor import VideoPredictor
from peclip.inference.session import Session
from peclip.inference.shared_scorer import SharedScorer
from peclip.predict_options import PredictOptions
from peclip.results.figures import colour_of_person, label_colours
from peclip.results.prediction import Prediction
from peclip.serving.limits import MAX_ROWS, check_length, check_video
from peclip.serving.worker_files import fetch, save_results
from peclip.video.reader import open_video

_TICK_S = 0.25
"""Between two reports of progress."""


class Cancelled(Exception):
    """The server does not want the rest."""


@dataclass
class Running:
    """A video that is being read."""

    request: dict[str, Any]
    stopped: threading.Event = field(default_factory=threading.Event)
    session: Session | None = None
    is_fetching: bool = False
    """Whether it is downloaded, which has a time limit of its own."""

    def stop(self) -> None:
        """Ends the reading soon."""
        self.stopped.set()
        if self.session is not None:
            self.session.stop()


class Worker:
    """Predicts what it is asked for.

    Args:
        predictor: the model.
        settings: of the server: `jobs`, `max_bytes`, `max_pixels`, `max_seconds`, `allow_private`,
            `download_s`.
        output: receives the events.
    """

    def __init__(self, predictor: VideoPredictor, settings: dict[str, Any], output: Events) -> None:
        self._predictor, self._settings, self._output = predictor, settings, output
        detector = predictor.detector(PredictOptions())
        # The same for all, without a download for each.
        self._options = PredictOptions(detector=detector.name if detector else "auto")
        apart = bool(predictor.config.streams)  # scores then depend on the source
        at_once = predictor.windows_at_once
        self._score = None if apart else SharedScorer(predictor.scorer("", self._options), at_once)
        self._videos = ThreadPoolExecutor(1 if apart else settings["jobs"], "peclip-video")
        # Overlays and stills do not wait for long videos.
        self._others = self._videos if apart else ThreadPoolExecutor(2, "peclip-other")
        self._running: dict[str, Running] = {}
        self._predictions: dict[str, tuple[Prediction, Path]] = {}

    def handle(self, request: dict[str, Any]) -> None:
        """Starts what a request asks for."""
        name = request["id"]
        if request["do"] == "predict":
            self._running[name] = Running(request)
            self._videos.submit(self._predict, self._running[name])
        elif request["do"] == "still":
            self._others.submit(self._still, request)
        elif request["do"] == "overlay":
            self._others.submit(self._overlay, request)
        elif request["do"] == "forget":
            self._predictions.pop(name, None)
            if name in self._running:
                self._running[name].stop()

    def report(self) -> None:
        """Sends how far each video was read."""
        for name, running in list(self._running.items()):
            session = running.session
            if session is not None:
                self._output.send("progress", name, position_s=session.position_s)
            elif running.is_fetching:
                self._output.send("progress", name, position_s=None)

    def close(self) -> None:
        """Stops all work, at once."""
        for running in self._running.values():
            running.stop()
        self._videos.shutdown(wait=False, cancel_futures=True)
        self._others.shutdown(wait=False, cancel_futures=True)

    def _predict(self, running: Running) -> None:
        request = running.request
        name, folder = request["id"], Path(request["folder"])
        failure: PEClipError | None = None
        people: list[int] = []
        try:
            path = Path(request["path"]) if request["path"] else self._fetch(running, folder)
            session = running.session = self._session(path, request)
            self._send_rows(session, running)
            failure = session.failure
            prediction = session.prediction()
            people = save_results(prediction, path, folder)
            self._predictions[name] = prediction, path
        except Cancelled:
            return
        except UserError as error:
            failure = error
        except Exception as error:
            failure = InternalError.of(request["name"], error)
        finally:
            del self._running[name]
        if running.stopped.is_set():
            self._predictions.pop(name, None)
            return
        message = None if failure is None else _shown(failure, folder, request["name"])
        self._output.send("done", name, error=message, people=people)

    def _fetch(self, running: Running, folder: Path) -> Path:
        running.is_fetching = True
        path = fetch(
            running.request["address"],
            folder,
            max_bytes=self._settings["max_bytes"],
            seconds=self._settings["download_s"],
            allow_private=self._settings["allow_private"],
        )
        running.is_fetching = False
        self._output.send("fetched", running.request["id"], path=str(path))
        return path

    def _session(self, path: Path, request: dict[str, Any]) -> Session:
        options = self._options.model_copy(
            update=check(PredictOptions, request["options"]).model_dump(
                include=set(request["options"])
            )
        )
        with open_video(path, decoder="pyav") as reader:
            about = reader.metadata
        check_video(
            about,
            request["name"],
            max_pixels=self._settings["max_pixels"],
            max_seconds=self._settings["max_seconds"],
        )
        video = {"width": about.width, "height": about.height, "duration_s": about.duration_s}
        self._output.send("opened", request["id"], video=video)
        return self._predictor.open(
            path, options, keep_faces=True, score=self._score, name=request["name"]
        )

    def _send_rows(self, session: Session, running: Running) -> None:
        name, labels = running.request["id"], self._predictor.labels.names
        with closing(cast("Any", session.rows())) as rows:
            for count, row in enumerate(rows):
                if running.stopped.is_set():
                    raise Cancelled
                check_length(
                    session.position_s, session.source, max_seconds=self._settings["max_seconds"]
                )
                if count >= MAX_ROWS:
                    raise UserError(
                        f"{session.source} has more than {MAX_ROWS:,} rows, the limit of this server. "
                        "Use a longer hop, or cut the video."
                    )
                self._output.send("row", name, row=row.to_dict(labels))

    def _still(self, request: dict[str, Any]) -> None:
        path, error = Path(request["path"]), None
        rows: list[dict[str, Any]] = []
        video: dict[str, Any] = {}
        try:
            with open_video(path) as reader:
                about = reader.metadata
            check_video(
                about, request["name"], max_pixels=self._settings["max_pixels"], max_seconds=1.0
            )
            video = {"width": about.width, "height": about.height}
            session = self._predictor.open(
                path, self._options, score=self._score, name=request["name"]
            )
            rows = [row.to_dict(self._predictor.labels.names) for row in session.rows()]
            if session.failure is not None:
                raise session.failure
        except UserError as failure:
            error = _shown(failure, path.parent, request["name"])
        except Exception as failure:
            error = str(InternalError.of(request["name"], failure))
        self._output.send("still", request["id"], rows=rows, video=video, error=error)

    def _overlay(self, request: dict[str, Any]) -> None:
        name, error = request["id"], None
        try:
            if name not in self._predictions:
                raise UserError("The overlay is no longer available. Submit the video again.")
            prediction, path = self._predictions[name]
            if not prediction.faces:
                raise UserError("Nothing of the video could be read, so there is no overlay.")
            prediction.render(path.parent / "overlay.mp4", video=path)
        except UserError as failure:
            error = _shown(failure, Path(request["folder"]), request["name"])
        except Exception as failure:
            error = str(InternalError.of(request["name"], failure))
        self._output.send("overlay", name, error=error)


class Events:
    """Writes events, from any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def send(self, event: str, name: str = "", **values: Any) -> None:
        """Writes one event."""
        line = json.dumps({"event": event, "id": name, **values}).encode() + b"\n"
        with self._lock, suppress(BrokenPipeError):  # the server has ended, and this process will
            self._stream.write(line)
            self._stream.flush()


def _shown(error: PEClipError, folder: Path, name: str) -> str:
    """Returns a message in which no path of the server is."""
    message = " ".join(str(error).split())
    for path in sorted(folder.glob("*"), key=lambda found: -len(str(found))):
        message = message.replace(str(path), name)
    return message.replace(str(folder), "the server's folder")


def about_model(predictor: VideoPredictor) -> dict[str, Any]:
    """Returns the facts about the model that the server shows."""
    facts = predictor.describe()
    labels = predictor.labels.names
    return {
        "name": facts["model"],
        "revision": facts["model_revision"],
        "architecture": facts["architecture"],
        "backbone": facts["backbone"],
        "device": facts["device"],
        "precision": facts["precision"],
        "num_frames": facts["num_frames"],
        "labels": list(labels),
        "label_texts": facts["label_texts"],
        "label_colours": label_colours(labels),
        "person_colours": [colour_of_person(number) for number in range(7)],
    }


def _requests(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    for line in stream:
        yield json.loads(line)


def main() -> None:
    """Runs the process until its standard input ends."""
    output = Events(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # whatever a library prints must not be taken for an event
    with suppress(OSError):  # Linux: if memory is short, this process ends rather than the server
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    requests = _requests(sys.stdin.buffer)
    settings = next(requests)
    try:
        job = Job(settings["model"], settings["device"], settings["precision"])
        predictor = job.load()
    except UserError as error:
        output.send("unusable", message=str(error), exit_code=error.exit_code)
        return
    except Exception as error:
        output.send("unusable", message=f"The model cannot be loaded: {cause(error)}", exit_code=1)
        return
    worker = Worker(predictor, settings, output)
    output.send("ready", model=about_model(predictor))
    done = threading.Event()

    def report() -> None:
        while not done.wait(_TICK_S):
            worker.report()

    threading.Thread(target=report, daemon=True).start()
    for request in requests:
        worker.handle(request)
    done.set()
    worker.close()
    os._exit(0)  # a decoder in another thread may take minutes to return


if __name__ == "__main__":
    main()
