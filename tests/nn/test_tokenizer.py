"""CLIP's tokenizer, compared with open_clip's."""

from __future__ import annotations

import gzip
import random
import string
from pathlib import Path

import pytest
from open_clip.tokenizer import SimpleTokenizer, default_bpe

from peclip.nn.clip import _tokenizer
from peclip.nn.tokenizer import ClipTokenizer

TEXTS = [
    *("", " ", "a", "a b", "  a\t b\n", "happiness", "Inner Brow Raiser, Lip Corner Depressor."),
    *("it's we've I'LL they'd 'S don't", "rock'n'roll", "1234 12th 3.14", "!?!... ---", "_a_b_"),
    *("aaaa aaaaaaa abababab", "supercalifragilisticexpialidocious", "word " * 200, "x" * 300),
    *("Überraschung kŕdeľ naïve", "表情 顔 笑顔", "Привет, мир", "مرحبا", "😀 😭👩‍🚀", "ﬁne ﬂag"),
    *("&amp; &lt;b&gt; &amp;amp;", "â€œquotedâ€\x9d", "“curly” ‘quotes’", "caf\u00e9 cafe\u0301"),
    *(
        "\x1b[31mred\x1b[0m",
        "a\u00a0b\u2003c",
        "²³½ Ⅷ ٣",
        "ß ẞ ſ 'ſ İ",
        "\x00\x07bell",
        "\ufeffbom",
    ),
    *("<start_of_text> a <end_of_text>", "<END_OF_TEXT>", "<end_of_text", "a<end_of_text>b"),
]


def random_texts() -> list[str]:
    """Returns printable ASCII, and any characters of the first planes."""
    draw = random.Random(7)
    ascii_ = [chr(code) for code in range(32, 127)]
    words = [*string.ascii_letters, " ", " ", "'", "s", "t"]
    every = [chr(code) for code in range(0x11000) if not 0xD800 <= code < 0xE000]
    kinds = [ascii_] * 150 + [words] * 150 + [every] * 100
    return ["".join(draw.choices(kind, k=draw.randrange(40))) for kind in kinds]


@pytest.fixture(scope="module")
def short_merges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 1,024 - 514 merges, which is how open_clip is given a smaller vocabulary."""
    path = tmp_path_factory.mktemp("merges") / "merges.txt.gz"
    with gzip.open(default_bpe(), "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")[: 1024 - 514 + 1]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def assert_equal(own: ClipTokenizer, theirs: SimpleTokenizer, text: str) -> None:
    tokens = theirs.encode(text)
    assert own.encode(text) == tokens, repr(text)
    assert own.decode(tokens) == theirs.decode(tokens), repr(text)


def test_tokens_equal_those_of_open_clip() -> None:
    own, theirs = _tokenizer({}), SimpleTokenizer()
    assert own.all_special_ids == theirs.all_special_ids == [49406, 49407]
    for text in [*TEXTS, *random_texts()]:
        assert_equal(own, theirs, text)


def test_a_short_vocabulary_equals_that_of_open_clip(short_merges: Path) -> None:
    own, theirs = _tokenizer({"vocab_size": 1024}), SimpleTokenizer(str(short_merges))
    assert own.all_special_ids == theirs.all_special_ids == [1022, 1023]
    for text in [*TEXTS, *random_texts()[::4]]:
        assert_equal(own, theirs, text)
        assert all(token < 1022 for token in own.encode(text) if "_of_text>" not in text.lower())


def test_the_printable_ascii_characters_need_no_repair() -> None:
    """They take a shorter way; every pair of them is a text here."""
    own, theirs = _tokenizer({}), SimpleTokenizer()
    characters = [chr(code) for code in range(32, 127)]
    for first in characters:
        text = " ".join(first + second for second in characters)
        assert_equal(own, theirs, text)
