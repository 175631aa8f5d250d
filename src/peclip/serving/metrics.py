"""Counts for Prometheus, in its text format."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

_HELP = {
    "peclip_requests_total": "HTTP responses by status.",
    "peclip_predictions_total": "Predictions of videos that have ended, by state.",
    "peclip_stills_total": "Stills predicted.",
    "peclip_rows_total": "Rows computed.",
    "peclip_video_seconds_total": "Length of the videos predicted, in seconds.",
    "peclip_upload_bytes_total": "Bytes of videos and stills received.",
    "peclip_worker_restarts_total": "Worker processes that were replaced.",
    "peclip_worker_up": "Whether the worker process is ready.",
    "peclip_predictions": "Predictions of videos now, by state.",
    "peclip_resident_memory_bytes": "Memory in use, by process.",
}


class Metrics:
    """Counts that only grow."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, name: str, amount: float = 1, labels: str = "") -> None:
        """Adds to a count; labels are written as `state="done"`."""
        self._counts[name, labels] += amount  # type: ignore[assignment]

    def text(self, gauges: dict[tuple[str, str], float]) -> str:
        """Returns all counters and gauges in the text format of Prometheus."""
        counts = {key: float(value) for key, value in self._counts.items()}
        lines = []
        for name, about in _HELP.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            found = {**counts, **gauges}
            for (one, labels), value in sorted(found.items()):
                if one == name:
                    lines.append(f"{name}{f'{{{labels}}}' if labels else ''} {value:.15g}")
        return "\n".join(lines) + "\n"


def resident_bytes(pid: int | None) -> float | None:
    """Returns the memory of a process, where the system tells it."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        return float(pages * os.sysconf("SC_PAGE_SIZE"))
    return None
