"""The sizes of backbones, read from JSON files of peclip and of open_clip, without importing open_clip or torch."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from peclip.errors import ConfigError

_PLAIN = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text"} | {
    "stem",
    "closed_vocabulary",
}
_PLAIN_VISION = {"image_size", "patch_size", "width", "layers", "head_width", "mlp_ratio"}
_PLAIN_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}


def backbone_config(name: str) -> dict[str, Any]:
    """Returns the sizes of a backbone in open_clip's format, from peclip's or open_clip's files.

    Raises:
        ConfigError: the name is unknown, or its sizes alone show that it cannot be adapted; what its modules show
            is checked when they are built (see `peclip.nn.open_clip_towers`).
    """
    own = resources.files("peclip.nn") / "backbones" / f"{name}.json"
    if name in own_backbones():
        return dict(json.loads(own.read_text(encoding="utf-8")))
    if not is_published(name):
        close = [known for known in _published() if known.startswith("ViT-B")]
        raise ConfigError(
            f"Unknown backbone {name!r}. Use one of {', '.join(own_backbones())}, or a ViT model "
            f"of open_clip, such as {', '.join(close[:4])}."
        )
    config = published_config(name)
    if reason := _reason_against(config):
        raise ConfigError(refusal(name, reason))
    return config


def _reason_against(config: Mapping[str, Any]) -> str | None:
    """Returns why a model of open_clip cannot be adapted, as far as its sizes show it."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    if "multimodal_cfg" in config:
        return "it generates captions (CoCa), and its towers pool for a text decoder"
    if "hf_model_name" in text:
        return f"its text encoder is {text['hf_model_name']} of the library transformers"
    if not isinstance(vision.get("layers", 0), int):
        return "its image encoder is a ResNet, which has no transformer blocks"
    if "tokenizer_mode" in text:
        return f"its tokenizer mode {text['tokenizer_mode']!r} is unknown"
    return None


def refusal(name: str, reason: str) -> str:
    """Returns the message for a backbone that cannot be adapted."""
    return (
        f"The backbone {name!r} cannot be adapted: {reason}. To list the backbones that can, run: "
        "peclip models list --backbones"
    )


def published_config(name: str) -> dict[str, Any]:
    """Returns the sizes of a model of open_clip, which may be unsupported."""
    return dict(json.loads(_published()[name].read_text(encoding="utf-8")))


def is_published(name: str) -> bool:
    """Returns whether open_clip has a model of this name, which may still be unsupported."""
    return name in _published()  # open_clip itself would also follow hf-hub: and local-dir:


def published_names() -> tuple[str, ...]:
    """Returns the names of open_clip's models, which may be unsupported."""
    return tuple(_published())


def check_published_weights(name: str, tag: str) -> None:
    """Checks that open_clip may have weights of this name for one of its models.

    Raises:
        ConfigError: it has not.
    """
    tags = _published_tags().get(name.removesuffix("-quickgelu"), ())
    if tags and tag not in tags:
        raise unknown_weights(name, tag, tags)


def unknown_weights(name: str, tag: str, tags: Sequence[str]) -> ConfigError:
    """Returns the error about a weight tag that is none of the tags of a backbone."""
    known = f"choose one of {', '.join(tags)}" if tags else "it has none, so use another backbone"
    return ConfigError(f"Unknown weights {tag!r} for the backbone {name!r}; {known}.")


@cache
def _published_tags() -> dict[str, tuple[str, ...]]:
    """Returns the weight tags of open_clip's models, with both activations, from its code, which is not run.

    A model is missing if the code states its tags in another form.
    """
    text = (open_clip_folder() / "pretrained.py").read_text(encoding="utf-8")
    named, tags = dict[str, tuple[str, ...]](), dict[str, tuple[str, ...]]()

    def tags_in(table: ast.expr) -> tuple[str, ...]:
        if isinstance(table, ast.Name):
            return named.get(table.id, ())
        return tuple(row.arg for row in getattr(table, "keywords", ()) if row.arg)

    for node in ast.parse(text).body:
        match node:
            case ast.Assign([ast.Name("_PRETRAINED")], ast.Dict(names, tables)):
                for name, table in zip(names, tables, strict=True):
                    if isinstance(name, ast.Constant):
                        tags[str(name.value)] = tags_in(table)
            case ast.Assign([ast.Name(variable)], value):
                named[variable] = tags_in(value)
    return tags


def is_plain(config: Mapping[str, Any]) -> bool:
    """Returns whether a configuration only has what `nn.transformers.Clip` implements."""
    vision = config["vision_cfg"]
    return (
        config.keys() <= _PLAIN
        and vision.keys() <= _PLAIN_VISION
        and config["text_cfg"].keys() <= _PLAIN_TEXT
        and all(isinstance(vision.get(size, 0), int) for size in ("image_size", "patch_size"))
    )


def least_parameters(name: str) -> int:
    """Returns a lower bound on a backbone's parameter count, computed from the matrices of its layers.

    The layers of an image encoder of timm are not in the sizes, and are not counted.

    Raises:
        ConfigError: as for `backbone_config`.
    """
    config = backbone_config(name)
    towers = [config[part] for part in ("vision_cfg", "text_cfg") if "width" in config[part]]
    return sum(
        int(tower["layers"] * tower["width"] ** 2 * (4 + 2 * tower.get("mlp_ratio", 4)))
        for tower in towers
    )


def has_closed_vocabulary(name: str) -> bool:
    """Returns whether the text encoder of a backbone has learned only the label texts of its training.

    Raises:
        ConfigError: as `backbone_config`.
    """
    return bool(backbone_config(name).get("closed_vocabulary", False))


def own_backbones() -> tuple[str, ...]:
    """Returns the names of the backbones that peclip defines."""
    files = (resources.files("peclip.nn") / "backbones").iterdir()
    return tuple(
        sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))
    )


def open_clip_folder() -> Path:
    """Returns the folder of the installed open_clip, which is not imported: that takes seconds."""
    found = find_spec("open_clip")
    assert found is not None, "a dependency of peclip"
    assert found.origin is not None
    return Path(found.origin).parent


@cache
def _published() -> dict[str, Path]:
    files = (open_clip_folder() / "model_configs").glob("*.json")
    return {file.stem: file for file in sorted(files)}
