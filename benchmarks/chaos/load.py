"""Closed-loop load that knows the right vector of every text that it sends."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import numpy as np
import orjson
import pybase64

from benchmarks.chaos.local_provider import text_vector

DIMENSIONS = 64
_TOLERANCE = 1e-5
_WORDS = ("harbour", "slate", "winter", "herring", "quay", "train", "crate", "ice", "boat", "noon")


@dataclass(slots=True)
class Tally:
    """What came of a stretch of load: `lost` by reason, `wrong` vectors, latencies in ms."""

    requests: int = 0
    wrong: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        """99th percentile of the latencies, 0 where there are none."""
        ordered = sorted(self.latencies_ms)
        return ordered[int(len(ordered) * 0.99)] if ordered else 0.0

    def add(self, other: "Tally") -> None:
        """Take another stretch in."""
        self.requests += other.requests
        self.wrong += other.wrong
        self.lost.update(other.lost)
        self.latencies_ms += other.latencies_ms


class Client:
    """Sends requests of one to `most` texts; a part of the texts comes again and again."""

    def __init__(self, url: str, key: str, model: str, most: int, seed: int) -> None:
        self._url = url + "/v1/embeddings"
        self._headers = {"authorization": f"Bearer {key}"}
        self._model = model
        self._most = most
        self._random = random.Random(seed)
        self._number = 0

    async def load(self, concurrency: int, seconds: float) -> Tally:
        """Keep `concurrency` requests under way for so long, and see the last of them answered."""
        tally, until_s = Tally(), time.perf_counter() + seconds
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers=self._headers) as session:

            async def worker() -> None:
                while time.perf_counter() < until_s:
                    await self._one(session, tally)

            await asyncio.gather(*(worker() for _ in range(concurrency)))
        return tally

    def _texts(self) -> list[str]:
        texts = []
        for _ in range(self._random.randint(1, self._most)):
            word = self._random.choice(_WORDS)
            if self._random.random() < 0.8:
                self._number += 1
                word = f"{word} {self._number}"
            texts.append(word)
        return texts

    async def _one(self, session: aiohttp.ClientSession, tally: Tally) -> None:
        texts = self._texts()
        body = {"model": self._model, "input": texts, "encoding_format": "base64"}
        started_s = time.perf_counter()
        async with session.post(self._url, data=orjson.dumps(body)) as answer:
            content = await answer.read()
        tally.requests += 1
        tally.latencies_ms.append((time.perf_counter() - started_s) * 1000)
        if answer.status != 200:
            tally.lost[str(orjson.loads(content)["error"]["code"])] += 1
        elif not _is_right(texts, content):
            tally.wrong += 1


def _is_right(texts: list[str], content: bytes) -> bool:
    items = orjson.loads(content)["data"]
    if [item["index"] for item in items] != list(range(len(texts))):
        return False
    rows = [np.frombuffer(pybase64.b64decode(item["embedding"]), "<f4") for item in items]
    return all(
        row.shape == (DIMENSIONS,)
        and bool(np.abs(row - text_vector(text, DIMENSIONS)).max() < _TOLERANCE)
        for text, row in zip(texts, rows, strict=True)
    )
