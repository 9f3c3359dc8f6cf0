"""Owns reading a model file of SentencePiece, which is one message of Protocol Buffers, without
either library: its pieces and the table of its normaliser. See sentencepiece_model.proto.
"""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

CONTROL, USER_DEFINED = 3, 4  # types of a piece; 1 is a normal one
_UNIGRAM = 1  # type of a model


class Piece(NamedTuple):
    text: str
    score: float
    kind: int


def read_unigram(path: str) -> tuple[list[Piece], bytes]:
    """The pieces by id, and the normaliser's precompiled table, empty where it does nothing.

    Raises:
      ValueError: a file that is damaged, of another format, or of a model that is not unigram.
    """
    with open(path, "rb") as file:
        data = file.read()
    pieces, trainer, normalizer = [], None, None
    for number, value in _fields(data):
        if number == 1:
            piece = dict(_fields(value))
            (score,) = struct.unpack("<f", piece.get(2, bytes(4)))
            pieces.append(Piece(piece[1].decode("utf-8"), score, piece.get(3, 1)))
        elif number == 2:
            trainer = dict(_fields(value))
        elif number == 3:
            normalizer = dict(_fields(value))
    if not pieces or trainer is None or normalizer is None:
        raise ValueError("not a model of SentencePiece, or cut off")
    if trainer.get(3, _UNIGRAM) != _UNIGRAM:
        raise ValueError(f"a SentencePiece model of type {trainer[3]}, expected 1 (unigram)")
    return pieces, normalizer.get(2, b"")


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message of Protocol Buffers, by number: ints, or the bytes they have."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
        elif kind in (1, 2, 5):
            size, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = data[at : at + size], at + size
        else:
            raise ValueError("not a model of SentencePiece")
        if at > len(data):
            raise ValueError("cut off")
        yield tag >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, seven bits a byte, and where it ends."""
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1
