"""The layouts in which a CLIP is published, and their conversion to the names of open_clip.

OpenAI's names are those of open_clip's `CLIP`; its `CustomTextCLIP` puts `text.` before those of the text encoder; and
`CLIPModel` of Hugging Face's transformers has other names, separate projections to queries, keys and values, and
projections of the features that are transposed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from peclip.errors import CheckpointError, first_line
from peclip.nn.backbone_config import is_plain, published_config, published_names
from peclip.nn.jit_archive import is_jit_archive, read_jit_archive, zip_entries
from peclip.nn.tensor_file import counted, read_tensors

LAYOUTS = ("OpenAI", "open_clip", "Hugging Face")

_IGNORED = re.compile(
    r"(.*\.)?(logit_scale|logit_bias|input_resolution|context_length|vocab_size|attn_mask|position_ids"
    r"|num_batches_tracked)"
)
"""Not part of the towers, or computed."""
_MOST_UNPACKED = 4
"""Times the size of a file. Tensors are stored as they are; only the code of a TorchScript archive is compressed."""
_CONTAINERS = ("state_dict", "model_state_dict", "model")
_WHOLE = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "visual_projection.weight": "visual.proj",
    "text_model.embeddings.token_embedding.weight": "text.token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "text.positional_embedding",
    "text_projection.weight": "text.text_projection",
}
_NORMS = {
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "text_model.final_layer_norm": "text.ln_final",
}
_LAYER = re.compile(r"(vision|text)_model\.encoder\.layers\.(\d{1,4})\.(.+)\.(weight|bias)")
_IN_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def read_state(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a file without running any code in it.

    Raises:
        CheckpointError: it is none of the accepted formats, or contains other classes.
    """
    if path.suffix == ".safetensors":
        state = read_tensors(path)
    elif sum(entry.file_size for entry in zip_entries(path)) > _MOST_UNPACKED * path.stat().st_size:
        raise CheckpointError(f"{str(path)!r} is rejected: unpacked, it is many times larger.")
    else:
        state = read_jit_archive(path) if is_jit_archive(path) else _read_checkpoint(path)
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    _check_memory(state, path)
    return state


