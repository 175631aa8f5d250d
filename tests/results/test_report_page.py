"""The report is one page without network or scripts, with everything that a run gives."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peclip.errors import ConfigError, MissingExtraError
from peclip.results.figures import label_colours
from peclip.results.prediction import Prediction
from peclip.results.report import LIMITS, Report
from peclip.results.rows import Row, failure_row
from peclip.version import VERSION
from peclip.video.frames import Frames

LABELS = ("anger", "fear")
METADATA: dict[str, Any] = {
    "model": "nano",
    "device": "cpu",
    "precision": "fp32",
    "preprocessing": {"image_size": 96, "mean": (0.5, 0.25)},
    "options": {"window": 1.0, "captions": None},
    "video": {"width": 60, "height": 40, "frame_rate": 10.0, "duration_s": 3.0, "start_s": 0.0},
}


class Page(HTMLParser):
    """The tags of a page with their attributes, and its visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open = list[str]()
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert not self._open, "each element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "source", "br", "rect"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def window(number: int, anger: float, *, track: int = 0, source: str = "videos/a.mp4") -> Row:
    scores = {"anger": anger, "fear": 1 - anger}
    label = "anger" if anger >= 0.5 else "fear"
    return Row(
        source, "nano", "", track, number, float(number), number + 1.0, 10 * number,
        10 * number + 9, 8, 1, "ok", label, scores[label], scores, 0.9, 1.0, (20.0, 10.0, 10.0, 10.0),
    )  # fmt: skip


def predict(*rows: Row, source: str = "videos/a.mp4", **metadata: Any) -> Prediction:
    return Prediction(source, LABELS, rows, METADATA | metadata)


def video() -> Frames:
    """Three seconds, whose frames are redder and redder."""
    data = np.zeros((30, 40, 60, 3), np.uint8)
    data[..., 0] = np.arange(30)[:, None, None] * 8
    return Frames(data, np.arange(30) / 10)


PREDICTION = predict(window(0, 0.8), window(1, 0.9), window(2, 0.1))


