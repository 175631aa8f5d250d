"""Bytes of containers, changed at random but always in the same way."""

from __future__ import annotations

import os
import random
from pathlib import Path

from decoders import DECODERS
from outcomes import Predict
from sweeps import sweep

MUTATIONS = int(os.environ.get("FUZZ_MUTATIONS", "150"))
"""Of all containers together; more by hand: `FUZZ_MUTATIONS=2000 pytest tests/broken/test_fuzz.py`."""

CONTAINERS = ["front.mp4", "plain.mkv", "plain.avi"]
BATCHES = 5
_SIZES = [0, 1, 7, 8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]
_BOXES = [b"moov", b"trak", b"mdia", b"stbl", b"stsd", b"stts", b"stsz", b"stco", b"stsc", b"mdat"]


def flip(data: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice([1, 4, 32])):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def flip_in_front(data: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice([1, 4, 16])):
        data[dice.randrange(min(1500, len(data)))] = dice.randrange(256)


def shorten(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(1, len(data)) :]


def remove(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data))
    del data[start : start + dice.choice([1, 4, 64, 500])]


def insert(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data))
    data[start:start] = dice.randbytes(dice.choice([1, 4, 64, 500]))


def repeat(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data))
    data[start:start] = data[start : start + dice.choice([16, 200, 1000])]


def number(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(min(1500, len(data) - 4))
    data[start : start + 4] = dice.choice(_SIZES).to_bytes(4, dice.choice(["big", "little"]))


def box_size(data: bytearray, dice: random.Random) -> None:
    place = data.find(dice.choice(_BOXES))
    if place < 4:
        return number(data, dice)
    offset = dice.choice([-4, 8, 12, 16])
    data[place + offset : place + offset + 4] = dice.choice(_SIZES).to_bytes(4, "big")
    return None


MUTATORS = [flip, flip_in_front, shorten, remove, insert, repeat, number, box_size]


def mutated(data: bytes, seed: str) -> bytes:
    """Changes a file once or twice, by a seed."""
    dice, changed = random.Random(seed), bytearray(data)
    for _ in range(dice.choice([1, 1, 2])):
        dice.choice(MUTATORS)(changed, dice)
        changed = changed or bytearray(1)
    return bytes(changed)


@sweep("batch", range(BATCHES), default=(0,))
@sweep("name", CONTAINERS, default=("front.mp4",))
def test_changed_bytes_give_rows_or_a_one_line_error(
    name: str, batch: int, good: dict[str, bytes], predict: Predict, tmp_path: Path
) -> None:
    path = tmp_path / name
    count = MUTATIONS // len(CONTAINERS) // BATCHES
    for place in range(batch * count, (batch + 1) * count):
        path.write_bytes(mutated(good[name], f"{name} {place}"))
        outcome = predict(path, decoder=DECODERS[place % len(DECODERS)], crop=place % 5 == 0)
        assert len(outcome.errors) == (outcome.code != 0), place
        assert all(str(path) in line for line in outcome.errors), place
