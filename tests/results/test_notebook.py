"""A notebook shows a small table and the timeline of a prediction."""

from __future__ import annotations

import sys

import pytest

from peclip.results.prediction import Prediction
from peclip.results.rows import Row


def predict(count: int) -> Prediction:
    rows = tuple(
        Row(
            "v/<a>.mp4", "m", "", 0, n, float(n), n + 1.0, 0, 9, 8, 1, "ok", "anger", 0.8,
            {"anger": 0.8, "fear": 0.2},
        )
        for n in range(count)
    )  # fmt: skip
    return Prediction("v/<a>.mp4", ("anger", "fear"), rows)


def test_the_table_and_the_timeline_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_video(*_: object) -> None:
        raise AssertionError("a notebook decodes no video")

    monkeypatch.setattr("peclip.results.face_pictures.open_video", no_video)
    page = predict(3)._repr_html_()
    assert "<b>&lt;a&gt;.mp4</b>" in page
    assert "<bdi>anger</bdi> 0.80" in page
    assert 'src="data:image/png;base64,' in page


def test_without_matplotlib_there_is_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = predict(3)._repr_html_()
    assert "<bdi>anger</bdi> 0.80" in page
    assert "<img" not in page


def test_a_summary_is_a_table() -> None:
    summary = predict(3).summary()
    assert "<bdi>anger</bdi> 100%" in summary._repr_html_()
    cells = {"v/<a>.mp4": {"group": "<x>"}}
    page = summary.with_columns(cells).grouped(["group"])._repr_html_()
    assert '<th scope="col">group</th><th scope="col">seen</th>' in page
    assert '<td data-name="group">&lt;x&gt;</td>' in page
    page = summary.with_columns({"v/<a>.mp4": {"group": ""}}).grouped(["group"])._repr_html_()
    assert '<td data-name="group">(none)</td>' in page


def test_the_text_form_is_short() -> None:
    assert repr(predict(3).summary()) == "Summary(1 line, 1 episode, labels anger, fear)"
    assert repr(predict(3)) == "Prediction('v/<a>.mp4': 1 person, 3 rows, 'anger' (0.80))"
    assert repr(predict(1)) == "Prediction('v/<a>.mp4': 1 person, 1 row, 'anger' (0.80))"
    assert repr(predict(0)) == "Prediction('v/<a>.mp4': 0 people, 0 rows)"
