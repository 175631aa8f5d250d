"""The methods by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, get_args

from peclip.errors import ConfigError
from peclip.explain import (
    attention_rollout,
    dynamic_scale,
    gradient,
    leave_one_out,
    occlusion,
    stream_weights,
    words,
)
from peclip.explain.explained_window import ExplainedWindow
from peclip.explain.explanation import Finding
from peclip.literals import ExplainMethod
from peclip.models.base import ExpressionModel


def _nothing(_: object) -> None:
    return None


class Method(NamedTuple):
    """One way to explain a window."""

    find: Callable[[ExplainedWindow], Finding]
    missing_in_model: Callable[[ExpressionModel], str | None] = _nothing
    """Returns why it cannot explain any prediction of a model, or `None`."""
    missing_in_window: Callable[[ExplainedWindow], str | None] = _nothing
    """Returns why it cannot explain this window, or `None`."""
    is_default: bool = True


METHODS: dict[ExplainMethod, Method] = {
    "leave-one-out": Method(leave_one_out.find_frames, missing_in_window=leave_one_out.missing_in),
    "gradient": Method(gradient.find_gradient),
    "dynamic-scale": Method(dynamic_scale.find_scales, dynamic_scale.missing_in),
    "rollout": Method(attention_rollout.find_attention, attention_rollout.missing_in),
    "occlusion": Method(occlusion.find_places, is_default=False),  # slow
    "streams": Method(stream_weights.find_weights, stream_weights.missing_in),
    "words": Method(words.find_words),
}


def check_methods(names: Sequence[str], network: ExpressionModel) -> None:
    """Checks names of methods, before a video is read.

    Raises:
        ConfigError: a name is unknown, or the method cannot explain the predictions of this model.
    """
    known = get_args(ExplainMethod)
    for name in names:
        if name not in known:
            raise ConfigError(f"Unknown method {name!r}; choose from {', '.join(known)}.")
    missing = {name: method.missing_in_model(network) for name, method in METHODS.items()}
    _refuse(names, missing)


def find_all(window: ExplainedWindow, names: Sequence[ExplainMethod]) -> dict[str, Finding]:
    """Returns the findings of some methods or, without names, of all fast ones that the window supports.

    Raises:
        ConfigError: a method was named that cannot explain the window.
    """
    missing = {
        name: method.missing_in_model(window.network) or method.missing_in_window(window)
        for name, method in METHODS.items()
    }
    _refuse(names, missing)
    chosen = names or [n for n, method in METHODS.items() if method.is_default and not missing[n]]
    return {name: method.find(window) for name, method in METHODS.items() if name in chosen}


def _refuse(names: Sequence[str], missing: Mapping[ExplainMethod, str | None]) -> None:
    supported = [name for name, reason in missing.items() if reason is None]
    for name, reason in missing.items():
        if name in names and reason is not None:
            raise ConfigError(
                f"The method {name!r} cannot explain this prediction: {reason}. Choose from "
                f"{', '.join(supported)}."
            )
