"""Damage, by a seeded random number generator: to bytes, and to trees of plain values."""

from __future__ import annotations

import copy
import random
from typing import Any

INTERESTING = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x00" * 8,
)
# fmt: off
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 17, 255, 1 << 31, -(1 << 31), 1 << 63, 10**30, 10**400, 0.0, -0.0, 0.5, 1e-300,
    1e308, float("nan"), float("inf"), float("-inf"), "", "x", "0", "nan", "1e400", "../x", "/etc/passwd", "C:\\x",
    "a\0b", "\x1b[2J", "\ud800", "\u202e", "é", "x" * 5000, [], [[]], {}, {"": None}, [None], [0] * 200, [1, 2, 3, 4],
    {"a": {"b": [1]}},
)
# fmt: on


def data(rng: random.Random, good: bytes) -> bytes:
    """Change one to eight places of `good`: flips, cuts, runs, copies, insertions."""
    bad = bytearray(good)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        if not bad:
            break
        at, how = rng.randrange(len(bad)), rng.randrange(10)
        # Headers are few among many bytes, and more happens there.
        at = rng.randrange(min(len(bad), 64)) if rng.random() < 0.3 else at
        length = rng.choice((1, 2, 4, 16, 256))
        if how < 4:
            bad[at] ^= 1 << rng.randrange(8)
        elif how == 4:
            del bad[at:]
        elif how == 5:
            del bad[at : at + length]
        elif how == 6:
            bad[at : at + length] = rng.randbytes(length)
        elif how == 7:
            other = rng.randrange(len(bad))
            bad[at:at] = bad[other : other + length]
        else:
            piece = rng.choice(INTERESTING)
            bad[at : at + len(piece)] = piece
    return bytes(bad)


def tree(rng: random.Random, good: Any) -> Any:
    """Change one to four places of nested dictionaries and lists."""
    bad = copy.deepcopy(good)
    for _ in range(rng.choice((1, 1, 2, 4))):
        holder, key = _place(rng, bad)
        if holder is None:
            return odd(rng)
        how = rng.randrange(6)
        if how < 3:
            holder[key] = odd(rng)
        elif how == 3:
            del holder[key]
        elif how == 4:
            other, its = _place(rng, bad)
            if other is not None:
                holder[key] = copy.deepcopy(other[its])
        elif isinstance(holder, dict):
            name = rng.choice(("extra", "", "format", "x" * 300, str(key).upper(), "../y", "a\0"))
            holder[name] = copy.deepcopy(holder[key])
        else:
            holder.insert(key, copy.deepcopy(holder[key]))
    return bad


def odd(rng: random.Random) -> Any:
    """A value that is seldom right; now and then a deeply nested one."""
    if rng.random() < 0.05:
        value: Any = 1
        for _ in range(rng.choice((5, 30, 150))):
            value = [value] if rng.random() < 0.5 else {"a": value}
        return value
    return copy.deepcopy(rng.choice(ODD))


def _place(rng: random.Random, root: Any) -> tuple[Any, Any]:
    """A random container in a tree with one of its keys; (None, None) if there is none."""
    holder, key, at = None, None, root
    while isinstance(at, (dict, list)) and at and (holder is None or rng.random() < 0.8):
        holder = at
        key = rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
        at = holder[key]
    return holder, key
