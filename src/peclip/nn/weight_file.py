"""Weights of a CLIP in a file: a local one, or one of a hub repository, in the layout of one of three libraries.

Face CLIPs such as FaRL and FLIP are published as such files. No code in a file is run: safetensors, torch's restricted
unpickler, and the reader of `peclip.nn.jit_archive` build nothing but tensors. The names and shapes of all tensors must
be those of the backbone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from peclip.downloads.hub import download_repository
from peclip.errors import CheckpointError, ConfigError
from peclip.nn.layouts import LAYOUTS, canonical_tensors, read_state, sizes, sizes_of_backbones
from peclip.nn.tensor_file import copy_tensors, counted
from peclip.nn.weight_name import DIGEST, WeightFile
from peclip.settings import load_settings
from peclip.text.bounds import read_text
from peclip.text.parsing import parse_json


def load_weight_file(
    model: Any,
    file: WeightFile,
    backbone: str,
    quick_gelu: bool,
    *,
    offline: bool = False,
) -> None:
    """Loads the weights of a file into a model of open_clip or of peclip.

    Raises:
        ConfigError: the file was trained with the other activation.
        WeightsError: it is not cached and cannot be downloaded.
        CheckpointError: it does not exist, is damaged, or contains something else.
    """
    path = _located(file, backbone, offline=offline)
    layout, found = canonical_tensors(read_state(path), path)
    _, expected = canonical_tensors(model.state_dict(), path)
    if problem := _misfit(found, expected):
        fitting = [name for name, known in sizes_of_backbones().items() if known == sizes(found)]
        advice = "" if backbone in fitting else "No plain ViT has these sizes. "
        if fitting and advice:
            advice = f"It fits {' or '.join(fitting[:4])}. "
        raise CheckpointError(
            f"{str(path)!r} contains a CLIP in the layout of {layout}, but not {backbone}: {problem}. {advice}Accepted "
            f"are files in the layout of {', '.join(LAYOUTS)}, with the sizes of the backbone."
        )
    _check_activation(path, layout, backbone, quick_gelu)
    copy_tensors(path, found, expected)


def _located(file: WeightFile, backbone: str, *, offline: bool) -> Path:
    if file.repository is None:
        path = Path(file.path).expanduser()
        if not path.is_file():
            raise CheckpointError(f"The weights {str(path)!r} do not exist or are not a file.")
        _check_digest(path, file.sha256)
        return path
    settings = load_settings()
    settings = settings.model_copy(update={"offline": offline or settings.offline})
    wanted = (file.path, str(Path(file.path).with_name("config.json")))
    named = f"{backbone}/hub:{file.repository}/{file.path}"
    advice = f"Once online, download it with: peclip models download {named}"
    folder = download_repository(file.repository, file.revision, wanted, settings, advice=advice)
    path = folder / file.path
    if not path.is_file():
        raise CheckpointError(
            f"The hub repository {file.repository!r} has no file {file.path!r}. Look up its name on the hub."
        )
    blob = path.resolve().name  # the hub names a large file by its checksum
    _check_digest(path, file.sha256 or (blob if DIGEST.fullmatch(blob) else None))
    return path


def _check_digest(path: Path, expected: str | None) -> None:
    if expected is None:
        return
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != expected:
        raise CheckpointError(
            f"{str(path)!r} has the SHA-256 {found} instead of {expected}. Delete it and download it again, or correct "
            "the checksum."
        )


def _misfit(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """Describes how tensors differ in their names and shapes; `None` if they do not."""
    mine, theirs = sizes(expected), sizes(found)
    differences = [
        f"{what} {theirs[what]} instead of {mine[what]}"
        for what in mine
        if what in theirs and mine[what] != theirs[what]
    ]
    missing, unexpected = sorted(expected.keys() - found), sorted(found.keys() - expected)
    wrong = sorted(n for n in expected.keys() & found.keys() if expected[n].shape != found[n].shape)
    if not (missing or unexpected or wrong):
        return None
    counts = [
        counted(what, names)
        for what, names in (
            ("tensors missing", missing),
            ("unexpected", unexpected),
            ("with the wrong shape", wrong),
        )
        if names
    ]
    return ", ".join([*differences, *counts])


def _check_activation(path: Path, layout: str, backbone: str, quick_gelu: bool) -> None:
    """Compares the activation with that in a configuration of transformers next to the file, if there is one."""
    config = path.with_name("config.json")
    if layout != "Hugging Face" or not config.is_file():
        return
    try:
        content = parse_json(read_text(config))
        parts = [content.get(part) or {} for part in ("vision_config", "text_config")]
        found = {str(part.get("hidden_act", "quick_gelu")) for part in parts}
    except ConfigError as error:
        raise CheckpointError(f"{str(config)!r} {error}.") from None
    except AttributeError:
        raise CheckpointError(f"{str(config)!r} is not a configuration of CLIPModel.") from None
    if found != {"quick_gelu" if quick_gelu else "gelu"}:
        other = backbone.removesuffix("-quickgelu") if quick_gelu else f"{backbone}-quickgelu"
        raise ConfigError(
            f"The weights {str(path)!r} were trained with {' and '.join(sorted(found))}, but {backbone!r} uses "
            f"{'quick_gelu' if quick_gelu else 'gelu'}. Use {other}."
        )
