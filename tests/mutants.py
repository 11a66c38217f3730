"""Messages nobody meant: the committed ones of the protocol, changed by chance, the same ones for the same seed.

Rules: every mutant is one to four changes away from a good message, so that it gets past the first check more often
than noise does; one in ten is noise all the same. A mutant may turn out to be valid: who uses it asks the codec.
"""

import random

import msgpack
from wire_support import refused_vectors, vector_parts, vectors

ODD = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**32,
    2**48,
    2**63 - 1,
    2**64 - 1,
    -(2**63),
    0.5,
    float("nan"),
    float("inf"),
]
ODD += ["", "a", "a" * 300, "\x00", "\n", b"", b"x" * 16, b"x" * 17, [], [[]], [0] * 70, {}, {"a": 1}, {1: 2}]
ODD += [msgpack.ExtType(1, b"x"), msgpack.Timestamp(1), ["invert", []], [1, 1], [1, 1, 2]]
LIST, INTEGER = bytes(range(0x90, 0xA0)), b"\xcc\xcd\xce\xcf\xd0\xd1\xd2\xd3"


def mutants(count, *, seed, known=None):
    """So many of them, as lists of parts.

    Args:
        count: How many.
        seed: Of the random choices.
        known: More messages to begin from, as lists of parts.
    """
    chance = random.Random(seed)
    good = [vector_parts(vector) for vector in vectors()] + [vector_parts(vector) for vector in refused_vectors()]
    good = [parts for parts in good if sum(map(len, parts)) < 10_000] + list(known or []) * 10
    for _ in range(count):
        if chance.random() < 0.1:
            yield [chance.randbytes(chance.choice((0, 1, 5, 33, 300, 4097))) for _ in range(chance.randrange(4))]
            continue
        parts = [bytearray(part) for part in chance.choice(good)]
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            chance.choice(CHANGES)(chance, parts, good)
        yield [bytes(part) for part in parts]


def _flip(chance, parts, good):
    if part := _some(chance, parts):
        part[chance.randrange(len(part))] ^= 1 << chance.randrange(8)


def _overwrite(chance, parts, good):
    if part := _some(chance, parts):
        part[chance.randrange(len(part))] = chance.choice(LIST + INTEGER + b"\x00\x7f\x80\xc0\xc1\xc4\xd9\xdd\xdf\xff")


def _cut(chance, parts, good):
    if part := _some(chance, parts):
        del part[chance.randrange(len(part)) :]


def _extend(chance, parts, good):
    if parts:
        chance.choice(parts).extend(chance.randbytes(chance.choice((1, 7, 4096))))


def _splice(chance, parts, good):
    part, other = _some(chance, parts), _some(chance, [bytearray(each) for each in chance.choice(good)])
    if part and other:
        place = chance.randrange(len(part))
        part[place : place + chance.randrange(9)] = other[chance.randrange(len(other)) :][: chance.randrange(1, 40)]


def _add_part(chance, parts, good):
    parts.insert(chance.randrange(len(parts) + 1), bytearray(chance.randbytes(chance.randrange(40))))


def _drop_part(chance, parts, good):
    if parts:
        del parts[chance.randrange(len(parts))]


def _change_field(chance, parts, good):
    """One value of the header becomes another kind of thing."""
    if not parts:
        return
    try:
        fields = msgpack.unpackb(bytes(parts[0]), strict_map_key=False)
        fields[chance.randrange(len(fields))] = chance.choice(ODD)
        parts[0][:] = msgpack.packb(fields)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException):
        _flip(chance, parts, good)


def _some(chance, parts):
    filled = [part for part in parts if part]
    return chance.choice(filled) if filled else None


CHANGES = (
    _flip,
    _overwrite,
    _cut,
    _extend,
    _splice,
    _add_part,
    _drop_part,
    _change_field,
    _change_field,
    _change_field,
)
