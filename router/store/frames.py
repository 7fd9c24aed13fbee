"""How entries lie in a spool's segment: a header, then JSON; what is not there is zeros.

An entry that its writer did not finish has the wrong checksum, and is as if it had never been.
"""

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

# Bytes of JSON, its CRC-32, the request's number, and the kind.
HEADER = struct.Struct("<IIQc")
INTENT = b"I"  # what a request will have used if nothing more is heard of it
RECORD = b"R"  # what it did use

Buffer = bytes | mmap.mmap


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry and the offset where the next one begins."""

    kind: bytes
    number: int
    payload: bytes
    next_offset: int


def header(kind: bytes, number: int, payload: bytes) -> bytes:
    """The bytes that come before an entry's JSON."""
    return HEADER.pack(len(payload), zlib.crc32(payload), number, kind)


def entries(data: Buffer, start: int, end: int) -> Iterator[Entry]:
    """Whole entries that lie in data[start:end], in order; ends at the first that is not whole."""
    while start + HEADER.size <= end:
        size, checksum, number, kind = HEADER.unpack_from(data, start)
        begin = start + HEADER.size
        start = begin + size
        if size == 0 or start > end:
            return
        payload = bytes(data[begin:start])
        if zlib.crc32(payload) != checksum:
            return
        yield Entry(kind, number, payload, start)
