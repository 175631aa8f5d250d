"""A validation split where a data set brings none."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from peclip.data.samples import Sample, Split
from peclip.errors import ConfigError, DatasetError


def carve_validation(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Divides a split into a part to train on and a part to validate on.

    Each label gives the same fraction, at least one sample and never its last one. Where subjects are
    known, nobody is in both parts, and whole subjects are chosen so that the labels come close to the
    fraction; a label whose videos all show one subject gives none. A video that is listed twice stays in
    one part. Names and seed alone decide who is chosen, through a hash, not the order of the samples.

    Args:
        split: usually train.
        fraction: the part to validate on, above 0 and below 1.
        seed: any number.

    Returns:
        The rest under its own name, and `val`, both in the order of the samples.

    Raises:
        ConfigError: the fraction is not above 0 and below 1.
        DatasetError: nothing can be chosen that leaves each label a video to train on.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"A validation fraction of {fraction} is not above 0 and below 1.")
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
            f"{split.title} cannot be divided into train and val: it has {len(subjects)} subjects and "
            f"{len(singles)} videos without one, and each choice would take the last videos of a label "
            "out of train. Give a val split of your own, or train without one: select_on=last."
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
    """Adds whoever brings the labels nearer to the fraction; the order of the names decides who is asked.

    Whoever has the last videos of a label in `rest`, which is what stays in train, is not chosen.
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
    if not chosen:  # each of them is more than the fraction: take the nearest
        nearest = sorted(filter(can_go, names), key=lambda name: distance(labels_of(name)))
        chosen = set(nearest[:1])
    return chosen
