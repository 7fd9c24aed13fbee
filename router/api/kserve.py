"""The Open Inference Protocol's tensors, and what they mean as an embedding request.

`TEXT` BYTES of any shape S, or `INPUT_IDS` INT32/INT64 with `LENGTHS` of shape S, give
`EMBEDDING` FP32 of shape S + [dimension]. So the tensors of the Triton model itself work
unchanged: TEXT [1, n] gives [1, n, dimension].
Source: Open Inference Protocol v2, HTTP and gRPC; Triton's binary data extension.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from router import __version__
from router.domain.errors import InvalidInputError, TooManyInputsError
from router.domain.journal import Journal
from router.domain.types import EmbeddingRequest, EmbeddingResult, Float32Array

OUTPUT = "EMBEDDING"
PLATFORM = "embedway"
VERSION = "1"
SERVER = {"name": "embedway", "version": __version__, "extensions": ["binary_tensor_data"]}
INPUTS = {"TEXT": "BYTES", "INPUT_IDS": "INT32", "LENGTHS": "INT32"}
_INTEGERS = {"INT32": "<i4", "INT64": "<i8"}
# JSON knows integers of any length: beyond 64 bits none means anything here.
_MOST = 2**63
_MAX_AXES = 8

Parameter = str | int | float | bool
_Kind = TypeVar("_Kind", str, int, bool)


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input as it came; `values` are texts, or integers of any width."""

    datatype: str
    shape: tuple[int, ...]
    values: list[str] | list[int]


def tensor_from_raw(name: str, datatype: str, shape: tuple[int, ...], raw: bytes) -> Tensor:
    """Decode a tensor's little-endian bytes; InvalidInputError where they do not fit the shape."""
    count = _count(name, shape)
    if datatype == "BYTES":
        values: list[str] | list[int] = [_text(name, item) for item in _split_bytes(name, raw)]
    elif datatype in _INTEGERS:
        kind = np.dtype(_INTEGERS[datatype])
        if len(raw) != count * kind.itemsize:
            raise InvalidInputError(f"{name}: {len(raw)} bytes do not fit its shape", param=name)
        values = np.frombuffer(raw, kind).tolist()
    else:
        raise InvalidInputError(f"{name}: datatype must be BYTES, INT32 or INT64", param=name)
    return _checked(name, Tensor(datatype, shape, values))


def tensor_from_values(
    name: str, datatype: str, shape: tuple[int, ...], values: list[object]
) -> Tensor:
    """A tensor from plain values; InvalidInputError where they are of another kind or count."""
    if datatype == "BYTES":
        texts = [_text(name, value) if isinstance(value, bytes) else value for value in values]
        if not all(isinstance(text, str) for text in texts):
            raise InvalidInputError(f"{name}: data must be strings", param=name)
        return _checked(name, Tensor(datatype, shape, texts))  # type: ignore[arg-type]
    if datatype not in _INTEGERS:
        raise InvalidInputError(f"{name}: datatype must be BYTES, INT32 or INT64", param=name)
    if not all(type(value) is int and abs(value) < _MOST for value in values):
        raise InvalidInputError(f"{name}: data must be integers of 64 bits", param=name)
    return _checked(name, Tensor(datatype, shape, values))  # type: ignore[arg-type]


def embedding_request(
    model: str,
    tensors: Mapping[str, Tensor],
    parameters: Mapping[str, Parameter],
    *,
    deadline_s: float,
    max_inputs: int,
    pinned_space: str | None,
    identity: tuple[str, Journal],
    tag: str | None = None,
) -> tuple[EmbeddingRequest, tuple[int, ...]]:
    """The request that the tensors make, and the shape S of its inputs; InvalidInputError.

    `identity` is the request's name and its journal.
    """
    for name, tensor in tensors.items():
        if name not in INPUTS:
            known = ", ".join(INPUTS)
            raise InvalidInputError(f"there is no input {name[:64]!r}: send {known}", param=name)
        if (tensor.datatype == "BYTES") != (INPUTS[name] == "BYTES"):
            raise InvalidInputError(f"{name} must be {INPUTS[name]}", param=name)
    texts, ids, shape = _inputs(tensors)
    count = math.prod(shape)
    if count > max_inputs:
        raise TooManyInputsError(f"{count} inputs, at most {max_inputs} may be sent at a time")
    request = EmbeddingRequest(
        model=model,
        deadline_s=deadline_s,
        texts=texts,
        token_ids=ids,
        dimensions=_parameter(parameters, "dimensions", int),
        input_type=_parameter(parameters, "input_type", str),
        instruction=_parameter(parameters, "instruction", str),
        truncate=bool(_parameter(parameters, "truncate", bool)),
        pinned_space=pinned_space,
        tag=tag,
        cache=_parameter(parameters, "cache", bool) is not False,
        request_id=identity[0],
        journal=identity[1],
    )
    return request, shape


