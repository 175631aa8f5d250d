"""What `peclip plots` reads: run folders, prediction files, pairs of them, and features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from peclip.cli import console
from peclip.errors import ConfigError

if TYPE_CHECKING:
    from peclip.metrics.figures.plot_data import PlotData
    from peclip.runs.evaluate_options import EvaluateOptions

FEATURES = "features.npz"


class PlotReader:
    """How sources are read: the options that only concern prediction files, and the statistics."""

    def __init__(
        self,
        targets: Path | None,
        labels: list[str] | None,
        title: str | None,
        options: EvaluateOptions,
    ) -> None:
        self._targets, self._labels, self.title = targets, labels, title
        self.resamples, self.seed = options.resamples, options.seed

    def read(self, source: Path) -> PlotData:
        """Reads a run folder or a prediction file.

        Raises:
            ConfigError: it is neither, or an option that only concerns files was given for a run.
        """
        if source.is_dir():
            own = {"--targets": self._targets, "--labels": self._labels, "--title": self.title}
            given = [flag for flag, value in own.items() if value is not None]
            if given:
                raise ConfigError(
                    f"{given[0]} is for prediction files, but {str(source)!r} is a run folder, which "
                    "states its videos and labels. Remove the option."
                )
            from peclip.runs.run_results import read_run

            return read_run(source, resamples=self.resamples, seed=self.seed)
        from peclip.metrics.figures.plot_data import of_predictions
        from peclip.metrics.prediction_file import read_targets

        return of_predictions(
            source,
            targets=None if self._targets is None else read_targets(self._targets),
            labels=self._labels,
            resamples=self.resamples,
            seed=self.seed,
            title=self.title,
        )


def compared(sources: tuple[Path, Path], subjects: Path | None, reader: PlotReader) -> PlotData:
    """Reads two sources and compares them.

    Raises:
        ConfigError: a source cannot be read, a run has no predictions, or the two share no videos.
    """
    from peclip.metrics.comparison import compare
    from peclip.metrics.figures.plot_data import PlotData
    from peclip.metrics.prediction_file import read_subjects

    first, second = (reader.read(source) for source in sources)
    for data, source in zip((first, second), sources, strict=True):
        if data.table is None:
            raise ConfigError(
                f"The run in {str(source)!r} has no predictions yet. Finish it with: peclip train "
                f"--resume {source}"
            )
    assert first.table is not None
    assert second.table is not None
    comparison = compare(
        first.table,
        second.table,
        subjects=None if subjects is None else read_subjects(subjects),
        resamples=reader.resamples,
        seed=reader.seed,
    )
    # Of two files, the names say which is which; whole paths tell of the computer instead.
    places = 1 if sources[0].name != sources[1].name else 2
    named = zip((first, second), sources, strict=True)
    one, other = (
        f"{data.model}; {data.videos}" if source.is_dir() else "/".join(source.parts[-places:])
        for data, source in named
    )
    about = f"{reader.title}. " if reader.title else ""
    warnings = [data.warning for data in (first, second) if data.warning is not None]
    return PlotData(
        f"{about}First: {one}",
        f"Second: {other}",
        comparison=comparison,
        warning=next(iter(warnings), None),
    )


def with_features(
    data: PlotData,
    source: Path | None,
    file: Path | None,
    folder: Path,
    computing: tuple[Path | None, str],
    progress: bool,
) -> PlotData:
    """Returns the data with the features of a file, or with those that are computed and written to the folder."""
    from peclip.metrics.figures.registry import check_numbers
    from peclip.metrics.video_features import read_features, write_features

    if file is not None:
        return replace(data, features=read_features(file))
    if source is None or not source.is_dir():
        check_numbers(["tsne"], data)
        return data
    from peclip.cli.evaluation_bar import listener
    from peclip.runs.run_features import run_features

    with console.progress_bar(enabled=progress) as bar:
        tell = listener(bar)
        features = run_features(
            source,
            data,
            root=computing[0],
            device=computing[1],
            on_batch=lambda done, videos: tell("video features", done, videos),
        )
    write_features(folder / FEATURES, features)
    console.note(f"wrote {folder / FEATURES}, for --features")
    return replace(data, features=features)
