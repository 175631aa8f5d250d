"""Episodes in the formats of other tools, opened by a reader of each."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from peclip.errors import ConfigError, MissingExtraError
from peclip.results.formats.registry import FORMATS
from peclip.results.prediction import Prediction
from peclip.results.rows import Row, failure_row
from peclip.results.source_files import FolderWriter, source_files
from peclip.results.writers import check_format, open_writer

LABELS = ("anger", '<joy> & "co" x')
JOY = LABELS[1]
PLAIN_JOY = '‹joy› & "co" x'


def row(start: float, anger: float | None, track: int = 0, source: str = "a.mp4") -> Row:
    scores = {} if anger is None else {"anger": anger, JOY: 1 - anger}
    label = max(scores, key=lambda name: scores[name]) if scores else None
    return Row(
        source=source,
        model="debug",
        model_revision="",
        track_id=track if scores else -1,
        window=round(start * 2),
        start_s=start,
        end_s=start + 1,
        start_frame=0,
        end_frame=1,
        num_frames_used=2,
        n_faces=1,
        status="ok" if scores else "no_face",
        label=label,
        score=None if label is None else scores[label],
        scores=scores,
    )


ROWS = (
    *(row(3600, 0.9), row(3600, 0.2, 1)),
    *(row(3600.5, 0.8), row(3601, 0.3), row(3601.5, 0.9, 1), row(3602.5, None)),
)
"""Slots from 3600 s: 0 to 0.75, to 1.25, to 1.75, to 2.5 and to 3.5 (nobody)."""
EXPECTED = {
    "person 0": [(3600, 3601.25, "anger"), (3601.25, 3601.75, JOY)],
    "person 1": [(3600, 3600.75, JOY), (3601.75, 3602.5, "anger")],
}
EMPTY = (row(0, None), row(0.5, None))
TEXTS = {
    "srt": (
        "1\n01:00:00,000 --> 01:00:01,250\nperson 0: anger\n\n"
        f"2\n01:00:00,000 --> 01:00:00,750\nperson 1: {PLAIN_JOY}\n\n"
        f"3\n01:00:01,250 --> 01:00:01,750\nperson 0: {PLAIN_JOY}\n\n"
        "4\n01:00:01,750 --> 01:00:02,500\nperson 1: anger\n\n"
    ),
    "vtt": (
        "WEBVTT\n\n"
        "01:00:00.000 --> 01:00:01.250\n<v person 0>person 0: anger</v>\n\n"
        "01:00:00.000 --> 01:00:00.750\n<v person 1>person 1: &lt;joy&gt; &amp; \"co\" x</v>\n\n"
        "01:00:01.250 --> 01:00:01.750\n<v person 0>person 0: &lt;joy&gt; &amp; \"co\" x</v>\n\n"
        "01:00:01.750 --> 01:00:02.500\n<v person 1>person 1: anger</v>\n\n"
    ),
}  # fmt: skip


def save(folder: Path, form: str, rows: tuple[Row, ...] = ROWS) -> Path:
    path = folder / f"a.{form}"
    Prediction("a.mp4", LABELS, rows).save(path)
    return path


@pytest.mark.parametrize("form", TEXTS)
def test_subtitles_by_hand(form: str, tmp_path: Path) -> None:
    assert save(tmp_path, form).read_text(encoding="utf-8") == TEXTS[form]


def test_tsv_has_the_episodes_of_the_summary(tmp_path: Path) -> None:
    with save(tmp_path, "tsv").open(encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream, delimiter="\t"))
    summary = Prediction("a.mp4", LABELS, ROWS).summary()
    assert found == [{k: str(v) for k, v in flat.items()} for flat in summary.episode_rows()]
    assert [float(line["onset_s"]) for line in found] == [3600, 3601.25, 3600, 3601.75]


def test_webvtt_opens_the_subtitles(tmp_path: Path) -> None:
    webvtt = pytest.importorskip("webvtt")
    expected = [
        *(("01:00:00.000", "01:00:01.250"), ("01:00:00.000", "01:00:00.750")),
        *(("01:00:01.250", "01:00:01.750"), ("01:00:01.750", "01:00:02.500")),
    ]
    cues = webvtt.read(str(save(tmp_path, "vtt")))
    assert [(cue.start, cue.end) for cue in cues] == expected
    assert [cue.voice for cue in cues] == ["person 0", "person 1", "person 0", "person 1"]
    assert cues[0].text == "person 0: anger"
    subtitles = webvtt.from_srt(str(save(tmp_path, "srt")))
    assert [(cue.start, cue.end) for cue in subtitles] == expected
    assert subtitles[1].raw_text == f"person 1: {PLAIN_JOY}"


def test_pympi_opens_the_elan_document(tmp_path: Path) -> None:
    elan = pytest.importorskip("pympi.Elan")
    found = elan.Eaf(save(tmp_path, "eaf"))
    assert sorted(found.get_tier_names()) == ["person 0", "person 1"]
    for name, episodes in EXPECTED.items():
        in_ms = [(round(a * 1000), round(b * 1000), label) for a, b, label in episodes]
        assert sorted(found.get_annotation_data_for_tier(name)) == in_ms
    assert found.get_linked_files() == []


def test_the_elan_document_is_linked_to_its_video(tmp_path: Path) -> None:
    elan = pytest.importorskip("pympi.Elan")
    video = tmp_path / "ü b.mp4"
    video.touch()
    Prediction(str(video), LABELS, ROWS).save(tmp_path / "b.eaf")
    (link,) = elan.Eaf(tmp_path / "b.eaf").get_linked_files()
    assert link["MEDIA_URL"] == video.as_uri()
    assert (link["RELATIVE_MEDIA_URL"], link["MIME_TYPE"]) == ("./ü b.mp4", "video/mp4")


def test_praat_parsers_open_the_text_grid(tmp_path: Path) -> None:
    praat = pytest.importorskip("pympi.Praat")
    path = save(tmp_path, "textgrid")
    found = praat.TextGrid(str(path))
    assert (found.xmin, found.xmax) == (0, 3603.5)
    tiers = {tier.name: tier.get_all_intervals() for tier in found.get_tiers()}
    # An interval tier has no gaps.
    assert tiers["person 0"] == [
        (0, 3600, ""), *EXPECTED["person 0"], (3601.75, 3603.5, ""),
    ]  # fmt: skip
    assert len(tiers["person 1"]) == 5


def test_another_praat_parser_reads_the_same(tmp_path: Path) -> None:
    pytest.importorskip("pympi.Praat")
    textgrids = pytest.importorskip("textgrids")
    grid = textgrids.TextGrid(str(save(tmp_path, "textgrid")))
    for name, episodes in EXPECTED.items():
        found = [(i.xmin, i.xmax, i.text.replace('""', '"')) for i in grid[name] if i.text]
        assert found == episodes


def test_a_source_without_people_is_a_valid_file(tmp_path: Path) -> None:
    assert save(tmp_path, "srt", EMPTY).read_text() == ""
    assert save(tmp_path, "vtt", EMPTY).read_text() == "WEBVTT\n\n"
    praat, elan = pytest.importorskip("pympi.Praat"), pytest.importorskip("pympi.Elan")
    (tier,) = praat.TextGrid(str(save(tmp_path, "textgrid", EMPTY))).get_tiers()
    assert tier.get_all_intervals() == [(0, 1.5, "")]
    (name,) = elan.Eaf(save(tmp_path, "eaf", EMPTY)).get_tier_names()
    assert name == "default"


@pytest.mark.parametrize("form", ["eaf", "textgrid"])
def test_without_pympi_the_error_names_the_package_to_install(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pympi", None)
    with pytest.raises(MissingExtraError, match='pip install "pympi-ling'):
        save(tmp_path, form)
    assert not list(tmp_path.iterdir())


# Several sources --------------------------------------------------------------------------------


def test_files_are_called_as_their_sources() -> None:
    names = ["in/a.mp4", "in/b.mp4", "out/B.mov", "x/c.mp4", "y/c.mp4", "http://h/d.mp4?x=1", "0"]
    found = source_files(Path("out"), names, "srt")
    assert [path.name for path in found.values()] == [
        *("a.srt", "b.mp4.srt", "B.mov.srt", "c.mp4.srt", "c.mp4-2.srt", "d.srt", "0.srt"),
    ]
    assert len(source_files(Path("out"), ["a.mp4", "a.mp4"], "srt")) == 1


def test_a_folder_has_a_file_per_source_that_could_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    files = source_files(folder, ["a.mp4", "b.mp4", "bad.mp4"], "srt")
    writer = FolderWriter("srt", files, LABELS)
    for rows in (ROWS, EMPTY, (failure_row("bad.mp4", "debug", ""),)):
        name = "b.mp4" if rows is EMPTY else rows[0].source
        writer.end_source(Prediction(name, LABELS, rows))
    assert sorted(path.name for path in folder.iterdir()) == ["a.srt", "b.srt"]
    assert (folder / "a.srt").read_text(encoding="utf-8") == TEXTS["srt"]


@pytest.mark.parametrize("made_again", [False, True])
def test_a_folder_that_is_removed_is_an_error(tmp_path: Path, *, made_again: bool) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    writer = FolderWriter("srt", source_files(folder, ["a.mp4", "b.mp4"], "srt"), LABELS)
    writer.end_source(Prediction("a.mp4", LABELS, ROWS))
    shutil.rmtree(folder)
    if made_again:
        folder.mkdir()
    with pytest.raises(ConfigError, match="out' was removed while it was being written"):
        writer.end_source(Prediction("b.mp4", LABELS, EMPTY))
    assert folder.exists() == made_again


def test_labels_are_no_markup_in_subtitles(tmp_path: Path) -> None:
    label = r"{\an8}<i>joy</i>"
    found = replace(row(0, 0.9), label=label, scores={label: 1.0}, score=1.0)
    assert "person 0: (\\an8)‹i›joy‹/i›\n" in save(tmp_path, "srt", (found,)).read_text("utf-8")


# Excel ------------------------------------------------------------------------------------------


def test_excel_finds_utf8_and_no_formulas(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with open_writer("csv", path, LABELS, excel=True) as writer:
        for source in ("=1+2.mp4", "-a.mp4", "ü.mp4"):
            writer.write_row(row(0, None, source=source))
    assert path.read_bytes().startswith(b"\xef\xbb\xbfsource,")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [line["source"] for line in found] == ["'=1+2.mp4", "'-a.mp4", "ü.mp4"]
    assert found[0]["track_id"] == "-1"  # a number is not a formula


@pytest.mark.parametrize("form", [name for name in FORMATS if name != "csv"])
def test_excel_is_for_csv(form: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"requires the format csv; got {form}"):
        check_format(form, tmp_path / "rows", excel=True)


def test_a_summary_for_excel(tmp_path: Path) -> None:
    from peclip.results.table_file import write_table

    write_table(tmp_path / "a.csv", [{"source": "@x", "seen_s": -1.5}], excel=True)
    assert (tmp_path / "a.csv").read_bytes() == b"\xef\xbb\xbfsource,seen_s\n'@x,-1.5\n"
    with pytest.raises(ConfigError, match=r"requires \.csv"):
        write_table(tmp_path / "a.json", [], excel=True)


def test_label_studio_has_a_region_per_episode(tmp_path: Path) -> None:
    # 10 frames/s, from frame 20: windows of 1 s every 0.5 s with the slots 2 to 2.75, to 3.25, to 4 s.
    rows = [
        replace(row(2 + n / 2, anger), start_frame=20 + 5 * n, end_frame=29 + 5 * n)
        for n, anger in enumerate((0.9, 0.8, 0.3))
    ]
    path = tmp_path / "tasks.json"
    with open_writer("labelstudio", path, LABELS) as writer:
        writer.end_source(Prediction("a.mp4", LABELS, tuple(rows)))
        writer.end_source(Prediction("b.mp4", LABELS, EMPTY))
    first, second = json.loads(path.read_text(encoding="utf-8"))
    assert first["data"] == {"video": "a.mp4"}
    (prediction,) = first["predictions"]
    assert prediction["model_version"] == "debug"
    anger, joy = prediction["result"]
    assert anger == {
        "id": "0_0",
        "type": "timelinelabels",
        "from_name": "expression",
        "to_name": "video",
        # 2 s is frame 20, which Label Studio calls 21; frame 31 (3.1 s) or 32 (3.2 s) is the last one before 3.25 s.
        "value": {"ranges": [{"start": 21, "end": 32}], "timelinelabels": ["anger"]},
        "score": 0.86,  # (0.75 * 0.9 + 0.5 * 0.8) / 1.25
        "meta": {"text": ["person 0"]},
    }
    assert joy["value"] == {"ranges": [{"start": 33, "end": 40}], "timelinelabels": [JOY]}
    assert second["predictions"][0]["result"] == []


def test_label_studio_without_sources_is_an_empty_list(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    with open_writer("labelstudio", path, LABELS):
        pass
    assert json.loads(path.read_text(encoding="utf-8")) == []
