"""The yardstick: a bare aiohttp pass-through, which forwards bytes and does nothing else.

`python -m benchmarks.passthrough PORT TARGET_PORT`. No keys, no counts, no checks: what is above
half of its speed with all of those is fast.
"""

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web


async def _serve(port: int, target: int) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def forward(request: web.Request) -> web.Response:
            url = f"http://127.0.0.1:{target}{request.path}"
            headers = {"content-type": "application/json"}
            async with session.post(url, data=await request.read(), headers=headers) as answer:
                return web.Response(
                    body=await answer.read(), status=answer.status, content_type="application/json"
                )

        app = web.Application(client_max_size=2**26)
        app.router.add_post("/{path:.*}", forward)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
