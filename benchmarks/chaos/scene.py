"""Providers of one space, the router's configuration for them, and the phases of a run."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chaos.faults import FAULTS
from benchmarks.chaos.load import DIMENSIONS, Client, Tally
from benchmarks.chaos.local_provider import LocalProvider
from router.domain.keys import fingerprint

ROUTER_KEY = "ew-chaos-key-chaos-key-chaos"
MODEL = "chaos"
# Base64 and floats, with and without usage, batches of few and of many.
KINDS = ("qwen", "together", "deepinfra")
KILL = "killed"
# Nothing fails at first: what is normal, and what the retry budget grows from.
CALM = "none"
PHASES = (CALM, KILL, *FAULTS)
# A quarantined target has to be right twice, a second apart; a breaker opens for a second and,
# after failed probes, for two.
RECOVERY_WINDOW_S = 6.0


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """One fault on all targets but one; `recovery_s` until the slowest of them served again."""

    name: str
    tally: Tally
    recovery_s: float | None
    window_s: float = RECOVERY_WINDOW_S

    @property
    def is_clean(self) -> bool:
        """Whether nothing was wrong, lost, or recovered after more than the time there was."""
        recovered = self.recovery_s is not None and self.recovery_s <= self.window_s
        return not self.tally.wrong and not self.tally.lost and recovered


class Scene:
    """Three providers behind one route; the survivor of a phase goes round."""

    def __init__(self, recovery_window_s: float = RECOVERY_WINDOW_S) -> None:
        self._window_s = recovery_window_s
        self.providers = [LocalProvider(kind, DIMENSIONS, delay_s=0.002) for kind in KINDS]

    @asynccontextmanager
    async def standing(self) -> AsyncIterator["Scene"]:
        """All providers listen, until the block ends."""
        try:
            for provider in self.providers:
                await provider.start()
            yield self
        finally:
            for provider in self.providers:
                await provider.stop()

    def settings(self, port: int, tokenizer: Path) -> dict[str, Any]:
        """The router's configuration: small calls, short pauses, everything else as it comes."""
        targets = {
            kind: {
                "space": "chaos-space",
                "upstream": "openai",
                "profile": kind,
                "url": provider.url,
                "model": "right",
                "api_key": {"env": "CHAOS_PROVIDER_KEY"},
                "max_inputs_per_call": 8,
                "timeout_s": 1.0,
            }
            for kind, provider in zip(KINDS, self.providers, strict=True)
        }
        space = {
            "model": "chaos",
            "dimensions": DIMENSIONS,
            "max_tokens": 128,
            "tokenizer": str(tokenizer),
            "verification": {"interval_s": 1.0},
        }
        key = {"name": "chaos", "sha256": fingerprint(ROUTER_KEY)}
        return {
            "server": {
                "port": port,
                "grpc_port": None,
                "request_timeout_s": 20,
                "log_requests": False,
            },
            "spaces": {"chaos-space": space},
            "targets": targets,
            "routes": {MODEL: {"targets": list(KINDS), "strategy": "weighted"}},
            "fallback": {"breaker_longest_open_s": 2.0},
            "cache": {"max_bytes": 1_000_000},
            "tenants": {"chaos": {"keys": [key]}},
        }

    async def phase(
        self, name: str, survivor: int, client: Client, concurrency: int, seconds: float
    ) -> PhaseResult:
        """The fault strikes in the middle of load, stays, and is taken away under load."""
        struck = [one for place, one in enumerate(self.providers) if place != survivor]
        tally = Tally()
        strike = asyncio.create_task(self._strike(name, struck, seconds * 0.2))
        tally.add(await client.load(concurrency, seconds))
        await strike
        before = [provider.served for provider in struck]
        await self._heal(name, struck)
        healed_s = time.perf_counter()
        recovery = asyncio.create_task(_recovered(struck, before, healed_s))
        tally.add(await client.load(concurrency, seconds * 0.4))
        while not recovery.done() and time.perf_counter() - healed_s < self._window_s:
            tally.add(await client.load(concurrency, 0.2))
        recovery.cancel()
        await asyncio.gather(recovery, return_exceptions=True)
        done = recovery.done() and not recovery.cancelled()
        return PhaseResult(name, tally, recovery.result() if done else None, self._window_s)

    async def _strike(self, name: str, struck: Sequence[LocalProvider], after_s: float) -> None:
        await asyncio.sleep(after_s)
        for provider in struck:
            if name == KILL:
                await provider.stop()
            else:
                provider.fault = FAULTS.get(name)

    async def _heal(self, name: str, struck: Sequence[LocalProvider]) -> None:
        for provider in struck:
            provider.fault = None
            if name == KILL:
                await provider.start()


async def _recovered(
    struck: Sequence[LocalProvider], before: Sequence[int], healed_s: float
) -> float:
    """Seconds until each has been asked by the router again, beyond being probed."""
    while any(  # noqa: ASYNC110 - nobody but time tells
        one.served - first < 3 for one, first in zip(struck, before, strict=True)
    ):
        await asyncio.sleep(0.02)
    return time.perf_counter() - healed_s