def _check_memory(state: Mapping[str, Tensor], path: Path) -> None:
    """Checks that tensors are ordinary, and no larger than their file: some would expand when they are converted."""
    odd = [
        name
        for name, tensor in state.items()
        if tensor.layout != torch.strided or tensor.device.type != "cpu"
    ]
    if odd:
        raise CheckpointError(
            f"{str(path)!r} is rejected: {counted('tensors are sparse or have no values', odd)}."
        )
    if sum(tensor.nbytes for tensor in state.values()) > _MOST_UNPACKED * path.stat().st_size:
        raise CheckpointError(
            f"{str(path)!r} is rejected: its tensors are many times larger than the file."
        )


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Reads a torch checkpoint: a state dict, or a dict that contains one."""
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a corrupt archive raises many types
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found:
            reason = f"it contains {found[1]}"
        elif isinstance(error, UnpicklingError | EOFError):  # torch would advise to run its code
            reason = "it is damaged or not a torch checkpoint"
        else:
            reason = first_line(error).rstrip(".")
        raise CheckpointError(
            f"{str(path)!r} cannot be read: {reason}. Accepted are safetensors, the state dict of a torch checkpoint, and "
            "TorchScript archives; other classes are rejected, because a pickle can run code."
        ) from None
    for _ in range(2):
        if isinstance(content, Mapping):
            inner = [content[key] for key in _CONTAINERS if isinstance(content.get(key), Mapping)]
            content = inner[0] if inner else content
    tensors = content.items() if isinstance(content, Mapping) else ()
    return {str(name): value for name, value in tensors if isinstance(value, Tensor)}


def canonical_tensors(state: Mapping[str, Tensor], path: Path) -> tuple[str, dict[str, Tensor]]:
    """Returns the layout of tensors, and the tensors of both towers under `visual.` and `text.`.

    Raises:
        CheckpointError: the layout is unknown.
    """
    kept = {name: tensor for name, tensor in state.items() if not _IGNORED.fullmatch(name)}
    if "text_model.embeddings.token_embedding.weight" in kept:
        return "Hugging Face", _from_hugging_face(kept, path)
    visual = any(name.startswith("visual.") for name in kept)
    if visual and "token_embedding.weight" in kept:
        return "OpenAI", {
            name if name.startswith("visual.") else f"text.{name}": tensor
            for name, tensor in kept.items()
        }
    if visual and "text.token_embedding.weight" in kept:
        return "open_clip", kept
    raise CheckpointError(
        f"{str(path)!r} is not a CLIP with an image and a text encoder: it has "
        f"{counted_names(state)}. Accepted are files in the layout of {', '.join(LAYOUTS)}."
    )


def counted_names(state: Mapping[str, Tensor]) -> str:
    """Returns how many tensors there are, and the first names."""
    names = ", ".join(name[:60] for name in list(state)[:3])
    return f"{len(state)} tensors ({names}, …)" if state else "no tensors"


def _from_hugging_face(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        stem, _, kind = name.rpartition(".")
        layer = _LAYER.fullmatch(name)
        if name in _WHOLE:
            transposed = name in ("visual_projection.weight", "text_projection.weight")
            found[_WHOLE[name]] = tensor.T if transposed else tensor
        elif stem in _NORMS:
            found[f"{_NORMS[stem]}.{kind}"] = tensor
        elif layer is None:
            found[name] = tensor  # reported as unexpected
        else:
            tower = "visual" if layer[1] == "vision" else "text"
            block = f"{tower}.transformer.resblocks.{layer[2]}"
            one = re.fullmatch(r"self_attn\.([qkv])_proj", layer[3])
            if one is None:
                found[f"{block}.{_IN_LAYER.get(layer[3], layer[3])}.{kind}"] = tensor
            else:
                parts.setdefault(f"{block}.attn.in_proj_{kind}", {})[one[1]] = tensor
    for name, three in parts.items():
        shapes = {tuple(tensor.shape) for tensor in three.values()}
        if three.keys() != set("qkv") or len(shapes) != 1:
            raise CheckpointError(f"{str(path)!r} is incomplete: {name} lacks a projection.")
        found[name] = torch.cat([three[part] for part in "qkv"])
    return found


def sizes(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Returns the sizes of a CLIP from the shapes of its tensors, as far as it is a plain ViT."""

    def side(name: str, dimension: int) -> int:
        tensor = tensors.get(name)
        return 0 if tensor is None or tensor.ndim <= dimension else tensor.shape[dimension]

    def layers(tower: str) -> int:
        prefix = f"{tower}.transformer.resblocks."
        return len({n[len(prefix) :].partition(".")[0] for n in tensors if n.startswith(prefix)})

    found = {
        "patches of pixels": side("visual.conv1.weight", 2),
        "image tokens": side("visual.positional_embedding", 0),
        "image width": side("visual.conv1.weight", 0),
        "image layers": layers("visual"),
        "feature width": side("visual.proj", 1),
        "text width": side("text.token_embedding.weight", 1),
        "text layers": layers("text"),
        "vocabulary": side("text.token_embedding.weight", 0),
        "context": side("text.positional_embedding", 0),
    }
    return {what: size for what, size in found.items() if size}


@cache
def sizes_of_backbones() -> dict[str, dict[str, int]]:
    """Returns the sizes of the plain ViTs of open_clip by name, from their configurations."""
    found = {}
    for name in published_names():
        config = published_config(name)
        if not is_plain(config):
            continue
        vision, text = config["vision_cfg"], config["text_cfg"]
        patch = vision.get("patch_size", 16)
        found[name] = {
            "patches of pixels": patch,
            "image tokens": (vision.get("image_size", 224) // patch) ** 2 + 1,
            "image width": vision.get("width", 768),
            "image layers": vision.get("layers", 12),
            "feature width": config["embed_dim"],
            "text width": text.get("width", 512),
            "text layers": text.get("layers", 12),
            "vocabulary": text.get("vocab_size", 49408),
            "context": text.get("context_length", 77),
        }
    return found
