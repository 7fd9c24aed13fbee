"""Clients that count what they are answered, and know which requests they cannot know about."""

import asyncio
import itertools
import random
import time
from collections import Counter
from dataclasses import dataclass

import aiohttp
import orjson

from benchmarks.stress.routers import KEYS, ROUTE, Plan

_TIMEOUT = aiohttp.ClientTimeout(total=20)
_WORD = "harbour "
_MOST_WORDS = 10


@dataclass(frozen=True, slots=True)
class Answered:
    """A 200: tokens and cost (nano-USD) as the router told them."""

    tokens: int
    cost: int


class Clients:
    """Asks the routers in turn; `answered` and `unknown` are by request id."""

    def __init__(self, plan: Plan, ports: list[int]) -> None:
        self.plan = plan
        self.answered: dict[str, Answered] = {}
        # The connection broke: the answer may have been made, and was not read.
        self.unknown: set[str] = set()
        self.refused: Counter[int] = Counter()
        self.denied_falsely = 0
        self.enough_latencies_ms: list[float] = []
        self._ports = itertools.cycle(ports)
        self._numbers = itertools.count()
        self._random = random.Random(7)

    async def ask_for_all_there_is(self) -> None:
        """As many requests as the tenant `enough` may make, all processes at once, none killed."""
        left = iter(range(self.plan.enough))
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:

            async def work() -> None:
                for _ in left:
                    status = 0
                    # What the target fails at costs nothing, so it is asked for again.
                    while status not in (200, 402, 429):
                        begun_s = time.perf_counter()
                        status = await self._ask(session, "enough")
                        self.enough_latencies_ms.append((time.perf_counter() - begun_s) * 1000)
                    self.denied_falsely += status != 200

            await asyncio.gather(*(work() for _ in range(self.plan.clients)))

    async def ask_for(self, seconds: float) -> None:
        """Requests of the tenant `small` for that long, whatever becomes of them."""
        until_s = time.monotonic() + seconds
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:

            async def work() -> None:
                while time.monotonic() < until_s:
                    if await self._ask(session, "small") != 200:
                        await asyncio.sleep(0.02)

            await asyncio.gather(*(work() for _ in range(self.plan.clients)))

    def summary(self) -> str:
        """One line for those who watch."""
        refused = ", ".join(f"{count} x {status}" for status, count in self.refused.items())
        return f"{len(self.answered)} answered, {refused}, {len(self.unknown)} unknown"

    async def _ask(self, session: aiohttp.ClientSession, tenant: str) -> int:
        """The status, 0 where the connection could not be made or broke."""
        name = f"{tenant}-{next(self._numbers)}"
        text = _WORD * self._random.randint(1, _MOST_WORDS)
        url = f"http://127.0.0.1:{next(self._ports)}/v1/embeddings"
        headers = {"authorization": f"Bearer {KEYS[tenant]}", "x-request-id": name}
        body = {"model": ROUTE, "input": text, "encoding_format": "base64"}
        try:
            async with session.post(url, json=body, headers=headers) as response:
                data = await response.read()
                if response.status != 200:
                    self.refused[response.status] += 1
                    return response.status
                cost = round(float(response.headers["x-embedway-cost-usd"]) * 1e9)
                tokens = orjson.loads(data)["usage"]["total_tokens"]
                self.answered[name] = Answered(tokens, cost)
                return 200
        except aiohttp.ClientConnectorError:
            return 0
        except (aiohttp.ClientError, TimeoutError):
            self.unknown.add(name)
            return 0
