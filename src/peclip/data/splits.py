"""Splits of data sets: reading them, checking them, and holding out a validation split."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from peclip.data.benchmarks.registry import find_benchmark
from peclip.data.caption_file import read_captions
from peclip.data.config import DataConfig
from peclip.data.duplicates import without_copies
from peclip.data.samples import Sample, Split
from peclip.data.votes import with_votes
from peclip.errors import ConfigError, DatasetError


def carve_validation(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Divides a split into a training part and a validation part.

    Each label gives the same fraction, at least one sample and never its last one. Where subjects are
    known, nobody is in both parts, and whole subjects are chosen so that the labels come close to the
    fraction; a label whose videos all show one subject gives none. A video that is listed twice stays in
    one part. Names and seed alone decide who is chosen, through a hash, not the order of the samples.

    Args:
        split: usually train.
        fraction: the validation part, above 0 and below 1.
        seed: any number.

    Returns:
        The remaining split, with its name unchanged, and `val`, both in the order of the samples.

    Raises:
        ConfigError: the fraction is not above 0 and below 1.
        DatasetError: nothing can be chosen that leaves each label a video to train on.
    """
    if not 0 < fraction < 1:
        raise ConfigError(
            f"Invalid validation fraction {fraction}; use a number above 0 and below 1."
        )
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in split.samples:
        groups[_group(sample)].append(sample)
    names = sorted(groups, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    subjects = [name for name in names if groups[name][0].subject is not None]
    singles = [name for name in names if groups[name][0].subject is None]
    chosen = _choose_singles(singles, groups, fraction)
    rest = Counter(s.label for s in split.samples if _group(s) not in chosen)
    chosen |= _choose_subjects(subjects, groups, fraction, rest)
    if not chosen:
        raise DatasetError(
            f"{split.title} cannot be divided into train and val: it has {len(subjects)} subjects "
            f"and {len(singles)} videos without a subject, and every possible split would leave at "
            "least one label without training videos. Provide a val split, or train without one "
            "(select_on=last)."
        )
    return (
        split.with_samples(s for s in split.samples if _group(s) not in chosen),
        split.with_samples((s for s in split.samples if _group(s) in chosen), split="val"),
    )


def _group(sample: Sample) -> str:
    return f"id {sample.id}" if sample.subject is None else f"subject {sample.subject}"


def _choose_singles(
    names: Sequence[str], groups: dict[str, list[Sample]], fraction: float
) -> set[str]:
    by_label: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_label[min(sample.label for sample in groups[name])].append(name)
    chosen: set[str] = set()
    for group in by_label.values():
        count = min(max(1, round(fraction * len(group))), len(group) - 1)
        chosen |= set(group[:count])
    return chosen


def _choose_subjects(
    names: Sequence[str], groups: dict[str, list[Sample]], fraction: float, rest: Counter[str]
) -> set[str]:
    """Adds subjects that bring the labels closer to the fraction, in the order of their names.

    A subject with the last videos of a label in `rest`, the training part, is not chosen.
    """
    total = Counter(sample.label for name in names for sample in groups[name])

    def distance(have: Counter[str]) -> float:
        return sum((have[label] / count - fraction) ** 2 for label, count in total.items())

    def labels_of(name: str) -> Counter[str]:
        return Counter(sample.label for sample in groups[name])

    def can_go(name: str) -> bool:
        return all(rest[label] - have[label] > count for label, count in labels_of(name).items())

    if len(names) < 2:
        return set()
    chosen: set[str] = set()
    have: Counter[str] = Counter()
    for name in names:
        if can_go(name) and distance(have + labels_of(name)) < distance(have):
            have += labels_of(name)
            chosen.add(name)
    if not chosen:  # each one exceeds the fraction: take the closest
        nearest = sorted(filter(can_go, names), key=lambda name: distance(labels_of(name)))
        chosen = set(nearest[:1])
    return chosen


def read_split(config: DataConfig) -> Split:
    """Reads a split with all listed videos, including missing ones, for checks.

    Samples dropped by `targets`, `copies` and `limit` are excluded.

    Raises:
        DatasetError: the data set or its votes are missing, or a list or file name is invalid.
        ConfigError: the data set is unknown, or has no selectable test subjects or no votes.
    """
    split = _listed(config)

    def read(name: str) -> Split | None:
        found = find_benchmark(config.dataset).splits_found(config.root, config.annotations)
        return _listed(config.model_copy(update={"split": name})) if name in found else None

    split = without_copies(split, config, read)
    if config.targets != "labels":
        votes = find_benchmark(config.dataset).read_votes(config, split.labels)
        split = with_votes(split, votes, config)
    split = split if config.limit is None else limited(split, config.limit)
    return split if config.captions is None else split.with_captions(read_captions(config.captions))


def limited(split: Split, count: int) -> Split:
    """Returns a split with at most `count` videos per label, in their order; names alone decide which."""
    by_label: dict[str, list[str]] = defaultdict(list)
    for sample in split.samples:
        by_label[sample.label].append(sample.id)

    def drawn(names: list[str]) -> list[str]:
        return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:count]

    kept = {(label, name) for label, names in by_label.items() for name in drawn(names)}
    return split.with_samples(s for s in split.samples if (s.label, s.id) in kept)


