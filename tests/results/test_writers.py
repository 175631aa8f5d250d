"""Rows are on disk as they are made, and whatever happens the file is valid."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from pathlib import Path
from typing import Any, NoReturn, get_args

import pyarrow.parquet as pq
import pytest
from canned import make_row

from peclip.errors import ConfigError, MissingExtraError
from peclip.literals import RowFormat
from peclip.results.formats.registry import FORMATS
from peclip.results.interface import RowWriter
from peclip.results.prediction import Prediction
from peclip.results.rows import column_names
from peclip.results.writers import STDOUT, format_of, open_writer

LABELS = ("anger", "fear")


def write_source(writer: RowWriter, source: str, rows: int = 2, **metadata: Any) -> Prediction:
    made = tuple(make_row(source, n) for n in range(rows))
    for row in made:
        writer.write_row(row)
    prediction = Prediction(source, LABELS, made, metadata)
    writer.end_source(prediction)
    return prediction


def need_package(form: str) -> None:
    if (package := FORMATS[form].package) is not None:
        pytest.importorskip(package)


def refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.csv", "csv"), ("b.JSONL", "jsonl"), ("c.x.json", "json"), ("d.parquet", "parquet")],
)
def test_the_format_is_inferred_from_the_extension(name: str, form: str) -> None:
    assert format_of(Path("folder.csv") / name) == form


@pytest.mark.parametrize("name", ["a.txt", "a", ".csv", "a.csv.gz", "-"])
def test_an_unknown_extension_lists_the_formats(name: str) -> None:
    with pytest.raises(ConfigError, match=r"csv, jsonl, json, parquet.*-f"):
        format_of(Path(name))


def test_an_unknown_format_lists_the_formats(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"'xml'.*csv, jsonl, json, parquet"),
        open_writer("xml", tmp_path / "rows.csv", LABELS),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_every_format_has_a_literal() -> None:
    assert tuple(FORMATS) == get_args(RowFormat)


def test_columns_are_those_of_a_row() -> None:
    assert column_names(LABELS) == list(make_row().to_dict(LABELS))


def test_csv_rows_are_written_immediately(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with open_writer("csv", path, LABELS) as writer:
        assert path.read_text(encoding="utf-8").startswith("source,model,")
        for n in range(3):
            writer.write_row(make_row(window=n))
            assert [row["window"] for row in read_csv(path)] == [str(i) for i in range(n + 1)]


def test_json_lines_are_written_immediately(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with open_writer("jsonl", path, LABELS) as writer:
        for n in range(3):
            writer.write_row(make_row(window=n))
            assert [row["window"] for row in read_lines(path)] == list(range(n + 1))


def test_csv_has_one_header_and_unix_lines_for_all_sources(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with open_writer("csv", path, LABELS) as writer:
        write_source(writer, 'a,"b"\n.mp4')
        write_source(writer, "für.mp4")
    content = path.read_bytes()
    assert b"\r" not in content
    assert content.count(b"schema_version") == 1
    assert [row["source"] for row in read_csv(path)] == ['a,"b"\n.mp4'] * 2 + ["für.mp4"] * 2


def test_json_without_sources_is_an_empty_list(tmp_path: Path) -> None:
    with open_writer("json", tmp_path / "rows.json", LABELS):
        pass
    assert read_json(tmp_path / "rows.json") == []


def test_json_of_one_source_is_its_document(tmp_path: Path) -> None:
    with open_writer("json", tmp_path / "rows.json", LABELS) as writer:
        prediction = write_source(writer, "a.mp4", device="cpu")
    document = read_json(tmp_path / "rows.json")
    assert document == json.loads(json.dumps(prediction.to_dict()))
    assert document["device"] == "cpu"


@pytest.mark.parametrize("count", [2, 3])
def test_json_of_several_sources_is_a_list(tmp_path: Path, count: int) -> None:
    with open_writer("json", tmp_path / "rows.json", LABELS) as writer:
        for n in range(count):
            write_source(writer, f"{n}.mp4")
    documents = read_json(tmp_path / "rows.json")
    assert [document["source"] for document in documents] == [f"{n}.mp4" for n in range(count)]
    assert [len(document["rows"]) for document in documents] == [2] * count


def test_json_has_no_infinity_in_it(tmp_path: Path) -> None:
    """`--window all` is infinite, and the options are in the metadata."""
    with open_writer("json", tmp_path / "rows.json", LABELS) as writer:
        write_source(writer, "a.mp4", options={"window": math.inf, "hop": 0.5})
    assert read_json(tmp_path / "rows.json")["options"]["hop"] == 0.5


def test_parquet_has_one_row_group_per_source(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    with open_writer("parquet", path, LABELS) as writer:
        write_source(writer, "a.mp4", rows=2)
        write_source(writer, "b.mp4", rows=3)
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(n).num_rows for n in range(2)] == [2, 3]
    assert file.read().column("source").to_pylist() == ["a.mp4"] * 2 + ["b.mp4"] * 3
    file.close()


def test_parquet_without_sources_is_an_empty_table(tmp_path: Path) -> None:
    with open_writer("parquet", tmp_path / "rows.parquet", LABELS):
        pass
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table.num_rows == 0
    assert table.column_names == list(make_row().to_dict(LABELS))


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
@pytest.mark.parametrize("complete", [0, 1, 2])
def test_an_interruption_leaves_a_valid_file(tmp_path: Path, form: str, complete: int) -> None:
    path = tmp_path / f"rows.{form}"

    def interrupted() -> None:
        with open_writer(form, path, LABELS) as writer:
            for n in range(complete):
                write_source(writer, f"{n}.mp4")
            writer.write_row(make_row("last.mp4"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    whole = [f"{n}.mp4" for n in range(complete) for _ in range(2)]
    if form == "json":
        content = read_json(path)
        documents = [content] if complete == 1 else content
        assert [document["source"] for document in documents] == whole[::2]
    elif form == "parquet":
        assert pq.read_table(path).column("source").to_pylist() == whole
    else:
        rows = read_csv(path) if form == "csv" else read_lines(path)
        assert [row["source"] for row in rows] == [*whole, "last.mp4"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "json"])
def test_a_dash_is_standard_output_and_leaves_it_open(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_writer(form, STDOUT, LABELS) as writer:
        write_source(writer, "a.mp4", rows=1)
    print("still open")
    out = capsys.readouterr().out
    assert out.endswith("still open\n")
    body = out.removesuffix("still open\n")
    if form == "csv":
        assert [row["source"] for row in csv.DictReader(io.StringIO(body))] == ["a.mp4"]
    else:
        document = json.loads(body)
        assert document["source"] == "a.mp4"
    assert not Path("-").exists()


def test_parquet_is_not_written_to_standard_output() -> None:
    with (
        pytest.raises(ConfigError, match="standard output.*-o"),
        open_writer("parquet", STDOUT, LABELS),
    ):
        pass
    assert not Path("-").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_a_path_that_cannot_be_written_is_named(tmp_path: Path, form: str) -> None:
    need_package(form)
    (tmp_path / "file").touch()
    for path in (tmp_path / "none" / "rows", tmp_path, tmp_path / "file" / "rows"):
        with (
            pytest.raises(ConfigError, match="cannot be written") as caught,
            open_writer(form, path, LABELS),
        ):
            pass
        assert repr(str(path)) in str(caught.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("form", ["csv", "jsonl", "json"])
def test_a_full_disk_is_a_user_error(form: str) -> None:
    def write() -> None:
        with open_writer(form, Path("/dev/full"), LABELS) as writer:
            write_source(writer, "a.mp4")

    with pytest.raises(ConfigError, match="No space left"):
        write()


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_name_that_is_not_utf8_does_not_stop_the_run(tmp_path: Path, form: str) -> None:
    """Linux gives the name of a Latin-1 file with surrogates."""
    need_package(form)
    path = tmp_path / f"rows.{form}"
    with open_writer(form, path, LABELS) as writer:
        write_source(writer, "caf\udce9.mp4")
    if form == "parquet":
        assert pq.read_table(path).num_rows == 2
    else:
        assert "anger" in path.read_text(encoding="utf-8", errors="surrogateescape")


def test_without_pyarrow_parquet_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        pytest.raises(MissingExtraError, match='pip install "pandas'),
        open_writer("parquet", tmp_path / "rows.parquet", LABELS),
    ):
        pass
    assert not list(tmp_path.iterdir())
