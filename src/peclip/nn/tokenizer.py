"""CLIP's tokenizer: byte-pair encoding of lower-case text.

Radford et al.: "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021. The merges are
the file of OpenAI that open_clip ships; the tokens equal those of open_clip's `SimpleTokenizer`.
"""

from __future__ import annotations

import gzip
import html
import re
from collections.abc import Iterable
from itertools import islice, pairwise
from pathlib import Path

_SPECIAL = ("<start_of_text>", "<end_of_text>")
_WORDS = "|".join((*_SPECIAL, r"'s|'t|'re|'ve|'m|'ll|'d", r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"))
_ASCII_WORDS = re.compile(_WORDS.replace(r"\p{L}", "a-z").replace(r"\p{N}", "0-9"), re.IGNORECASE)
_WORD_END = "</w>"


class ClipTokenizer:
    """Turns texts into tokens, with as many byte-pair merges as the vocabulary holds.

    CLIP's merges are ordered by frequency, so a smaller vocabulary gives the same tokenizer with longer
    encodings of rare words: every text remains representable.

    Args:
        merges: gzipped text with a comment and one merge of two symbols a line.
        vocabulary: the number of tokens.
    """

    def __init__(self, merges: Path, vocabulary: int) -> None:
        self._letters = _byte_letters()
        letters = list(self._letters.values())
        symbols = [*letters, *(letter + _WORD_END for letter in letters)]
        with gzip.open(merges, "rt", encoding="utf-8") as lines:
            next(lines)
            chosen = islice(lines, vocabulary - len(symbols) - len(_SPECIAL))
            pairs = [(first, second) for first, second in (line.split() for line in chosen)]
        symbols += [first + second for first, second in pairs]
        symbols += _SPECIAL
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self._numbers = {symbol: number for number, symbol in enumerate(symbols)}
        self._symbols = symbols
        self._known = {word: [self._numbers[word]] for word in _SPECIAL}
        self.all_special_ids = [self._numbers[word] for word in _SPECIAL]
        self.starts, self.ends = self.all_special_ids[:1], self.all_special_ids[1:]
        self.padding = 0

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of a text, without start and end."""
        tokens: list[int] = []
        for word in _words(text):
            if word not in self._known:
                letters = [self._letters[byte] for byte in word.encode("utf-8")]
                letters[-1] += _WORD_END
                self._known[word] = [self._numbers[symbol] for symbol in self._merge(letters)]
            tokens += self._known[word]
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the text of tokens."""
        values = {letter: byte for byte, letter in self._letters.items()}
        letters = "".join(self._symbols[token] for token in tokens)
        text = bytes(values[letter] for letter in letters).decode("utf-8", errors="replace")
        return text.replace(_WORD_END, " ")

    def _merge(self, symbols: list[str]) -> list[str]:
        """Joins neighbouring symbols, the most frequent pair first, until no known pair is left."""
        while known := [pair for pair in pairwise(symbols) if pair in self._ranks]:
            best = min(known, key=self._ranks.__getitem__)
            joined: list[str] = []
            for symbol in symbols:
                # A symbol that was joined already is longer than the first of the pair.
                if joined and (joined[-1], symbol) == best:
                    joined[-1] += symbol
                else:
                    joined.append(symbol)
            symbols = joined
        return symbols


def _words(text: str) -> list[str]:
    """Splits a text into words, numerals and punctuation, after repairing its encoding."""
    if text.isascii() and text.isprintable() and "&" not in text:  # nothing to repair
        return _ASCII_WORDS.findall(_lower(text))
    import ftfy  # both on demand: they take a quarter of a second, and few texts need them
    import regex

    repaired = html.unescape(html.unescape(ftfy.fix_text(text)))
    found: list[str] = regex.findall(_WORDS, _lower(repaired), flags=regex.IGNORECASE)
    return found


def _lower(text: str) -> str:
    return " ".join(text.split()).lower()


def _byte_letters() -> dict[int, str]:
    """Returns a printable character for each byte, in the order of CLIP's vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable}
    return letters | {byte: chr(256 + number) for number, byte in enumerate(others)}
