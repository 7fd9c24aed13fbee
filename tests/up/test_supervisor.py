"""A server that dies is started again, but not for ever."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator

import pytest

from router.domain.clock import SystemClock
from router.up import supervisor
from router.up.errors import TritonDiedError


class DyingTriton:
    """Dies as soon as it is watched; `loads` says whether each restart succeeds."""

    def __init__(self, loads: Iterable[bool]) -> None:
        self.starts = 0
        self._loads = iter(loads)

    async def wait_ended(self) -> None:
        await asyncio.sleep(0)

    def start(self) -> None:
        self.starts += 1

    def kill(self) -> None:
        pass

    async def wait_ready(self, models: Iterable[str], timeout_s: float) -> None:
        del models, timeout_s
        if not next(self._loads):
            raise TritonDiedError("Triton could not start: straw")


class Notes:
    """Stages that remember what they were told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @contextlib.contextmanager
    def stage(self, what: str) -> Iterator[None]:
        self.told.append(what)
        yield

    def note(self, sentence: str) -> None:
        self.told.append(sentence)


@pytest.mark.parametrize("loads", [True, False], ids=["serves and dies", "does not load"])
async def test_rapid_failures_end_it(loads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After as many rapid failures as there are backoffs it gives up, and says what that means."""
    monkeypatch.setattr(supervisor, "_BACKOFF_S", (0.0, 0.0, 0.0))
    triton, notes = DyingTriton([loads] * 3), Notes()
    await supervisor.supervise(triton, "m", 1.0, notes, SystemClock())
    assert triton.starts == 3
    assert notes.told[-1].endswith("requests are answered 503")
    assert notes.told.count("Triton ended unexpectedly: starting it again") == 3
    assert ("Triton could not start: straw" in notes.told) is not loads


async def test_a_long_life_forgives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures long apart are not counted together."""
    monkeypatch.setattr(supervisor, "_BACKOFF_S", (0.0,))
    monkeypatch.setattr(supervisor, "_LONG_LIFE_S", -1.0)
    triton = DyingTriton([True] * 5)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await supervisor.supervise(triton, "m", 1.0, Notes(), SystemClock())
    assert triton.starts == 6
