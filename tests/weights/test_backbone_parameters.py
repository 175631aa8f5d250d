"""The table of docs/models/backbones.md, against a computation by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from peclip.weights.parameter_counts import count_parameters
from peclip.weights.resolve import backbone_model_config

PAGE = Path(__file__).parents[2] / "docs" / "models" / "backbones.md"
ROW = re.compile(r"^\| `([\w.-]+)` \|((?: [\d,]+ \|){7})$", re.MULTILINE)


def table() -> dict[str, list[int]]:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    return {
        name: [int(cell.strip().replace(",", "")) for cell in cells.split("|") if cell.strip()]
        for name, cells in rows
    }


def by_hand(
    vision: tuple[int, int], text: tuple[int, int], depth: int
) -> tuple[int, int, int, int]:
    """ShA, TDA, TA and prompts of PE-CLIP: layers and width of both towers, reduction 8, prompts of two tokens."""

    def adapter(width: int) -> int:
        inner = width // 8
        return width * inner + inner + inner * width + width  # down and up, with their biases

    (layers, width), (text_layers, text_width) = vision, text
    inner = width // 8
    gru = 3 * (inner * inner + inner * inner + inner + inner)  # three gates, of input and state
    tda = 2 * width + (width + 1) + (width * inner + inner) + gru + (inner * width + width)
    prompts = depth * (2 * text_width + text_width * width + width)
    shared = layers * adapter(width) + text_layers * adapter(text_width)
    return shared, layers * tda, text_layers * adapter(text_width), prompts


@pytest.mark.parametrize(
    ("backbone", "vision", "text", "frozen"),
    [
        # The counts of both towers that are published, without the scale and the bias of the logits.
        ("ViT-B-16-SigLIP", (12, 768), (12, 768), 203_155_970 - 2),
        ("PE-Core-T-16-384", (12, 192), (12, 512), None),
    ],
)
def test_trained_parameters_equal_a_computation_by_hand(
    backbone: str, vision: tuple[int, int], text: tuple[int, int], frozen: int | None
) -> None:
    counts = count_parameters(backbone_model_config(backbone, None))
    expected = by_hand(vision, text, depth=9)
    trained = counts["trainable"]
    assert tuple(trained[part] for part in ("ShA", "TDA", "TA", "prompts")) == expected
    assert sum(trained.values()) == sum(expected)
    assert trained["backbone"] == 0
    if frozen is not None:
        assert counts["total"]["backbone"] == frozen
    row = table()[backbone]
    assert row[:6] == [counts["total"]["backbone"], *expected, sum(expected)]


def test_the_table_adds_up() -> None:
    rows = table()
    assert len(rows) >= 14
    for name, (_, *parts, trained, _) in rows.items():
        assert sum(parts) == trained, name
