"""Emotion names, ordered label sets, and priors over them.

A label is a *name* everywhere in peclip. An index exists only next to the `LabelSet` that defines it,
because every data set of the field has a different index order.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from peclip.errors import ConfigError
from peclip.text.display import printable

EMOTIONS = (
    "happiness",
    "sadness",
    "neutral",
    "anger",
    "surprise",
    "disgust",
    "fear",
    "contempt",
    "anxiety",
    "helplessness",
    "disappointment",
)
"""The names of the field in the order of DFEW and FERV39k (the first seven) and MAFW (all eleven)."""

ALIASES = {
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "angry": "anger",
    "surprised": "surprise",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "neutrality": "neutral",
    "contemptuous": "contempt",
    "anxious": "anxiety",
    "helpless": "helplessness",
    "disappointed": "disappointment",
}

MAX_LABELS = 1000
MAX_NAME = 200
"""Maximum number of characters in a label name."""
MAX_TEXT = 10_000
"""Maximum number of characters in a label's text, of which CLIP reads the first 77 tokens."""

_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: control characters, surrogates, and line and paragraph separators."""

_TOLERANCE = 1e-3
"""Accepts probabilities rounded to four decimals."""


def canonical(name: str) -> str:
    """Returns the canonical spelling of an emotion name: `"Happy"` gives `"happiness"`.

    Any other name is only lower-cased and stripped, so that custom label sets keep their words.
    """
    key = " ".join(name.strip().lower().split())
    return ALIASES.get(key, key)


def check_text(what: str, text: str, *, limit: int) -> None:
    """Checks that a name or a text can be written to any file and terminal.

    Raises:
        ConfigError: it is too long, or contains a control character or an unpaired surrogate.
    """
    if len(text) > limit:
        raise ConfigError(
            f"{what} {printable(text[:40])!r}… has {len(text):,} characters; use at most {limit:,}."
        )
    if not text.isprintable() and any(unicodedata.category(char) in _UNSAFE for char in text):
        raise ConfigError(
            f"{what} '{printable(text[:80])}' contains a control character, a line break or an "
            "unpaired surrogate; remove it."
        )


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of label names. The order is the class index of a model's logits.

    Raises:
        ConfigError: fewer than two names or more than 1,000, an empty name or one that cannot be written to
            a terminal (see `check_text`), or a duplicate name.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise ConfigError(f"A label set needs at least two names; got {list(self.names)}.")
        if len(self.names) > MAX_LABELS:
            raise ConfigError(
                f"A label set has at most {MAX_LABELS:,} names; got {len(self.names):,}."
            )
        for name in self.names:
            check_text("The label name", name, limit=MAX_NAME)
            if not name:
                raise ConfigError(
                    f"Empty label name in {list(self.names)}; every label needs a name."
                )
            if self.names.count(name) > 1:
                raise ConfigError(f"Duplicate label {name!r}; label names must be unique.")

    @classmethod
    def of(cls, names: Iterable[str]) -> LabelSet:
        """Makes a label set from names in any usual spelling."""
        return cls(tuple(canonical(name) for name in names))

    def index(self, name: str) -> int:
        """Returns the class index of a name in any usual spelling.

        Raises:
            ConfigError: the name is not in the set.
        """
        if name in self.names:  # a set may use non-canonical spellings
            return self.names.index(name)
        try:
            return self.names.index(canonical(name))
        except ValueError:
            raise ConfigError(
                f"{name!r} is not a label of this model. Its labels are {', '.join(self.names)}."
            ) from None

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)


def prior_over(labels: Iterable[str], prior: Mapping[str, float] | None) -> dict[str, float] | None:
    """Returns a prior, or label frequencies, restricted to some labels and normalised to sum to 1.

    A permutation keeps the probabilities; removing labels scales the others by one factor. The result is
    `None` if any label is new.
    """
    names = tuple(labels)
    if prior is None or any(name not in prior for name in names):
        return None
    total = math.fsum(prior[name] for name in names)
    return {name: prior[name] / total for name in names}


def check_distribution(name: str, labels: Iterable[str], shares: Mapping[str, float]) -> None:
    """Checks that shares are probabilities above 0 of exactly these labels.

    Raises:
        ConfigError: they are not; the message begins with the name.
    """
    if set(shares) != set(labels):
        raise ConfigError(
            f"{name} has probabilities for {sorted(shares)}; it must have one for each of the "
            f"labels {sorted(labels)}, and no others"
        )
    total = math.fsum(shares.values())
    # A NaN fails the first comparison, and an infinite number the second.
    if not (all(share > 0 for share in shares.values()) and abs(total - 1) <= _TOLERANCE):
        raise ConfigError(
            f"the probabilities in {name} sum to {total:.6g}; each must be above 0, and their "
            "sum must be 1"
        )


def check_prior(labels: Iterable[str], model: HasPrior) -> None:
    """Checks that a model has a valid prior and label frequencies, or neither.

    Raises:
        ConfigError: one is missing or invalid, or there is a prior weight without them.
    """
    names = tuple(labels)
    stored = {"prior": model.prior, "label_frequencies": model.label_frequencies}
    for name, shares in stored.items():
        if shares is not None:
            check_distribution(name, names, shares)
    missing = [name for name, shares in stored.items() if shares is None]
    if len(missing) == 1:
        raise ConfigError(
            f"{missing[0]} is missing: set both prior and label_frequencies, or neither"
        )
    if missing and model.prior_weight is not None:
        raise ConfigError(
            f"prior_weight is {model.prior_weight}, but the configuration has no prior; set prior, "
            "or set prior_weight to null"
        )


def prior_factors(
    labels: Iterable[str],
    prior: Mapping[str, float],
    frequencies: Mapping[str, float],
    weight: float,
) -> tuple[float, ...]:
    """Returns by how much the odds of each label are multiplied in prediction.

    A model that learned from targets with the frequencies p predicts for label frequencies q by Bayes' rule with the
    factors q / p (Saerens et al., 2002). Here q = (1 - weight) f + weight / C, where f are the label
    frequencies of the training videos, from which p differs by class balancing. On data with the frequencies f this
    maximises the expected (1 - weight) WAR + weight UAR. Unlike p to a power (Menon et al., 2021), it raises
    the rarest labels and leaves the order of the frequent ones nearly as it is.

    Args:
        labels: C of them, the order of the result.
        prior: p, above 0, by label.
        frequencies: f, by label.
        weight: from 0 to 1.
    """
    names = tuple(labels)
    return tuple(
        ((1 - weight) * frequencies[name] + weight / len(names)) / prior[name] for name in names
    )


class HasPrior(Protocol):
    """A model or its configuration."""

    @property
    def prior(self) -> Mapping[str, float] | None: ...

    @property
    def label_frequencies(self) -> Mapping[str, float] | None: ...

    @property
    def prior_weight(self) -> float | None: ...


def effective_prior_weight(model: HasPrior, given: float | None) -> float | None:
    """Returns the prior weight of predictions: the given one, by default the model's; `None` does not adjust them.

    Raises:
        ConfigError: one is given, and the model has no prior.
    """
    if given is not None and model.prior is None:
        raise ConfigError(
            f"prior_weight is {given:g}, but the model has no prior. Remove the option, or use a "
            "model with a prior in its config.json (trained with --set train.prior=targets or "
            "train.prior=fit)."
        )
    return model.prior_weight if given is None else given


def in_usual_order(names: Iterable[str], usual: Iterable[str] = EMOTIONS) -> list[str]:
    """Returns distinct names: those of `usual` in its order, then the others sorted."""
    found = set(names)
    first = [name for name in usual if name in found]
    return [*first, *sorted(found.difference(first))]
