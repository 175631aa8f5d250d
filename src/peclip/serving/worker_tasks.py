"""What the worker process does for the server: videos, stills, overlays and explanations, in threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol, cast

from peclip.config import check
from peclip.errors import InternalError, PEClipError, UserError
from peclip.inference.predictor import VideoPredictor
from peclip.inference.session import ScoreFn, Session
from peclip.inference.shared_scorer import SharedScorer
from peclip.predict_options import PredictOptions
from peclip.results.prediction import Prediction
from peclip.serving.limits import MAX_ROWS, check_length, check_video
from peclip.serving.worker_files import fetch, save_results
from peclip.video.reader import open_video
from peclip.video.windows import FaceWindow

_EXPLAIN = "peclip.explain.explaining:explain"
_SAVE = "peclip.explain.outputs:save"
"""Imported when they are needed, since they import torch, which exported models do without."""


class Output(Protocol):
    """Receives the events of the worker, from any thread."""

    def send(self, event: str, name: str = "", **values: Any) -> None: ...


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

    def __init__(self, predictor: VideoPredictor, settings: dict[str, Any], output: Output) -> None:
        self._predictor, self._settings, self._output = predictor, settings, output
        detector = predictor.detector(PredictOptions())
        # The same for all, without a download for each.
        self._options = PredictOptions(detector=detector.name if detector else "auto")
        apart = bool(predictor.config.streams)  # scores then depend on the source
        at_once = predictor.windows_at_once
        self._network = threading.Lock()
        score = predictor.scorer("", self._options)
        self._score = None if apart else SharedScorer(partial(self._alone, score), at_once)
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
        elif request["do"] == "explain":
            self._others.submit(self._explain, request)
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

    def _alone(self, score: ScoreFn, windows: list[FaceWindow]) -> list[list[float]]:
        with self._network:
            return score(windows)

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
        options = self._chosen(request["options"])
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

    def _chosen(self, given: dict[str, Any]) -> PredictOptions:
        """Returns the options of a request, with the detector of all."""
        return check(PredictOptions, {**given, "detector": self._options.detector})

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

    def _explain(self, request: dict[str, Any]) -> None:
        name, job, error = request["id"], request["job"], None
        output = Path(request["output"])
        try:
            if job not in self._predictions:
                raise UserError("The video is no longer available. Submit it again.")
            _, path = self._predictions[job]
            options = self._chosen(request["options"])
            with self._network:  # gradients and attention are those of one caller at a time
                found = resolve_name(_EXPLAIN)(
                    self._predictor,
                    path,
                    at=request["at"],
                    person=request["person"],
                    options=options,
                )
            resolve_name(_SAVE)(replace(found, source=request["name"]), output)
        except UserError as failure:
            error = _shown(failure, Path(request["folder"]), request["name"])
        except Exception as failure:
            error = str(InternalError.of(request["name"], failure))
        self._output.send("explained", name, error=error)


def _shown(error: PEClipError, folder: Path, name: str) -> str:
    """Returns a message in which no path of the server is."""
    message = " ".join(str(error).split())
    for path in sorted(folder.glob("*"), key=lambda found: -len(str(found))):
        message = message.replace(str(path), name)
    return message.replace(str(folder), "the server's folder")
