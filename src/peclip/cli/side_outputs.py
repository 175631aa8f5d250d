"""Outputs of `peclip predict` besides the rows: what a whole source, or all of them, give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from peclip.cli.options import check_output
from peclip.errors import ConfigError
from peclip.results.table_file import TABLE_ENDINGS, check_table, write_table

if TYPE_CHECKING:
    from peclip.results.prediction import Prediction
    from peclip.results.summary import Summary


class SideOutput(Protocol):
    """Receives the prediction of each source when it is complete."""

    def end_source(self, prediction: Prediction) -> None:
        """Receives one source with all of its rows."""
        ...

    def close(self) -> None:
        """Writes what is left at the end of the run, to a temporary name that is then moved."""
        ...


@dataclass(frozen=True, slots=True)
class SideOutputKind:
    """How a side output is checked and opened."""

    endings: tuple[str, ...]
    check: Callable[[Path], None]
    """Checks what the output needs, such as an optional package, before torch is imported."""
    open: Callable[[Path], SideOutput]


class SummaryOutput:
    """One table of the people of all sources."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: list[Summary] = []  # of each source, without its rows

    def end_source(self, prediction: Prediction) -> None:
        """Summarises a source."""
        self._parts.append(prediction.summary())

    def close(self) -> None:
        """Writes the table, unless there was no source."""
        from peclip.results.summary import joined

        if self._parts:
            write_table(self._path, joined(self._parts).rows())


SIDE_OUTPUTS = {"summary": SideOutputKind(TABLE_ENDINGS, check_table, SummaryOutput)}
"""By the name of the option."""


class SideOutputs:
    """The side outputs of one run, checked when this is made.

    Args:
        paths: by the name of the option; `None` where the option is not set.
        output: the output of the rows.
        overwrite: whether existing files may be replaced.

    Raises:
        ConfigError: two outputs have the same path, or one cannot be written.
        MissingExtraError: one needs an optional package.
    """

    def __init__(
        self, paths: Mapping[str, Path | None], output: Path | None, *, overwrite: bool
    ) -> None:
        taken = {} if output is None else {output.absolute(): "-o"}
        self._open = list[SideOutput]()
        self.paths = [path for path in paths.values() if path is not None]
        for name, path in paths.items():
            if path is None:
                continue
            kind = SIDE_OUTPUTS[name]
            check_output(path, overwrite=overwrite, endings=kind.endings)
            kind.check(path)
            if (other := taken.setdefault(path.absolute(), f"--{name}")) != f"--{name}":
                raise ConfigError(
                    f"{other} and --{name} both write to {str(path)!r}; choose different files."
                )
            self._open.append(kind.open(path))

    def __bool__(self) -> bool:
        return bool(self._open)

    def end_source(self, prediction: Prediction) -> None:
        """Passes a complete source to each output."""
        for output in self._open:
            output.end_source(prediction)

    def close(self) -> None:
        """Completes each output."""
        for output in self._open:
            output.close()
