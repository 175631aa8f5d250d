"""Takes a person's own baseline off the predictions of a source, when all of its windows are known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from peclip.config import ModelConfig
from peclip.errors import ConfigError
from peclip.inference.window_row import decided
from peclip.literals import BaselineName
from peclip.results.rows import Row

MIN_WINDOWS = 10
"""Windows of a person; a baseline of fewer ones would be what the person shows, and rows stay unchanged."""

NEUTRAL_SHARE = 5
"""The baseline `neutral` is taken from one in this many windows: those with the highest probability of neutral."""

_LEAST = 1e-6
"""Probability that is not told from 0."""


class Baseline:
    """Holds the rows of a source until its end, and subtracts the baseline of each person.

    With the centred log-probabilities z of a window, the baseline b is the median of z over all of the person's
    windows (`median`) or over the fifth that is most neutral (`neutral`). New probabilities are softmax(z - (b - r)),
    where r is the same baseline of the people that the model was calibrated on: a person whose baseline is theirs
    keeps the probabilities. Windows of low quality are changed, but do not count for the baseline if there are enough
    others.

    Args:
        kind: `None` passes rows on unchanged.
        config: of the model.
        min_score: see `peclip.predict_options.PredictOptions`.

    Raises:
        ConfigError: the model has no such baseline.
    """

    def __init__(self, kind: BaselineName | None, config: ModelConfig, *, min_score: float) -> None:
        self._kind, self._min_score = kind, min_score
        self._reference: Mapping[str, float] = {}
        self._held: list[Row] = []
        self._unchanged: list[int] = []
        if kind is not None:
            self._reference = reference_of(kind, config)

    @property
    def is_used(self) -> bool:
        """Whether rows are held until the end."""
        return self._kind is not None

    def check_live(self, source: str) -> None:
        """Checks that no baseline is needed.

        Raises:
            ConfigError: one is.
        """
        if self.is_used:
            raise ConfigError(
                f"{source} is a live source, which may never end, and baseline needs all windows of a person. "
                "Remove the option."
            )

    @property
    def metadata(self) -> dict[str, list[int]]:
        """The people without a baseline, for `Prediction.metadata`; empty if none was requested."""
        return {"without_baseline": list(self._unchanged)} if self.is_used else {}

    def hold(self, row: Row) -> Iterator[Row]:
        """Yields a row that does not change, or holds it."""
        if self._kind is None:
            yield row
        else:
            self._held.append(row)

    def rest(self) -> Iterator[Row]:
        """Yields the rows that were held, at the end of the source."""
        held, self._held = self._held, []
        people: dict[int, list[Row]] = {}
        for row in held:
            if row.scores:
                people.setdefault(row.track_id, []).append(row)
        shifts = {track: self._shift(rows) for track, rows in sorted(people.items())}
        self._unchanged += [track for track, shift in shifts.items() if shift is None]
        for row in held:
            shift = shifts.get(row.track_id)
            yield row if shift is None or not row.scores else self._changed(row, shift)

    def _shift(self, rows: Sequence[Row]) -> dict[str, float] | None:
        """Returns by how much each log-probability of a person is above that of the reference."""
        good = [row for row in rows if row.status != "low_quality"]
        if len(good) < MIN_WINDOWS:
            good = list(rows)
        if len(good) < MIN_WINDOWS:
            return None
        found = baseline_of(self._kind or "median", [row.scores for row in good])
        return {name: value - self._reference[name] for name, value in found.items()}

    def _changed(self, row: Row, shift: Mapping[str, float]) -> Row:
        logits = {name: value - shift[name] for name, value in centred(row.scores).items()}
        largest = max(logits.values())
        powers = {name: math.exp(value - largest) for name, value in logits.items()}
        total = math.fsum(powers.values())
        scores = {name: power / total for name, power in powers.items()}
        return decided(row, scores, self._min_score)


def reference_of(kind: BaselineName, config: ModelConfig) -> Mapping[str, float]:
    """Returns the baseline of the people that a model was calibrated on.

    Raises:
        ConfigError: the model has none.
    """
    if kind not in config.baselines:
        raise ConfigError(
            f"baseline is {kind!r}, but the model has no such baseline in its config.json. Use nano with its "
            "own labels, or remove the option."
        )
    return config.baselines[kind]


def baseline_of(kind: BaselineName, windows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns the median of the centred log-probabilities of windows by label.

    Args:
        kind: `median` takes all windows, `neutral` the most neutral fifth, at least one.
        windows: probabilities by label; at least one.
    """
    chosen = list(windows)
    if kind == "neutral":
        count = max(1, len(chosen) // NEUTRAL_SHARE)
        chosen = sorted(chosen, key=lambda scores: -scores["neutral"])[:count]
    logits = [centred(scores) for scores in chosen]
    return {name: median(one[name] for one in logits) for name in chosen[0]}


def centred(scores: Mapping[str, float]) -> dict[str, float]:
    """Returns the logarithms of probabilities minus their mean."""
    logs = {name: math.log(max(score, _LEAST)) for name, score in scores.items()}
    mean = math.fsum(logs.values()) / len(logs)
    return {name: value - mean for name, value in logs.items()}
