"""Outputs of `peclip predict` besides the rows: what a whole source, or all of them, give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from peclip.cli.options import check_folder, check_output
from peclip.errors import ConfigError
from peclip.results.figures import FIGURE_ENDINGS, check_matplotlib
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
class SideSettings:
    """What the side outputs contain."""

    pictures: bool = True
    """Whether plots and reports show faces."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a side output is written."""

    path: Path
    files: Mapping[str, Path] | None = None
    """The file of each source, if `path` is a folder."""

    def file_of(self, source: str) -> Path:
        """Returns the file of a source, whose folder exists then."""
        if self.files is None:
            return self.path
        self.path.mkdir(exist_ok=True)
        return self.files[source]


@dataclass(frozen=True, slots=True)
class SideOutputKind:
    """How a side output is checked and opened."""

    endings: tuple[str, ...]
    check: Callable[[Path], None]
    """Checks what the output needs, such as an optional package, before torch is imported."""
    open: Callable[[Target, SideSettings], SideOutput]
    per_source: bool = False
    """Whether each source has a file: several sources have files with the first ending in a folder."""


class SummaryOutput:
    """One table of the people of all sources."""

    def __init__(self, target: Target, settings: SideSettings) -> None:
        self._path = target.path
        self._parts: list[Summary] = []  # of each source, without its rows

    def end_source(self, prediction: Prediction) -> None:
        """Summarises a source."""
        self._parts.append(prediction.summary())

    def close(self) -> None:
        """Writes the table, unless there was no source."""
        from peclip.results.summary import joined

        if self._parts:
            write_table(self._path, joined(self._parts).rows())


class PlotOutput:
    """The timeline of each source."""

    def __init__(self, target: Target, settings: SideSettings) -> None:
        self._target, self._pictures = target, settings.pictures

    def end_source(self, prediction: Prediction) -> None:
        """Draws a source, unless it could not be read at all."""
        from peclip.results.figures import save_figure

        if any(row.status != "decode_error" for row in prediction.rows):
            figure = prediction.plot(pictures=self._pictures)
            save_figure(figure, self._target.file_of(prediction.source))

    def close(self) -> None:
        """Does nothing: each plot is written already."""


def _open_report(target: Target, settings: SideSettings) -> SideOutput:
    from peclip.results.report import Report

    return Report(target.path, pictures=settings.pictures)


SIDE_OUTPUTS = {
    "summary": SideOutputKind(TABLE_ENDINGS, check_table, SummaryOutput),
    "plot": SideOutputKind(
        FIGURE_ENDINGS, lambda _: check_matplotlib("--plot"), PlotOutput, per_source=True
    ),
    "report": SideOutputKind(
        (".html", ".htm"), lambda _: check_matplotlib("--report"), _open_report
    ),
}
"""By the name of the option."""


class SideOutputs:
    """The side outputs of one run, checked when this is made.

    Args:
        paths: by the name of the option; `None` where the option is not set.
        output: the output of the rows.
        sources: the names of all sources of the run.
        settings: what they contain.
        overwrite: whether existing files may be replaced.

    Raises:
        ConfigError: two outputs have the same path, or one cannot be written.
        MissingExtraError: one needs an optional package.
    """

    def __init__(
        self,
        paths: Mapping[str, Path | None],
        output: Path | None,
        sources: Sequence[str],
        settings: SideSettings,
        *,
        overwrite: bool,
    ) -> None:
        taken = {} if output is None else {output.absolute(): "-o"}
        self._open = list[SideOutput]()
        self.paths: list[Path] = []
        for name, path in paths.items():
            if path is None:
                continue
            target = _checked(name, path, sources, overwrite=overwrite)
            if (other := taken.setdefault(path.absolute(), f"--{name}")) != f"--{name}":
                raise ConfigError(
                    f"{other} and --{name} both write to {str(path)!r}; choose different files."
                )
            self.paths.append(path)
            self._open.append(SIDE_OUTPUTS[name].open(target, settings))

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


def _checked(name: str, path: Path, sources: Sequence[str], *, overwrite: bool) -> Target:
    """Checks one side output; raises as `SideOutputs`."""
    kind = SIDE_OUTPUTS[name]
    if not kind.per_source or (len(sources) < 2 and not path.is_dir()):
        check_output(path, overwrite=overwrite, endings=kind.endings)
        kind.check(path)
        return Target(path)
    if path.suffix or path.is_file():
        raise ConfigError(
            f"--{name} has one file per source, and there are {len(sources)} sources; got "
            f"{str(path)!r}. Set it to a folder: --{name} FOLDER."
        )
    ending = kind.endings[0].removeprefix(".")
    files = check_folder(path, sources, ending, overwrite=overwrite)
    kind.check(path)
    return Target(path, files)
