"""Converts checkpoints of the authors' released code (SAADI-Ibtissam/PE-CLIP) to peclip models.

A `.pth` of the release is a pickle that holds a custom object besides the weights. It is read with
torch's restricted unpickler, which runs no code: the few classes the release stores are listed
below, and any other is rejected.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray
from torch import Tensor

from peclip.config import check
from peclip.errors import CheckpointError, ConfigError, first_line
from peclip.labels import LabelSet
from peclip.models.descriptions import STYLES, load_descriptions
from peclip.models.pe_clip import PEClipModel, build_pe_clip
from peclip.models.pe_clip_config import PEClipConfig
from peclip.nn.backbone_config import is_published
from peclip.nn.tensor_file import copy_tensors
from peclip.nn.tokenizer import ClipTokenizer
from peclip.weights.checkpoint import misfit, save_model
from peclip.weights.model_card import write_card
from peclip.weights.resolve import backbone_model_config

_ADAPTER = {"down_proj": "down", "up_proj": "up"}
_TEMPORAL = {"adapter_layer_norm_before": "norm", "scale": "scale", "rnn": "gru"} | _ADAPTER


class _Recorder:
    """Placeholder for the release's `RecorderMeter`, whose numbers are not needed."""


def convert_release(
    checkpoint: Path,
    output: Path,
    *,
    backbone: str = "ViT-B-16-quickgelu/openai",
    labels: Sequence[str] | None = None,
    full: bool = False,
) -> PEClipConfig:
    """Writes a released checkpoint as a peclip model directory; returns its configuration.

    Args:
        checkpoint: a `.pth` with `state_dict`, its names with or without `module.`.
        output: directory.
        backbone: what the checkpoint was trained on.
        labels: names in the order of the class ids. By default the label texts are read back from the
            token embeddings in the checkpoint and looked up among the shipped descriptions. The AFEW
            lists of the release count alphabetically while its texts do not: name the labels there.
        full: store the backbone of the checkpoint, so that loading needs no download.

    Raises:
        CheckpointError: not a checkpoint of the release, or it does not fit the backbone.
        ConfigError: the labels cannot be inferred from the texts, or their number is wrong; or the
            activation of the backbone is not the one that its weights were trained with.
    """
    state = read_release(checkpoint)
    name, _, tag = backbone.partition("/")
    base = backbone_model_config(name, tag or "openai")
    if is_published(name):  # its weights are not loaded here, so nothing else would check it
        _check_tag(name, tag or "openai", quick_gelu=base.quick_gelu)
    layout = {
        "num_frames": 16,
        "prompt_half": True,
        "prompt_length": state["prompt_learner.ctx"].shape[0],
        "prompt_depth": 1
        + sum(key.startswith("prompt_learner.compound_prompts_text") for key in state),
        "preprocess": base.preprocess.model_dump() | {"mean": (0, 0, 0), "std": (1, 1, 1)},
        "pretrained": None,
    }
    config = check(PEClipConfig, base.model_dump() | layout)
    model = build_pe_clip(config)
    _load(model, state, checkpoint)
    chosen, texts = _labels(model, state, labels)
    config = config.derive(
        labels=chosen.names,
        label_texts=dict(zip(chosen, texts, strict=True)),
        pretrained=None if full else tag or "openai",
    )
    save_model(model, config, output, full=full)
    write_card(output, output.resolve().name, config, texts, full=full)
    return config


def _check_tag(name: str, tag: str, *, quick_gelu: bool) -> None:
    from peclip.nn.published import check_tag

    check_tag(name, tag, quick_gelu=quick_gelu)


