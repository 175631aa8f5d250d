"""Which models of open_clip can be adapted, found by taking each of them apart without its weights.

A plain ViT is known from its sizes. The others are built on torch's meta device, which takes half a second each, so the
result is kept in the cache until open_clip, timm or peclip change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peclip.errors import ConfigError
from peclip.files import replacing
from peclip.nn.backbone_config import (
    backbone_config,
    is_plain,
    own_backbones,
    published_config,
    published_names,
)
from peclip.settings import Settings


@dataclass(frozen=True, slots=True)
class BackboneFacts:
    """What a backbone can do, or why it cannot be adapted."""

    name: str
    image_size: int
    pooling: str = ""
    """`class token`, `mean` or `attention`."""
    positions: str = ""
    """Of the patches: `learned`, or `learned, rotary`."""
    text_mask: str = ""
    """`causal` or `full`."""
    context: int = 0
    """Longest text in tokens."""
    tokenizer: str = ""
    """`CLIP`, or a repository of the hub."""
    reason: str = ""
    """Why it cannot be adapted; empty if it can."""


_POOLINGS = {"ClassToken": "class token", "MeanToken": "mean", "AttentionToken": "attention"}
"""By class of `peclip.nn.token_pooling`, which imports torch."""


def list_backbones(
    settings: Settings, *, advance: Callable[[str], None] = lambda _: None
) -> list[BackboneFacts]:
    """Returns the facts about all backbones of peclip and open_clip.

    Args:
        settings: cache.
        advance: called with the name of a backbone before it is built.
    """
    path = settings.cache_dir / f"backbones-{_digest()}.json"
    names = (*own_backbones(), *published_names())
    if (kept := _read(path)) is not None and tuple(facts.name for facts in kept) == names:
        return kept
    found = [backbone_facts(name, advance) for name in names]
    _keep(path, found)
    return found


def backbone_facts(name: str, advance: Callable[[str], None] = lambda _: None) -> BackboneFacts:
    """Returns the facts about one backbone."""
    own = name in own_backbones()
    config = backbone_config(name) if own else published_config(name)
    size, text = int(config["vision_cfg"]["image_size"]), config["text_cfg"]
    try:
        backbone_config(name)
        known = _plain_facts() if is_plain(config) else _built_facts(name, advance)
    except ConfigError as error:
        return BackboneFacts(name, size, reason=_reason(str(error)))
    return BackboneFacts(
        name,
        size,
        **known,
        context=text.get("context_length", 77),
        tokenizer=text.get("hf_tokenizer_name", "CLIP"),
    )


def _plain_facts() -> dict[str, str]:
    return {"pooling": "class token", "positions": "learned", "text_mask": "causal"}


def _built_facts(name: str, advance: Callable[[str], None]) -> dict[str, str]:
    from peclip.nn.published import outline

    advance(name)
    vision, text = outline(name)
    first: Any = vision.blocks[0]
    rotary = getattr(first.attn, "turn", None) is not None
    return {
        "pooling": _POOLINGS[type(vision.pool).__name__],
        "positions": "learned, rotary" if rotary else "learned",
        "text_mask": "full" if text.mask is None else "causal",
    }


def _reason(message: str) -> str:
    """Returns the part of an error between the name of a backbone and the advice."""
    return message.partition("cannot be adapted: ")[2].rpartition(". To list")[0]


def _digest() -> str:
    """Returns a digest of everything that the facts depend on."""
    source = [Path(__file__).with_name("backbone_list.py"), *_modules()]
    content = b"".join(path.read_bytes() for path in sorted(source))
    versions = "".join(version(name) for name in ("open_clip_torch", "timm")) + "".join(
        published_names()
    )
    return hashlib.sha256(content + versions.encode()).hexdigest()[:16]


def _modules() -> list[Path]:
    folder = Path(__file__).parent.parent / "nn"
    names = ("open_clip_towers", "timm_towers", "canonical_block", "published", "backbone_config")
    return [folder / f"{name}.py" for name in names]


def _read(path: Path) -> list[BackboneFacts] | None:
    try:
        return [BackboneFacts(**facts) for facts in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, RecursionError):  # missing, or damaged: computed again
        return None


def _keep(path: Path, found: list[BackboneFacts]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_text(json.dumps([asdict(facts) for facts in found]), encoding="utf-8")
    except OSError:
        return  # a cache that cannot be written only costs time
