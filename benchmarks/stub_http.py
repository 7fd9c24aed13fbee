"""An OpenAI-shaped target that costs next to nothing, for the pass-through to stand before.

`python -m benchmarks.stub_http PORT`. The path names the shape: /<texts>/<dimensions>/<encoding>.
"""

import asyncio
import sys
from typing import cast

import httptools
import uvloop

from benchmarks.cells import SHAPES
from benchmarks.vectors import openai_body


def answers() -> dict[bytes, bytes]:
    """The whole HTTP answer by path."""
    return {path_of(shape.name): _answer(openai_body(shape)) for shape in SHAPES}


def path_of(name: str) -> bytes:
    """Path of a shape by its name."""
    return b"/" + name.replace("x", "/").replace(" ", "/").encode()


def _answer(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


class _Connection(asyncio.Protocol):
    def __init__(self, ready: dict[bytes, bytes]) -> None:
        self._ready = ready
        self._path = b""
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, though they do all of it.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_message_complete(self) -> None:
        self._transport.write(self._ready[self._path])


async def _serve(port: int) -> None:
    ready = answers()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(ready), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(_serve(int(sys.argv[1])))
