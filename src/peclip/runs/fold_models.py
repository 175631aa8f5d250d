"""The models that are evaluated: one model, or the model of every fold of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peclip.data import DataConfig, Split
from peclip.data.preparation.crop_record import crop_mismatch, left_out
from peclip.labels import effective_prior_weight
from peclip.literals import Precision
from peclip.recognizers.recognizer import Recognizer
from peclip.runs.leakage import run_warning
from peclip.weights.folder import model_of


@dataclass(frozen=True, slots=True)
class FoldModels:
    """A model per fold; several folds may share one."""

    run: str
    """The name that was given."""
    names: tuple[str, ...]
    """Of the model of each fold."""
    loaded: Mapping[str, Recognizer]
    """By name."""

    @property
    def recognizers(self) -> list[Recognizer]:
        """The model of each fold."""
        return [self.loaded[name] for name in self.names]

    def warning(self, splits: Sequence[Split], data: DataConfig) -> str | None:
        """Returns the distinct warnings about models trained on these videos, or on other crops."""
        incomplete = left_out(data.root)
        mismatches = {
            name: crop_mismatch(data.root, model.config.preprocess)
            for name, model in self.loaded.items()
        }
        said: list[str | None] = []
        for name, split in zip(self.names, splits, strict=True):
            said += [run_warning(self.run, name, split, data), mismatches[name], incomplete]
        return " ".join(dict.fromkeys(filter(None, said))) or None


def load_fold_models(
    model: str | Path | Recognizer,
    folds: Sequence[int | None],
    *,
    labels: Mapping[str, str] | None,
    prior_weight: float | None,
    device: str,
    precision: Precision,
) -> FoldModels:
    """Loads the model of every fold, each once.

    Args:
        model: one that is loaded, the name of one, or the folder of a run.
        folds: their numbers.
        labels: other labels, with their texts; `None` for the model's.
        prior_weight: checked: it needs a model with a prior.
        device: to load onto.
        precision: to load for; `"auto"` is fp32 on every CPU.

    Raises:
        UserError: a model is not there, or does not take the labels or the prior weight.
    """
    if isinstance(model, Recognizer):
        run, names, loaded = model.name, (model.name,) * len(folds), {model.name: model}
    else:
        run, names = str(model), tuple(str(model_of(model, fold)) for fold in folds)
        loaded = {
            name: Recognizer.from_pretrained(
                name, device=device, precision=precision, predicting=False
            )
            for name in dict.fromkeys(names)
        }
    if labels is not None:
        loaded = {name: one.with_labels(labels) for name, one in loaded.items()}
    for one in loaded.values():
        effective_prior_weight(one.config, prior_weight)
    return FoldModels(run, names, loaded)
