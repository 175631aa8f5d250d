"""What the worker process does for the server: videos, stills, overlays and explanations, in threads."""

from __future__ import annotations

import copy
import gc
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
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
from peclip.serving.limits import MAX_ROWS, STILL_S, check_length, check_video
from peclip.serving.worker_files import fetch, save_results
from peclip.video.reader import open_video

_EXPLAIN = "peclip.explain.explaining:explain"
_SAVE = "peclip.explain.outputs:save"
"""Imported when they are needed, since they import torch, which exported models do without."""


Act = Callable[[dict[str, Any]], dict[str, Any]]
"""Does what a request asks for, and returns the values of the event that ends it."""


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
    is_started: bool = False
    is_fetching: bool = False
    """Whether it is downloaded, which has a time limit of its own."""

    def stop(self) -> None:
        """Ends the reading soon."""
        self.stopped.set()
        if self.session is not None:
            self.session.stop()

    def check(self, *_: object) -> None:
        """Checks that the server wants the rest.

        Raises:
            Cancelled: it does not.
        """
        if self.stopped.is_set():
            raise Cancelled


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
        self._score: SharedScorer | None = None
        self._explained = predictor
        if not apart:
            scorer = predictor.scorer("", self._options)
            self._score = SharedScorer(scorer, predictor.windows_at_once)
            self._explained = _sharing(predictor, self._score)
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
            self._videos.submit(self._read, self._running[name])
        elif request["do"] == "forget":
            self._predictions.pop(name, None)
            if name in self._running:
                self._running[name].stop()
        else:
            acts = {"still": self._still, "overlay": self._overlay, "explain": self._explain}
            act = acts[request["do"]]
            self._others.submit(self._respond, request["do"], act, request)

    def report(self) -> None:
        """Sends how far each video was read; one that waits for the end of a download has not stalled."""
        fetches = any(running.is_fetching for running in list(self._running.values()))
        for name, running in list(self._running.items()):
            session = running.session
            if session is not None:
                self._output.send("progress", name, position_s=session.position_s)
            elif running.is_fetching or (fetches and not running.is_started):
                self._output.send("progress", name, position_s=None)

    def close(self) -> None:
        """Stops all work, at once."""
        for running in self._running.values():
            running.stop()
        self._videos.shutdown(wait=False, cancel_futures=True)
        self._others.shutdown(wait=False, cancel_futures=True)

    def _read(self, running: Running) -> None:
        self._predict(running)
        gc.collect()  # cycles hold frames, of which Python sees few objects, and lets many gather

    def _predict(self, running: Running) -> None:
        request = running.request
        name, folder = request["id"], Path(request["folder"])
        failure: PEClipError | None = None
        people: list[int] = []
        running.is_started = True
        try:
            running.check()
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
        except OSError as error:  # of the files of the prediction, since readers raise others
            failure = _unstored(error)
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
            progress=running.check,
        )
        running.is_fetching = False
        self._output.send("fetched", running.request["id"])
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
                running.check()
                check_length(
                    session.position_s, session.source, max_seconds=self._settings["max_seconds"]
                )
                if count >= MAX_ROWS:
                    raise UserError(
                        f"{session.source} has more than {MAX_ROWS:,} rows, the limit of this server. "
                        "Use a longer hop, or cut the video."
                    )
                self._output.send("row", name, row=row.to_dict(labels))

    def _respond(self, event: str, act: Act, request: dict[str, Any]) -> None:
        """Does what a request asks for, and sends what was found, or why it failed."""
        found: dict[str, Any] = {}
        error = None
        try:
            found = act(request)
        except UserError as failure:
            error = _shown(failure, Path(request["folder"]), request["name"])
        except OSError as failure:  # of the files that are written, since readers raise others
            error = str(_unstored(failure))
        except Exception as failure:
            error = str(InternalError.of(request["name"], failure))
        self._output.send(event, request["id"], error=error, **found)

    def _still(self, request: dict[str, Any]) -> dict[str, Any]:
        path, name = Path(request["path"]), request["name"]
        with open_video(path, decoder="pyav") as reader:
            about = reader.metadata
        check_video(about, name, max_pixels=self._settings["max_pixels"], max_seconds=math.inf)
        if (about.duration_s or 0.0) > STILL_S:
            raise _no_still(name)
        session = self._predictor.open(path, self._options, score=self._score, name=name)
        found = []
        with closing(cast("Any", session.rows())) as rows:
            for row in rows:
                if session.position_s > STILL_S:  # a video whose header has no duration
                    raise _no_still(name)
                found.append(row.to_dict(self._predictor.labels.names))
        if session.failure is not None:
            raise session.failure
        return {"rows": found, "video": {"width": about.width, "height": about.height}}

    def _overlay(self, request: dict[str, Any]) -> dict[str, Any]:
        prediction, path = self._ended(request["id"])
        if not prediction.faces:
            raise UserError("Nothing of the video could be read, so there is no overlay.")
        prediction.render(path.parent / "overlay.mp4", video=path)
        return {}

    def _explain(self, request: dict[str, Any]) -> dict[str, Any]:
        _, path = self._ended(request["job"])
        found = resolve_name(_EXPLAIN)(
            self._explained,
            path,
            at=request["at"],
            person=request["person"],
            options=self._chosen(request["options"]),
        )
        resolve_name(_SAVE)(replace(found, source=request["name"]), Path(request["output"]))
        return {}

    def _ended(self, job: str) -> tuple[Prediction, Path]:
        """Returns a prediction and its video, which a process that has taken another's place does not have."""
        if job not in self._predictions:
            raise UserError("The prediction is no longer in memory. Submit the video again.")
        return self._predictions[job]


def _sharing(predictor: VideoPredictor, score: ScoreFn) -> VideoPredictor:
    """Returns the predictor with a scoring function that other threads use at the same time."""
    shared = copy.copy(predictor)
    shared.scorer = lambda video, options: score  # type: ignore[method-assign]
    return shared


def _no_still(name: str) -> UserError:
    return UserError(f"{name} is not a single image. Send videos to /v1/predictions.")


def _unstored(error: OSError) -> UserError:
    problem = f"The server cannot store the results: {error.strerror or error}"
    return UserError(f"{problem}. Free up disk space there, and submit the video again.")


def _shown(error: PEClipError, folder: Path, name: str) -> str:
    """Returns a message in which no path of the server is."""
    message = " ".join(str(error).split())
    for path in sorted(folder.glob("*"), key=lambda found: -len(str(found))):
        message = message.replace(str(path), name)
    return message.replace(str(folder), "the server's folder")
