"""The methods by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


class Method(NamedTuple):
    """One way to explain a window."""

    find: Callable[[ExplainedWindow], Finding]
    unsupported: Callable[[ExplainedWindow], str | None]
    """Returns why it cannot explain a window, or `None`."""
    is_default: bool = True


METHODS: dict[ExplainMethod, Method] = {
    "leave-one-out": Method(leave_one_out.find_frames, leave_one_out.unsupported),
    "gradient": Method(gradient.find_gradient, gradient.unsupported),
    "dynamic-scale": Method(dynamic_scale.find_scales, dynamic_scale.unsupported),
    "rollout": Method(attention_rollout.find_attention, attention_rollout.unsupported),
    "occlusion": Method(occlusion.find_places, occlusion.unsupported, is_default=False),  # slow
    "streams": Method(stream_weights.find_weights, stream_weights.unsupported),
    "words": Method(words.find_words, words.unsupported),
}


def check_methods(names: Sequence[str]) -> None:
    """Checks names of methods.

    Raises:
        ConfigError: a name is unknown.
    """
    known = get_args(ExplainMethod)
    for name in names:
        if name not in known:
            raise ConfigError(f"Unknown method {name!r}; choose from {', '.join(known)}.")


def find_all(window: ExplainedWindow, names: Sequence[ExplainMethod]) -> dict[str, Finding]:
    """Returns the findings of some methods or, without names, of all fast ones that the window supports.

    Raises:
        ConfigError: a method was named that cannot explain the window.
    """
    chosen = [name for name in METHODS if name in names] if names else _defaults(window)
    for name in names:
        if (reason := METHODS[name].unsupported(window)) is not None:
            supported = [n for n, method in METHODS.items() if method.unsupported(window) is None]
            raise ConfigError(
                f"The method {name!r} cannot explain this prediction: {reason}. Choose from "
                f"{', '.join(supported)}."
            )
    return {name: METHODS[name].find(window) for name in chosen}


def _defaults(window: ExplainedWindow) -> list[ExplainMethod]:
    fast = [name for name, method in METHODS.items() if method.is_default]
    return [name for name in fast if METHODS[name].unsupported(window) is None]
