"""One HTML page about the predictions of a run, complete in itself: no network, no scripts."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from datetime import datetime
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from peclip.errors import ConfigError
from peclip.files import replacing
from peclip.results.episodes import Episode
from peclip.results.face_pictures import Video, pictures_of, portraits
from peclip.results.figures import REPORT_ENDINGS, check_matplotlib, label_colours
from peclip.results.interface import SourceResult
from peclip.results.page_parts import (
    base_name,
    definition_list,
    flat,
    isolated,
    jpeg,
    summary_table,
    svg,
    text,
)
from peclip.results.rows import Row
from peclip.results.summary import Summary, joined, summarise
from peclip.results.time_axis import clock_text
from peclip.results.timeline import INK, MAX_PEOPLE, plot_timeline
from peclip.version import VERSION
from peclip.video.faces import Image

LIMITS = (
    "peclip describes visible facial expressions; it cannot know what people feel, and its error "
    "rates differ between demographic groups.",
    "In the European Union, using AI to infer emotions in the workplace or in education is "
    "prohibited (AI Act, Art. 5(1)(f)), and other uses are classified as high-risk. Inform the "
    "people you record and obtain their consent.",
)
_WHOLE_FRAME_LIMITS = (
    "The model reads whole frames and gives every window one of its labels, whatever the video shows.",
    "Inform the people you record and obtain their consent.",
)

_WIDE, _NARROW = 10.0, 4.4
"""Inches, of the timelines for desktops and phones."""
_NUM_PEAKS = 4
"""Pictures per person: of the labels that the person shows longest."""
_IN_MEMORY = 64 * 2**20
"""Bytes of sections; those of longer runs wait in a temporary file."""

_MODEL = (
    *("model", "model_revision", "architecture", "backbone", "num_frames"),
    *("face_detector", "decoder", "device", "precision", "prior_weight"),
)
"""Metadata that are shown first."""


def check_report(path: Path) -> None:
    """Checks that a report can be written, before anything is computed.

    Raises:
        ConfigError: the extension is unsupported.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix.lower() not in REPORT_ENDINGS:
        raise ConfigError(
            f"Cannot infer the format of the report {path.name!r} from its extension; use "
            f"{', '.join(REPORT_ENDINGS)}."
        )
    check_matplotlib("A report")


class Report:
    """Collects the sources of a run, and writes the page when it is closed.

    Args:
        path: a `.html` file; it appears when it is complete.
        pictures: show the faces of people, where the videos can be read.

    Raises:
        ConfigError: the extension is unsupported.
        MissingExtraError: matplotlib is not installed.
    """

    def __init__(self, path: Path, *, pictures: bool = True) -> None:
        check_report(path)
        self._path, self._pictures = path, pictures
        self._parts, self._sources = list[Summary](), list[str]()
        self._metadata: Mapping[str, Any] = {}
        self._sections = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed by close()
            _IN_MEMORY, "w+", encoding="utf-8", errors="backslashreplace"
        )

    def end_source(self, prediction: SourceResult, *, video: Video | None = None) -> None:
        """Adds the section of a source.

        Args:
            prediction: the source, with all of its rows.
            video: its frames; by default those of the file that it names.
        """
        summary = summarise(prediction.rows, prediction.labels)
        self._parts.append(summary)
        self._sources.append(prediction.source)
        self._metadata = self._metadata or prediction.metadata
        heads = portraits(prediction, video=video) if self._pictures else {}
        wide = plot_timeline(prediction, pictures=heads, width=_WIDE, has_title=False)
        narrow = plot_timeline(prediction, pictures=heads, width=_NARROW, has_title=False)
        people = ", ".join(_person(track) for track in prediction.tracks) or "no face found"
        name = text(base_name(prediction.source))
        self._sections.write(
            f"<section>\n<h2>{name}</h2>\n"
            f'<p class="about">{_about(prediction)}</p>\n{_failure(prediction)}'
            f'<picture><source media="(max-width: 640px)" srcset="{svg(narrow, INK)}">'
            f'<img src="{svg(wide, INK)}" alt="Timeline of {name}: {text(people)}"></picture>\n'
        )
        self._write_peaks(prediction, summary, video)
        self._sections.write("</section>\n")

    def close(self) -> None:
        """Writes the page, unless there was no source.

        Raises:
            ConfigError: the file cannot be written.
        """
        if not self._parts:
            self._sections.close()
            return
        folder = resources.files("peclip") / "assets" / "report"
        begin = Template((folder / "page.html").read_text(encoding="utf-8"))
        end = Template((folder / "end.html").read_text(encoding="utf-8"))
        try:
            with (
                self._sections as sections,
                replacing(self._path) as partial,
                partial.open("w", encoding="utf-8", errors="backslashreplace") as file,
            ):
                file.write(begin.substitute(self._beginning()))
                sections.seek(0)
                while part := sections.read(2**20):
                    file.write(part)
                file.write(end.substitute(self._end()))
        except OSError as error:
            raise ConfigError(
                f"The report {str(self._path)!r} cannot be written: {error.strerror or error}. "
                "Choose a file in an existing, writable folder."
            ) from None

    def discard(self) -> None:
        """Removes the sections without writing the page."""
        self._sections.close()

    @property
    def _of_faces(self) -> bool:
        """Whether the model reads face crops, and not whole frames; unknown for rows from files."""
        return bool(self._metadata.get("preprocessing", {}).get("face_crop", True))

    def _beginning(self) -> dict[str, str]:
        summary = joined(self._parts)
        names = self._sources
        people = sum(line.totals.people for line in summary.lines if line.keys["track_id"] >= 0)
        whole = any(line.totals.people for line in summary.lines if line.keys["track_id"] < 0)
        title = base_name(names[0]) if len(names) == 1 else f"{len(names)} sources"
        model = self._metadata.get("model")
        counts = f"{len(names)} {'source' if len(names) == 1 else 'sources'}"
        if people or not whole:
            counts += f", {people} {'person' if people == 1 else 'people'}"
        if model is not None:
            counts += f", model {model}"
        return {
            "title": text(f"{'Facial expressions' if self._of_faces else 'Predictions'}: {title}"),
            "about": text(f"{counts}; peclip {VERSION}"),
            "limits": "\n".join(
                f"<p>{text(said)}</p>"
                for said in (LIMITS if self._of_faces else _WHOLE_FRAME_LIMITS)
            ),
            "heading": "People" if people or not whole else "Whole frames",
            "summary": summary_table(summary),
        }

    def _end(self) -> dict[str, str]:
        known = dict(self._metadata)
        known.pop("video", None)  # in the section of each source
        known.pop("error", None)
        first = [(name.replace("_", " "), known[name]) for name in _MODEL if known.get(name)]
        first += flat(known.get("preprocessing", {}), ["preprocessing"])
        written = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
        return {
            "model": definition_list(first),
            "settings": definition_list(flat(known)),
            "footer": text(f"Written by peclip {VERSION} on {written}."),
        }

    def _write_peaks(self, prediction: SourceResult, summary: Summary, video: Video | None) -> None:
        peaks = _peaks(prediction, summary)
        if not peaks:
            return
        wanted = [((row.track_id, episode.label), row) for episode, row in peaks]
        found = pictures_of(prediction, wanted, video=video) if self._pictures else {}
        colours = label_colours(prediction.labels)
        heading = "Expression peaks" if self._of_faces else "Peaks"
        self._sections.write(f'<h3>{heading}</h3>\n<div class="people">\n')
        for track, person in itertools.groupby(peaks, key=lambda pair: pair[1].track_id):
            figures = "".join(
                _peak(episode, colours[episode.label], found.get((track, episode.label)))
                for episode, _ in person
            )
            self._sections.write(
                f'<div><h4>{_person(track)}</h4>\n<div class="peaks">{figures}</div></div>\n'
            )
        self._sections.write("</div>\n")