def _listed(config: DataConfig) -> Split:
    """Reads a split as its data set lists it."""
    benchmark = find_benchmark(config.dataset)
    if not config.test_subjects:
        split = benchmark.load(config.root, config.fold, config.split, config.annotations)
    elif benchmark.load_subjects is None or config.fold is not None:
        problem = (
            "a fold was also given. Use one or the other"
            if benchmark.load_subjects
            else "it does not support this option. Remove test_subjects"
        )
        raise ConfigError(f"test_subjects cannot be used with {config.dataset}: {problem}.")
    else:
        split = benchmark.load_subjects(config.root, config.split, config.test_subjects)
    if len(split.missing) == len(split):
        first = f"; for example, {split.samples[0].source} was expected" if len(split) else ""
        raise DatasetError(
            f"None of the {len(split):,} videos in {split.title} was found in "
            f"{config.root}{first}. {benchmark.expected(config.root)}"
        )
    return split


def check_captions(split: Split, config: DataConfig) -> None:
    """Checks that the given captions belong to the videos of a split.

    Raises:
        DatasetError: none of them does.
    """
    if config.captions is not None and not split.num_captions:
        raise DatasetError(
            f"None of the captions in {str(config.captions)!r} matches a video of {split.title} "
            f"(for example, {split.samples[0].id!r}). Use the captions of this data set, or "
            "generate captions with peclip captions."
        )


def check_missing(split: Split, config: DataConfig) -> None:
    """Checks that no video of a split is missing, unless `allow_missing` is set.

    Raises:
        DatasetError: some are missing.
    """
    if split.missing and not config.allow_missing:
        raise DatasetError(
            f"{len(split.missing):,} of the {len(split):,} videos in {split.title} are missing, "
            f"for example {split.missing[0].source}. To list them, run peclip data check. To skip "
            "them, set allow_missing=True (evaluate: --allow-missing; train: --set "
            "data.allow_missing=true); the scores will then not be comparable with published ones."
        )


def load_split(config: DataConfig) -> Split:
    """Reads a split without missing videos; `allow_missing` skips them instead of raising.

    Raises:
        DatasetError: the data set or some of its videos are missing, or a list or name is invalid.
        ConfigError: the data set is unknown, or has no selectable test subjects.
    """
    split = read_split(config)
    check_missing(split, config)
    return split.without_missing()


def read_splits(
    dataset: str, root: Path, annotations: Path | None = None, fold: int | None = None
) -> list[Split]:
    """Reads all splits of a fold, or of all folds: the complete contents of a copy.

    Raises:
        DatasetError: the data set or a list is missing, or cannot be read at all.
        ConfigError: the data set is unknown.
    """
    benchmark = find_benchmark(dataset)
    benchmark.check_root(root)
    folds = benchmark.fold_numbers() if fold is None else (fold,)
    names = benchmark.splits_found(root, annotations)
    if fold is None and benchmark.folds is not None and "all" in benchmark.splits:
        folds, names = (None,), ("all",)  # folds defined by a rule need no check
    config = DataConfig(dataset=dataset, root=root, annotations=annotations)
    return [
        read_split(config.model_copy(update={"fold": number, "split": name}))
        for number in folds
        for name in names
    ]
