"""Read an ONNX file but for its weights: what costs time in a big file is of no use here.

The file is mapped, the values of large initializers are skipped on the level of protobuf fields,
and onnx parses the rest. The numbers of messages and fields are those of onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import onnx

LARGE = 1 << 16
"""Initializers of more bytes lose their values; their name, type and shape stay."""

_GRAPH = 7
_INITIALIZER = 5
_VALUES = frozenset({4, 5, 6, 7, 9, 10, 11})
"""Fields of a TensorProto that hold its elements."""

_FIXED = {1: 8, 5: 4}
_VARINT, _BYTES = 0, 2


def load_without_weights(path: Path) -> onnx.ModelProto:
    """Return the model of an ONNX file without the values of its large initializers.

    Raises OSError when the file cannot be read, ValueError or protobuf's DecodeError when it is
    no ONNX file or ends early.
    """
    if path.stat().st_size == 0:
        raise ValueError("the file is empty.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        kept = b"".join(_model(data))
    model: onnx.ModelProto = onnx.ModelProto.FromString(kept)
    return model


def _model(data: mmap.mmap) -> Iterator[bytes]:
    for number, start, body, end in _fields(data, 0, len(data)):
        if number == _GRAPH and body < end:
            graph = b"".join(_graph(data, body, end))
            yield _key(_GRAPH) + _varint(len(graph)) + graph
        else:
            yield data[start:end]


def _graph(data: mmap.mmap, start: int, end: int) -> Iterator[bytes]:
    for number, first, body, last in _fields(data, start, end):
        if number == _INITIALIZER and last - body > LARGE:
            tensor = b"".join(
                data[a:b] for field, a, _, b in _fields(data, body, last) if field not in _VALUES
            )
            yield _key(_INITIALIZER) + _varint(len(tensor)) + tensor
        else:
            yield data[first:last]


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the number of each field of a message, where it begins, its content, its end."""
    while start < end:
        key, body = _read_varint(data, start, end)
        kind = key & 7
        if kind == _VARINT:
            last = _read_varint(data, body, end)[1]
        elif kind == _BYTES:
            length, body = _read_varint(data, body, end)
            last = body + length
        elif kind in _FIXED:
            last = body + _FIXED[kind]
        else:
            raise ValueError(f"byte {start} begins no protobuf field.")
        if last > end:
            raise ValueError(f"the file ends early: a field at byte {start} needs {last} bytes.")
        yield key >> 3, start, body, last
        start = last


def _read_varint(data: mmap.mmap, start: int, end: int) -> tuple[int, int]:
    """Return the number at `start` and the position after it."""
    value = 0
    for position in range(start, min(start + 10, end)):
        value |= (data[position] & 0x7F) << (7 * (position - start))
        if data[position] < 0x80:
            return value, position + 1
    raise ValueError(f"byte {start} begins no number.")


def _key(number: int) -> bytes:
    return _varint(number << 3 | _BYTES)


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])
