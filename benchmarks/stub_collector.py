"""A collector that costs next to nothing: takes OTLP over HTTP and forgets it.

`python -m benchmarks.stub_collector PORT`.
"""

import sys

from aiohttp import web

_MOST_BYTES = 64 * 1024 * 1024


async def _take(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(content_type="application/x-protobuf")


def main() -> None:
    """Listen until ended."""
    app = web.Application(client_max_size=_MOST_BYTES)
    app.router.add_post("/v1/{signal}", _take)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
