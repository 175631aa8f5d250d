"""Acted data sets: label and actor are coded in the name of each video, and folds are blocks of actors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from peclip.data.benchmarks.benchmark import Benchmark
from peclip.data.media import find_media
from peclip.data.samples import Sample, Split
from peclip.errors import ConfigError, DatasetError
from peclip.labels import LabelSet


@dataclass(frozen=True, slots=True)
class ActedName:
    """A parsed file name."""

    label: str
    subject: str
    id: str
    """Identical for two recordings of one performance."""
    rank: int = 0
    """If there are two recordings, the one with the lower rank is used."""


def acted_benchmark(
    name: str,
    title: str,
    labels: LabelSet,
    parse: Callable[[str], ActedName | None],
    *,
    actors: Sequence[str],
    folds: Sequence[Sequence[str]],
    tree: tuple[str, ...],
    source: str,
    licence: str,
) -> Benchmark:
    """Describes a data set of actors, whose folds list the actors that they test.

    `parse` reads a name without its suffix; `None` skips the video, and a ValueError marks an invalid name.
    Users may choose test subjects among the `actors`, numbers padded with zeros. The other arguments are
    fields of `Benchmark`.
    """

    def load(root: Path, fold: int | None, split: str, annotations: Path | None = None) -> Split:
        benchmark.check_no_lists(annotations)
        # `all` is the same in each fold.
        number = 1 if split == "all" and fold is None else fold
        benchmark.check_request(root, number, split)
        assert number is not None
        samples = _read_acted(benchmark, root, parse)
        own = None if split == "all" else number
        return _split_by_subject(benchmark, own, split, samples, folds[number - 1])

    def load_subjects(root: Path, split: str, test_subjects: Sequence[str]) -> Split:
        benchmark.check_request(root, 1, split)
        given = [subject.zfill(len(actors[0])) for subject in test_subjects]
        _check_subjects(benchmark, given, actors)
        samples = _read_acted(benchmark, root, parse)
        return _split_by_subject(benchmark, None, split, samples, given)

    benchmark = Benchmark(
        name=name,
        title=title,
        labels=labels,
        folds=len(folds),
        splits=("train", "test", "all"),
        test_split="test",
        tree=tree,
        source=source,
        licence=licence,
        load=load,
        load_subjects=load_subjects,
    )
    return benchmark


def _read_acted(
    benchmark: Benchmark, root: Path, parse: Callable[[str], ActedName | None]
) -> tuple[Sample, ...]:
    """Reads the samples at any depth below a root.

    Raises:
        DatasetError: there is no video, a name is invalid, or a recording is a duplicate.
    """
    chosen: dict[str, tuple[int, Sample]] = {}
    for path in find_media(root):
        stem = path.name if path.is_dir() else path.stem
        try:
            name = parse(stem)
        except ValueError as error:
            raise DatasetError(
                f"{path} is not a valid {benchmark.name} file name: {error}. Rename or remove the "
                "file, or use the data set 'folder' or 'table'."
            ) from None
        if name is None:
            continue
        rank, other = chosen.get(name.id, (name.rank + 1, None))
        if other is not None and rank == name.rank:
            raise DatasetError(
                f"Duplicate {name.id}: {other.source} and {path}. Keep only one of them in the "
                "root folder."
            )
        if name.rank < rank:
            chosen[name.id] = (name.rank, Sample(path, name.label, name.id, name.subject))
    if not chosen:
        raise DatasetError(
            f"No {benchmark.name} videos found in {root}. {benchmark.expected(root)}"
        )
    return tuple(sample for _, sample in chosen.values())


def _split_by_subject(
    benchmark: Benchmark,
    fold: int | None,
    split: str,
    samples: Sequence[Sample],
    test_subjects: Sequence[str],
) -> Split:
    """Splits by subject: the test subjects are `test`, the others `train`; `all` is both.

    Raises:
        DatasetError: nothing is left.
    """
    assert benchmark.labels is not None
    test = frozenset(test_subjects)
    wanted = {"train": (False,), "test": (True,), "all": (False, True)}[split]
    kept = tuple(sample for sample in samples if (sample.subject in test) in wanted)
    if not kept:
        raise DatasetError(
            f"{benchmark.name} {split} has no videos with the test subjects "
            f"{', '.join(sorted(test))}. Use the folder that contains all actors, or other test "
            "subjects."
        )
    return Split(benchmark.name, fold, split, kept, benchmark.labels)


def _check_subjects(benchmark: Benchmark, given: Sequence[str], known: Sequence[str]) -> None:
    """Raises a ConfigError if a test subject is not an actor of the data set."""
    unknown = [name for name in given if name not in known]
    if unknown or not given:
        problem = (
            f"{benchmark.name} has no subject {', '.join(map(repr, unknown))}"
            if unknown
            else f"No test subjects were given for {benchmark.name}"
        )
        raise ConfigError(f"{problem}; its subjects are {known[0]} to {known[-1]}.")