def _peak(episode: Episode, colour: str, image: Image | None) -> str:
    """Returns a picture with its label, probability and time."""
    picture = '<div class="none">no picture</div>'
    if image is not None:
        alt = text(f"{_person(episode.track_id)}, {episode.label}")
        picture = f'<img src="{jpeg(image)}" alt="{alt}">'
    return (
        f'<figure style="--label:{colour}">{picture}<figcaption><b>{isolated(episode.label)}</b> '
        f"{episode.apex_prob:.2f}<br><span>at {clock_text(episode.apex_s)},</span> "
        f"<span>lasts {clock_text(episode.duration_s)}</span></figcaption></figure>\n"
    )


def _peaks(prediction: SourceResult, summary: Summary) -> list[tuple[Episode, Row]]:
    """Returns the most probable episode of each label that a person shows long, with the window of its apex."""
    found = list[tuple[Episode, Row]]()
    timed = (line for line in summary.lines if line.totals.source_s)  # still images have no peaks
    lines = sorted(timed, key=lambda one: -one.totals.seen_s)[:MAX_PEOPLE]
    for line in sorted(lines, key=lambda one: int(one.keys["track_id"])):
        track, times = line.keys["track_id"], line.totals.label_s
        best = dict[str, Episode]()
        for episode in summary.episodes:
            if episode.track_id == track:
                other = best.get(episode.label)
                if other is None or episode.apex_prob > other.apex_prob:
                    best[episode.label] = episode
        ranked = sorted(best.values(), key=lambda one: (-times[one.label], -one.apex_prob))
        rows = [row for row in prediction.rows if row.track_id == track]
        found += [(episode, _apex(episode, rows)) for episode in ranked[:_NUM_PEAKS]]
    return found


def _apex(episode: Episode, rows: list[Row]) -> Row:
    of_label = [row for row in rows if row.label == episode.label]
    return min(of_label, key=lambda row: abs((row.start_s + row.end_s) / 2 - episode.apex_s))


def _person(track: int) -> str:
    return f"person {track}" if track >= 0 else "whole frame"


def _about(prediction: SourceResult) -> str:
    about = prediction.metadata.get("video", {})
    parts = [prediction.source]
    if about.get("width") and about.get("height"):
        parts.append(f"{about['width']} × {about['height']} pixels")
    if about.get("duration_s"):  # not of still images
        parts.append(clock_text(about["duration_s"]))
        if about.get("frame_rate"):
            parts.append(f"{about['frame_rate']:.4g} frames/s")
    return text(" · ".join(parts))


def _failure(prediction: SourceResult) -> str:
    error = prediction.metadata.get("error")
    return "" if error is None else f'<p class="error">{text(error)}</p>\n'
