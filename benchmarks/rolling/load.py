"""Closed-loop clients that know the right vector of every text and count whatever goes wrong."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import numpy as np
import orjson

TEXTS = [f"{word} {n}" for n in range(16) for word in ("harbour", "winter", "quay", "slate")]
# Batches of other company differ in the last bits; another text's vector is far off.
_TOLERANCE = 1e-3
_TIMEOUT = aiohttp.ClientTimeout(total=20)


@dataclass(slots=True)
class Load:
    """Asks again and again through one address; nothing is asked twice."""

    url: str
    key: str
    model: str
    right: list[np.ndarray] = field(default_factory=list)
    answers: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    targets: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def learn(self) -> None:
        """Ask for the right vectors while all is well."""
        async with self._session() as session:
            for text in TEXTS:
                answer, content = await self._ask(session, text)
                if answer.status != 200:
                    raise SystemExit(f"rolling: {content.decode()}")
                self.right.append(_vector(content))

    async def run(self, concurrency: int) -> None:
        """Keep so many requests under way until `stop`."""
        async with self._session() as session:
            await asyncio.gather(*(self._client(session, n) for n in range(concurrency)))

    def stop(self) -> None:
        """Answer what is under way, and end."""
        self._stop.set()

    def _session(self) -> aiohttp.ClientSession:
        headers = {"authorization": f"Bearer {self.key}"}
        return aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT)

    async def _client(self, session: aiohttp.ClientSession, place: int) -> None:
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            place = (place + 7) % len(TEXTS)
            began_s = loop.time()
            try:
                answer, content = await self._ask(session, TEXTS[place])
            except (aiohttp.ClientError, TimeoutError) as error:
                self.failed[type(error).__name__] += 1
                continue
            self.answers += 1
            self.slowest_s = max(self.slowest_s, loop.time() - began_s)
            if answer.status != 200:
                self.failed[str(orjson.loads(content)["error"]["message"])] += 1
                continue
            self.targets[answer.headers["x-embedway-target"]] += 1
            if np.abs(_vector(content) - self.right[place]).max() > _TOLERANCE:
                self.wrong += 1

    async def _ask(
        self, session: aiohttp.ClientSession, text: str
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        body = {"model": self.model, "input": text}
        async with session.post(self.url + "/v1/embeddings", json=body) as answer:
            return answer, await answer.read()


def _vector(content: bytes) -> np.ndarray:
    return np.array(orjson.loads(content)["data"][0]["embedding"], np.float32)
