"""Rows as a parquet file (extra `data`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from peclip.results.interface import RowWriter, SourceResult
from peclip.results.rows import column_names


class ParquetWriter(RowWriter):
    """One row group per source."""

    def __init__(self, stream: IO[bytes], labels: Sequence[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        text, whole, real = pa.string(), pa.int64(), pa.float64()
        kinds = dict.fromkeys(("source", "model", "model_revision", "schema_version"), text)
        kinds |= {"status": text, "label": text, "unlike_training": text}
        counts = ("track_id", "window", "start_frame", "end_frame", "num_frames_used", "n_faces")
        kinds |= dict.fromkeys(counts, whole)
        columns = [(name, kinds.get(name, real)) for name in column_names(labels)]
        self._schema = pa.schema(columns)
        self._table = pa.Table
        self._labels = labels
        self._writer = pq.ParquetWriter(stream, self._schema)

    def end_source(self, prediction: SourceResult) -> None:
        """Writes the rows of one source."""
        rows = [row.to_dict(self._labels) for row in prediction.rows]
        for row in rows:  # a name that is not UTF-8 contains surrogates, which Arrow rejects
            for name in ("source", "model", "model_revision"):
                row[name] = row[name].encode("utf-8", "backslashreplace").decode("utf-8")
        self._writer.write_table(self._table.from_pylist(rows, schema=self._schema))

    def close(self) -> None:
        """Writes the footer."""
        self._writer.close()
