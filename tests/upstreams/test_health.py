"""The watch over targets outlives what goes wrong in it."""

import asyncio
from typing import Any

from router.upstreams.fake import FakeUpstream
from router.upstreams.health import HealthWatch


async def test_a_defect_ends_no_watch() -> None:
    """Whoever hears of a change fails once: it is told of, and the target is asked on."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    fake, heard = FakeUpstream(8), []

    def report(name: str, ready: bool) -> None:
        heard.append((name, ready))
        if len(heard) == 1:
            raise RuntimeError("defect")

    watch = HealthWatch({"a": fake}, report)
    watch.start()
    await _until(lambda: watch.is_ready("a"))
    fake.is_ready = False
    await _until(lambda: not watch.is_ready("a"))
    fake.is_ready = True
    await _until(lambda: watch.is_ready("a"))
    await watch.close()
    assert heard == [("a", True), ("a", False), ("a", True)]
    assert [type(one["exception"]) for one in told] == [RuntimeError]


async def _until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
