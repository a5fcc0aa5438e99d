"""Changes of a valid file: of its bytes, of the numbers in its text, of its length."""

from __future__ import annotations

import gzip
import re
from random import Random

_NUMBERS = (
    *("0", "-1", "1", "2", "3", "99", "255", "256", "32767", "65535", "65536", "-32768", "1e400"),
    *("2147483647", "4294967295", "9223372036854775807", "1e-30", "nan", "inf", "1.5", "0x10", ""),
)
_WORDS = (
    b"\0" * 8,
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"\0\0\xc0\x7f",
    b"../../../../etc/passwd",
    b"\\",
    b"\n",
    b"\r\n\r\n",
    b"A" * 300,
    b"\xe2\x98\x83",
    b"\xed\xa0\x80",
    b"&a *a",
    b"{}",
    b"[]",
    b"null",
)
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_HEADER = 600
"""Bytes at the beginning where most of what decides lies."""


def mutate(content: bytes, random: Random, others: list[bytes]) -> bytes:
    """A changed copy; of a gzip file mostly what it holds, packed again.

    Args:
        content: of a valid file.
        random: decides everything.
        others: of which pieces may be taken.
    """
    if content[:2] == b"\x1f\x8b" and random.random() < 0.7:
        return gzip.compress(mutate(gzip.decompress(content), random, others), 1, mtime=0)
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        random.choice(_CHANGES)(data, random, others)
    return bytes(data)


def _place(data: bytearray, random: Random) -> int:
    reach = min(len(data), _HEADER) if random.random() < 0.7 else len(data)
    return random.randrange(max(reach, 1))


def _bits(data: bytearray, random: Random, _: list[bytes]) -> None:
    for _turn in range(random.choice((1, 1, 4))):
        if data:
            data[_place(data, random)] ^= 1 << random.randrange(8)


def _bytes(data: bytearray, random: Random, _: list[bytes]) -> None:
    at = _place(data, random)
    size = random.choice((1, 2, 4, 8))
    data[at : at + size] = random.randbytes(size)


def _word(data: bytearray, random: Random, _: list[bytes]) -> None:
    at, word = _place(data, random), random.choice(_WORDS)
    data[at : at + (len(word) if random.random() < 0.6 else 0)] = word


def _cut(data: bytearray, random: Random, _: list[bytes]) -> None:
    at = _place(data, random)
    del data[at : at + random.choice((1, 2, 4, 16, 200, 10**6))]


def _again(data: bytearray, random: Random, _: list[bytes]) -> None:
    at = _place(data, random)
    data[at:at] = data[at : at + random.choice((1, 4, 16, 200))]


def _splice(data: bytearray, random: Random, others: list[bytes]) -> None:
    other = random.choice(others)
    start, at = random.randrange(max(len(other), 1)), _place(data, random)
    piece = other[start : start + random.choice((4, 16, 200))]
    data[at : at + len(piece)] = piece


def _number(data: bytearray, random: Random, _: list[bytes]) -> None:
    """Another number in the text of a header."""
    found = list(_NUMBER.finditer(bytes(data[:4000])))
    if found:
        match = random.choice(found)
        data[match.start() : match.end()] = random.choice(_NUMBERS).encode()


def _line(data: bytearray, random: Random, _: list[bytes]) -> None:
    """A line of the header twice, elsewhere, or gone."""
    lines = bytes(data[:4000]).split(b"\n")
    if len(lines) < 3:
        return
    rest = bytes(data[4000:])
    one, two = random.randrange(len(lines)), random.randrange(len(lines))
    moved = lines[one]
    if random.random() < 0.5:
        del lines[one]
    if random.random() < 0.7:
        lines.insert(two, moved)
    data[:] = b"\n".join(lines) + rest


_CHANGES = (_bits, _bits, _bytes, _bytes, _word, _cut, _again, _splice, _number, _number, _line)