def test_the_page_has_the_summary_the_timeline_the_settings_and_the_limits(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    PREDICTION.save_report(path, video=video())
    page = Page(path)
    cells = re.findall(r'data-name="(.*?)">(.*?)</td>', page.source)
    assert dict(cells)["person"] == "0"
    assert dict(cells)["seen"] == "3 s"
    assert (
        dict(cells)["label (mean probability)"] == "<span><bdi>anger</bdi> 0.60</span>"
    )  # (0.8 + 0.9 + 0.1) / 3
    assert "<bdi>anger</bdi> 67%, <bdi>fear</bdi> 33%" in dict(cells)["share of time"]
    assert dict(cells)["episodes"] == "2"
    assert dict(cells)["good quality"] == "100%"
    for said in ("a.mp4", "60 × 40 pixels", "preprocessing.image_size", "0.5, 0.25", VERSION):
        assert said in page.text
    for sentence in LIMITS:
        assert sentence in page.text
    (wide,) = (image for image in page.of("img") if "Timeline" in str(image["alt"]))
    (narrow,) = page.of("source")
    for address in (wide["src"], narrow["srcset"]):
        kind, data = str(address).split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        assert b"currentColor" in base64.b64decode(data)


def test_each_expression_has_its_peak(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    PREDICTION.save_report(path, video=video())
    page = Page(path)
    captions = re.findall(
        r"<figcaption><b><bdi>(\w+)</bdi></b> ([\d.]+)<br><span>at (\S+ s),</span> <span>lasts (\S+ s)",
        page.source,
    )
    assert captions == [("anger", "0.90", "1.5 s", "2 s"), ("fear", "0.90", "2.5 s", "1 s")]
    colours = label_colours(LABELS)
    assert [figure["style"] for figure in page.of("figure")] == [
        f"--label:{colours['anger']}",
        f"--label:{colours['fear']}",
    ]
    import cv2

    peaks = [image for image in page.of("img") if "person 0" in str(image["alt"])][1:]
    reds = []
    for image in peaks:
        data = base64.b64decode(str(image["src"]).split(",", 1)[1])
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        reds.append(int(picture[0, 0, 2]))
    assert reds == pytest.approx(
        [14 * 8, 24 * 8], abs=3
    )  # the frames (10 + 19) // 2 and (20 + 29) // 2


def test_without_pictures_no_face_is_in_the_page(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    PREDICTION.save_report(path, video=video(), pictures=False)
    page = Page(path)
    assert "image/jpeg" not in page.source
    assert "image/png" not in "".join(
        base64.b64decode(data).decode()
        for data in re.findall(r"svg\+xml;base64,([\w+/=]+)", page.source)
    )
    assert page.text.count("no picture") == 2


def test_text_of_files_is_escaped_and_nothing_is_loaded(tmp_path: Path) -> None:
    name = '<script>alert(1)</script>&"\x1b$x.mp4'
    labels = ("<i>a</i>", 'b" onload="x')
    scores = dict(zip(labels, (0.7, 0.3), strict=True))
    row = Row(name, "m", "", 0, 0, 0.0, 9.0, 0, 3, 4, 1, "ok", labels[0], 0.7, scores)
    metadata = {"model": "</dd><img src=x>", "error": "<b>bad</b>", "label_texts": {"<u>": "<s>"}}
    path = tmp_path / "report.html"
    Prediction(name, labels, (row,), metadata).save_report(path)
    page = Page(path)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "i", "u", "s", "link", "iframe", "form", "object"}
    assert name.replace("\x1b", "\\x1b") in page.text
    assert "<b>bad</b>" in page.text
    addresses = [
        values[key] for _, values in page.tags for key in ("src", "srcset", "href") if key in values
    ]
    assert addresses
    assert all(str(address).startswith("data:image/") for address in addresses)
    assert not [key for _, values in page.tags for key in values if key.startswith("on")]
    assert "url(" not in page.source
    (policy,) = (one for one in page.of("meta") if one.get("http-equiv"))
    assert str(policy["content"]).startswith("default-src 'none'")


def test_a_run_of_several_sources_is_one_page(tmp_path: Path) -> None:
    report = Report(tmp_path / "report.html")
    report.end_source(PREDICTION)
    report.end_source(predict(source="videos/empty.mp4"))
    report.end_source(
        predict(failure_row("bad.mp4", "nano", ""), source="bad.mp4", error="It is bad.")
    )
    report.end_source(predict(window(0, 0.8, source="c.mp4", track=2), source="c.mp4"))
    assert not (tmp_path / "report.html").exists()
    report.close()
    page = Page(tmp_path / "report.html")
    assert "4 sources, 2 people, model nano" in page.text
    assert [one for one in ("a.mp4", "empty.mp4", "bad.mp4", "c.mp4") if one not in page.text] == []
    assert "It is bad." in page.text
    assert "could not be read" in page.text
    assert page.text.count("no face found") == 0  # no row, and an error
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_still_image_has_a_label_and_no_peaks(tmp_path: Path) -> None:
    row = Row(
        "a.png",
        "m",
        "",
        0,
        0,
        0.0,
        0.0,
        0,
        0,
        1,
        1,
        "ok",
        "anger",
        0.8,
        {"anger": 0.8, "fear": 0.2},
    )
    path = tmp_path / "report.html"
    predict(row, source="a.png").save_report(path)
    page = Page(path)
    assert (
        'data-name="label (mean probability)"><span><bdi>anger</bdi> 0.80</span></td>'
        in page.source
    )
    assert not page.of("figure")


def test_without_a_source_there_is_no_page(tmp_path: Path) -> None:
    Report(tmp_path / "report.html").close()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"'report.pdf'.*\.html"):
        PREDICTION.save_report(tmp_path / "report.pdf")
    with pytest.raises(ConfigError, match="existing, writable folder"):
        PREDICTION.save_report(tmp_path / "none" / "report.html")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match='pip install "matplotlib'):
        PREDICTION.save_report(tmp_path / "report.html")
    assert not list(tmp_path.iterdir())