def check_parameters(parameters: Mapping[str, Parameter], also: frozenset[str]) -> None:
    """InvalidInputError for a parameter that would be ignored: it was meant to matter."""
    known = {"dimensions", "input_type", "instruction", "truncate", "cache", "timeout"} | also
    for name in parameters:
        if name not in known:
            raise InvalidInputError(
                f"there is no parameter {name[:64]!r}: known are {', '.join(sorted(known))}"
            )


def timeout_s(parameters: Mapping[str, Parameter], most_s: float) -> float:
    """Seconds that a request may take: the parameter `timeout` (microseconds), bounded."""
    asked = _parameter(parameters, "timeout", int)
    return most_s if not asked or asked < 0 else min(most_s * 1e6, asked) / 1e6


def output_tensor(result: EmbeddingResult, shape: tuple[int, ...]) -> Float32Array:
    """The EMBEDDING tensor, shape S + [dimension]."""
    return result.vectors.reshape(*shape, result.vectors.shape[1])


def check_outputs(names: list[str]) -> None:
    """InvalidInputError for an output that does not exist."""
    for name in names:
        if name != OUTPUT:
            raise InvalidInputError(f"there is no output {name[:64]!r}, only {OUTPUT}", param=name)


def _inputs(
    tensors: Mapping[str, Tensor],
) -> tuple[list[str] | None, list[list[int]] | None, tuple[int, ...]]:
    if set(tensors) == {"TEXT"}:
        text = tensors["TEXT"]
        _require_content([len(value) for value in text.values])  # type: ignore[arg-type]
        return text.values, None, text.shape  # type: ignore[return-value]
    if set(tensors) == {"INPUT_IDS", "LENGTHS"}:
        lengths = tensors["LENGTHS"]
        return None, _cut(tensors["INPUT_IDS"].values, lengths.values), lengths.shape  # type: ignore[arg-type]
    raise InvalidInputError("send either TEXT, or INPUT_IDS together with LENGTHS")


def _cut(ids: list[int], lengths: list[int]) -> list[list[int]]:
    _require_content(lengths)
    if sum(lengths) != len(ids):
        raise InvalidInputError(
            f"LENGTHS add up to {sum(lengths)}, but INPUT_IDS holds {len(ids)} ids",
            param="LENGTHS",
        )
    sequences, start = [], 0
    for length in lengths:
        sequences.append(ids[start : start + length])
        start += length
    return sequences


def _require_content(lengths: list[int]) -> None:
    if not lengths:
        raise InvalidInputError("there is no input: at least one is needed")
    for position, length in enumerate(lengths):
        if length < 1:
            raise InvalidInputError(f"input cannot be empty, input {position} is.")


def _parameter(parameters: Mapping[str, Parameter], name: str, kind: type[_Kind]) -> _Kind | None:
    value = parameters.get(name)
    if value is None:
        return None
    # Not isinstance: a boolean would pass for an integer.
    if type(value) is not kind:
        raise InvalidInputError(f"parameter {name} must be of type {kind.__name__}", param=name)
    return value


def _count(name: str, shape: tuple[int, ...]) -> int:
    if not 1 <= len(shape) <= _MAX_AXES or not all(0 <= size < _MOST for size in shape):
        raise InvalidInputError(
            f"{name}: its shape must have 1 to {_MAX_AXES} axes, none negative", param=name
        )
    return math.prod(shape)


def _checked(name: str, tensor: Tensor) -> Tensor:
    count = _count(name, tensor.shape)
    if len(tensor.values) != count:
        raise InvalidInputError(
            f"{name}: its shape asks for {count} values, {len(tensor.values)} came", param=name
        )
    return tensor


def _split_bytes(name: str, raw: bytes) -> list[bytes]:
    """Elements of a BYTES tensor: each a 4-byte little-endian length, then as many bytes."""
    items, start = [], 0
    while start < len(raw):
        if start + 4 > len(raw):
            raise InvalidInputError(f"{name}: its bytes end within a length", param=name)
        (size,) = struct.unpack_from("<I", raw, start)
        start += 4 + size
        if start > len(raw):
            raise InvalidInputError(f"{name}: its bytes end within an element", param=name)
        items.append(raw[start - size : start])
    return items


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{name}: an element is not valid UTF-8", param=name) from error