def read_release(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a released checkpoint without running any code in it.

    Raises:
        CheckpointError: no file, not a torch checkpoint, or one with classes that the release does not
            write.
    """
    if not path.is_file():
        raise CheckpointError(f"{str(path)!r} does not exist or is not a file.")
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (_Recorder, "__main__.RecorderMeter"),
        argparse.Namespace,
        np.ndarray,
        np.dtype,
        # numpy 1 wrote `numpy.core`, numpy 2 writes `numpy._core`.
        *(
            (function, f"numpy.{core}.multiarray.{function.__name__}")
            for core in ("core", "_core")
            for function in (multiarray._reconstruct, multiarray.scalar)
        ),
        *(type(np.dtype(kind)) for kind in ("f4", "f8", "i8", "i4", "?")),
    ]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's warnings about the age of the format
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a corrupt archive raises many types
        found = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it contains {found[1]}" if found else first_line(error)
        raise CheckpointError(
            f"{str(path)!r} cannot be read: {reason}. Only checkpoints of the PE-CLIP release are "
            "supported; other classes are rejected, because a pickle can run code."
        ) from None
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise CheckpointError(
            f"{str(path)!r} contains no state_dict. Use a checkpoint of the PE-CLIP release."
        )
    tensors = {
        str(key).removeprefix("module."): value
        for key, value in state.items()
        if isinstance(value, Tensor)
    }
    for name, dimensions in (("prompt_learner.ctx", 2), ("prompt_learner.token_suffix", 3)):
        if name not in tensors or tensors[name].ndim != dimensions:
            raise CheckpointError(
                f"{str(path)!r} has no tensor {name} with {dimensions} dimensions, so it is not a "
                "checkpoint of the PE-CLIP release."
            )
    return tensors


def our_name(key: str) -> str | None:
    """Translates a parameter name of the release (without `module.`); `None` if it is dropped."""
    if key.startswith("prompt_learner."):
        return _prompt_name(key.removeprefix("prompt_learner."))
    if key.startswith("image_encoder."):
        return _tower_name("vision", key.removeprefix("image_encoder."))
    if key.startswith("text_encoder."):
        return _tower_name("text", key.removeprefix("text_encoder."))
    if key == "clip_model.token_embedding.weight":
        return "text.token_embedding.weight"
    return None  # clip_model repeats both towers; logit_scale is not used by the release


def _prompt_name(key: str) -> str | None:
    if key == "ctx":
        return "prompts.text.0"
    if key.startswith("proj."):
        return key.replace("proj", "prompts.to_vision.0", 1)
    deep = re.fullmatch(r"compound_prompt(s_text|_projections)\.(\d{1,3})(\..+)?", key)
    if deep is None:
        return None  # token_prefix and token_suffix: text embeddings, recomputed
    kind = "text" if deep[1] == "s_text" else "to_vision"
    return f"prompts.{kind}.{int(deep[2]) + 1}{deep[3] or ''}"


def _tower_name(tower: str, key: str) -> str | None:
    whole = {
        "conv1.weight": "patch_embedding.weight",
        "proj": "projection",
        "text_projection": "projection",
    }
    layer = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", key)
    if layer is None:
        return f"{tower}.{whole.get(key, key)}"
    block, rest = f"{tower}.blocks.{layer[1]}", layer[2]
    adapter = re.fullmatch(r"adapter_pre_(attn|mlp)\.(\w+)\.(\w+)", rest)
    if adapter is None:
        return f"{block}.block.block.{rest}"
    if adapter[1] == "attn":
        return f"{block}.shared_adapter.{_ADAPTER.get(adapter[2], adapter[2])}.{adapter[3]}"
    place = "temporal_adapter" if tower == "vision" else "text_adapter"
    return f"{block}.{place}.{_TEMPORAL.get(adapter[2], adapter[2])}.{adapter[3]}"


def _load(model: PEClipModel, state: Mapping[str, Tensor], path: Path) -> None:
    loaded = {name: state[key] for key in state if (name := our_name(key)) is not None}
    parameters = dict(model.named_parameters())
    if problem := misfit(loaded, parameters):
        raise CheckpointError(
            f"{str(path)!r} does not match the backbone: {problem}. Use --backbone to set the "
            "backbone of the checkpoint."
        )
    copy_tensors(path, loaded, parameters)


def _labels(
    model: PEClipModel, state: Mapping[str, Tensor], labels: Sequence[str] | None
) -> tuple[LabelSet, list[str]]:
    texts = _texts(model, state)
    if labels is not None:
        chosen = LabelSet.of(labels)
        if len(chosen) != len(texts):
            raise ConfigError(
                f"Got {len(chosen)} labels, but the checkpoint has {len(texts)}. Use --labels to "
                "pass one name per label."
            )
        return chosen, texts
    for style in STYLES:
        names = {_key(text): name for name, text in load_descriptions(style).items()}
        found = [names.get(_key(text)) for text in texts]
        if all(found):
            return LabelSet(tuple(name for name in found if name)), texts
    raise ConfigError(
        f"Unknown label texts in the checkpoint: {texts[0]!r}, … Use --labels to pass the labels "
        "in the order of the class indices."
    )


def _texts(model: PEClipModel, state: Mapping[str, Tensor]) -> list[str]:
    """Reads the label texts back: each row of `token_suffix` is a row of the token embedding."""
    embedding, suffix = model.text.token_embedding.weight, state["prompt_learner.token_suffix"]
    tokenizer = model.text.tokenizer
    if not isinstance(tokenizer, ClipTokenizer):
        raise ConfigError(
            "The release has CLIP's tokenizer. Use --backbone to set the backbone of the checkpoint."
        )
    (end,) = tokenizer.ends
    texts = []
    for row in suffix.to(embedding.dtype):  # (L, W)
        nearest = torch.cdist(row, embedding).argmin(-1).tolist()
        if end not in nearest:
            raise CheckpointError(
                "The texts in the checkpoint have no end token, so the file is corrupt."
            )
        texts.append(tokenizer.decode(nearest[: nearest.index(end)]).strip())
    return texts


def _key(text: str) -> str:
    return re.sub(r"[^a-z]+", " ", text.lower()).strip()
