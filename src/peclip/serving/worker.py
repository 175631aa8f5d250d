"""The worker process: loads the model once, and does for the server what it reads from standard input.

Only this process decodes what strangers send. It reads one request per line of standard input and writes one event per
line, both as JSON, so that a decoder that was taken over cannot do more to the server than send rows.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from peclip.engines.base import Job
from peclip.errors import UserError, cause
from peclip.inference.predictor import VideoPredictor
from peclip.results.figures import colour_of_person, label_colours
from peclip.serving.worker_tasks import Worker

_TICK_S = 0.25
"""Between two reports of progress."""


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
        "face_crop": facts["preprocessing"]["face_crop"],
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
    gc.freeze()  # the model is no garbage, and takes long to look through
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
    # The server has ended without deleting its files: it was killed, or its terminal was closed.
    shutil.rmtree(settings["folder"], ignore_errors=True)
    os._exit(0)  # a decoder in another thread may take minutes to return


if __name__ == "__main__":
    main()
