"""Emotion names, ordered label sets, and priors over them.

A label is a *name* everywhere in peclip. An index exists only next to the `LabelSet` that defines it,
because every data set of the field has a different index order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from peclip.errors import ConfigError

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

_PRIOR_TOLERANCE = 1e-3
"""Accepts probabilities rounded to four decimals."""


def canonical(name: str) -> str:
    """Returns the canonical spelling of an emotion name: `"Happy"` gives `"happiness"`.

    Any other name is only lower-cased and stripped, so that custom label sets keep their words.
    """
    key = " ".join(name.strip().lower().split())
    return ALIASES.get(key, key)


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of label names. The order is the class index of a model's logits.

    Raises:
        ConfigError: fewer than two names, an empty name, or a name given twice.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise ConfigError(f"A label set needs at least two names; got {list(self.names)}.")
        for name in self.names:
            if not name:
                raise ConfigError(
                    f"Empty label name in {list(self.names)}; give each label a name."
                )
            if self.names.count(name) > 1:
                raise ConfigError(f"Duplicate label {name!r}; give each name once.")

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
                f"{name!r} is not a label of this model; its labels are {', '.join(self.names)}."
            ) from None

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)


def prior_over(labels: Iterable[str], prior: Mapping[str, float] | None) -> dict[str, float] | None:
    """Returns a prior restricted to some labels and normalised to sum to 1.

    A permutation keeps the probabilities; removing labels scales the others by one factor, which
    changes no prediction. The result is `None` if any label is new.
    """
    names = tuple(labels)
    if prior is None or any(name not in prior for name in names):
        return None
    total = math.fsum(prior[name] for name in names)
    return {name: prior[name] / total for name in names}


def check_prior(labels: Iterable[str], prior: Mapping[str, float] | None, weight: float) -> None:
    """Checks that a prior is a distribution over labels, and that there is one if it has a weight.

    Raises:
        ConfigError: it is not.
    """
    if prior is None:
        if weight:
            raise ConfigError(
                f"prior_weight is {weight}, but there is no prior; give one, or set prior_weight to 0"
            )
        return
    if set(prior) != set(labels):
        raise ConfigError(
            f"prior has {sorted(prior)}; give a probability for exactly the labels {sorted(labels)}"
        )
    total = math.fsum(prior.values())
    # A NaN fails the first comparison, and an infinite number the second.
    if not (all(p > 0 for p in prior.values()) and abs(total - 1) <= _PRIOR_TOLERANCE):
        raise ConfigError(f"prior sums to {total:.6g}; give probabilities above 0 that sum to 1")


class HasPrior(Protocol):
    """A model or its configuration."""

    @property
    def prior(self) -> Mapping[str, float] | None: ...

    @property
    def prior_weight(self) -> float: ...


def effective_prior_weight(model: HasPrior, given: float | None) -> float:
    """Returns the prior weight of predictions: the given one, by default the model's.

    Raises:
        ConfigError: one is given, and the model has no prior.
    """
    if given is not None and model.prior is None:
        raise ConfigError(
            f"prior_weight {given:g} was given, but the model has no prior. Remove it, or use a model "
            "trained with --set train.prior=targets or fit, or one whose config.json has a prior."
        )
    return model.prior_weight if given is None else given
