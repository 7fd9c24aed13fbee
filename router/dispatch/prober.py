"""Asks every target for vectors of golden texts, and decides whether it may serve its space."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from router.domain.errors import EmbedwayError, UpstreamContractError
from router.domain.ports import Upstream
from router.domain.types import Float32Array, Space, TokenBatch
from router.routing.splitting import joined, split
from router.routing.targets import Standing, TargetState
from router.routing.verification import Record, Tolerance
from router.vectors.agreement import Agreement, agreement
from router.vectors.checks import require_contract

_MOST_CALL_S = 60.0

# (target, its new standing, why)
Report = Callable[[str, Standing, str | None], None]


@dataclass(frozen=True, slots=True)
class WatchedSpace:
    """A space with its golden batches, its targets, and how often and strictly they are asked.

    `reference` is the target that the others are compared with, unless `known` (n, d) float32
    holds its vectors from an earlier day.
    """

    space: Space
    batches: Sequence[TokenBatch]
    targets: tuple[str, ...]
    reference: str
    tolerance: Tolerance
    interval_s: float
    retry_s: float = 1.0
    known: Float32Array | None = None


class Prober:
    """Keeps the standing of every target of the watched spaces up to date."""

    def __init__(
        self,
        spaces: Sequence[WatchedSpace],
        upstreams: Mapping[str, Upstream],
        states: Mapping[str, TargetState],
        is_ready: Callable[[str], bool],
        report: Report,
        previous: "Prober | None" = None,
        carried: Collection[str] = (),
        lone: Sequence[WatchedSpace] = (),
    ) -> None:
        """`upstreams` are asked without a canary. A reference without `known` is verified.

        `lone` are spaces with one target and nothing to hold it against: its vectors are seen once.

        Where a `previous` prober knows a space's vectors, they define the space: its reference has
        to be found equal, too. Of the `carried` targets all goes on as it was.
        """
        self._spaces = spaces
        self._upstreams = upstreams
        self._states = states
        self._is_ready = is_ready
        self._report = report
        self._references = {one.space.name: one.known for one in spaces if one.known is not None}
        self._lone = lone
        self.records = {name: Record() for one in (*spaces, *lone) for name in one.targets}
        self.alarms = {name: asyncio.Event() for name in self.records}
        if previous is not None:
            self._follow(previous, carried)
        self._tasks: list[asyncio.Task[None]] = []
        for one in spaces:
            if one.space.name not in self._references:
                states[one.reference].standing = Standing.VERIFIED

    def canary(self, space: str) -> Float32Array | None:
        """The reference's vector (d,) of the first golden text, once it is known."""
        reference = self._references.get(space)
        return None if reference is None else reference[0]

    def reference(self, space: str) -> Float32Array | None:
        """The reference's vectors (n, d) of the golden texts, once they are known."""
        return self._references.get(space)

    def knows(self, space: str) -> bool:
        """Whether the space's reference vectors are known."""
        return space in self._references

    def is_measured(self, name: str) -> bool:
        """Whether the target's vectors of the golden texts were seen, whatever they were."""
        record = self.records.get(name)
        return record is not None and record.measured

    def alarm(self, name: str) -> None:
        """A call has put the target out: it is checked again soon."""
        if name in self.alarms:
            self.alarms[name].set()

    def start(self) -> None:
        """Begin to probe; needs a running event loop."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._watch(one, name)) for one in self._spaces for name in one.targets
        ]
        self._tasks += [loop.create_task(self._see(one)) for one in self._lone]

    async def close(self) -> None:
        """Stop probing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def probe(self, watched: WatchedSpace, name: str) -> Agreement:
        """Compare one target with the reference and set its standing; EmbedwayError."""
        record, state = self.records[name], self._states[name]
        before = state.standing
        vectors = await self.golden_vectors(watched, name)
        reference = self._references.get(watched.space.name)
        if reference is None:
            if name != watched.reference:
                reference = await self.golden_vectors(watched, watched.reference)
            else:
                reference = vectors
            require_contract(reference, len(reference), watched.space.dimensions)
            self._references[watched.space.name] = reference
        found = agreement(vectors, reference)
        if state.standing is not before:
            # A call was answered wrongly while these vectors were on their way.
            return found
        state.standing = record.judge(before, found, watched.tolerance)
        if state.standing is not before:
            self._report(name, state.standing, record.fault)
        return found

    async def golden_vectors(self, watched: WatchedSpace, name: str) -> Float32Array:
        """Vectors (n, d) float32 of the golden texts as the target gives them; EmbedwayError."""
        limits, rows = self._states[name].limits, []
        for batch in watched.batches:
            answers = []
            for part in split(batch, limits.max_inputs, limits.max_call_tokens):
                timeout_s = min(limits.timeout_s, _MOST_CALL_S)
                vectors = await self._upstreams[name].embed(part.batch, timeout_s)
                answers.append((part.start, vectors))
            rows.append(joined(answers, batch.count))
        if len({vectors.shape[1] for vectors in rows}) > 1:
            raise UpstreamContractError("the target answered vectors of different dimensions")
        return np.concatenate(rows)

    def _follow(self, previous: "Prober", carried: Collection[str]) -> None:
        for one in self._spaces:
            vectors = previous.reference(one.space.name)
            if vectors is not None:
                self._references.setdefault(one.space.name, vectors)
        for name in self.records:
            if name in carried and name in previous.records:
                # The same objects: a call that is still under way there rings the bell here.
                self.records[name] = previous.records[name]
                self.alarms[name] = previous.alarms[name]

    async def _watch(self, watched: WatchedSpace, name: str) -> None:
        record, loop = self.records[name], asyncio.get_running_loop()
        if self._states[name].standing is Standing.VERIFIED and record.due_s > loop.time():
            await self._pause(name, record.due_s - loop.time(), watched.retry_s)
        while True:
            pause_s = watched.retry_s
            waits = name != watched.reference and watched.space.name not in self._references
            if self._is_ready(name) and not waits:
                try:
                    await self.probe(watched, name)
                except EmbedwayError:
                    # It cannot be reached: that is the breaker's matter, and no drift.
                    pass
                except Exception as error:  # noqa: BLE001 - the top of a worker loop
                    _report_defect(error)
                else:
                    verified = self._states[name].standing is Standing.VERIFIED
                    pause_s = watched.interval_s if verified else watched.retry_s
            record.due_s = loop.time() + pause_s
            await self._pause(name, pause_s, watched.retry_s)

    async def _see(self, watched: WatchedSpace) -> None:
        """Wait for a lone target's vectors of the golden texts. They decide nothing."""
        name, pause_s = watched.reference, watched.retry_s
        record = self.records[name]
        while not record.measured:
            if self._is_ready(name):
                try:
                    vectors = await self.golden_vectors(watched, name)
                    require_contract(vectors, len(vectors), watched.space.dimensions)
                except Exception as error:  # noqa: BLE001 - the top of a worker loop
                    if not isinstance(error, EmbedwayError):
                        _report_defect(error)
                    # A provider may bill what it answers wrongly: it is asked less and less often.
                    pause_s = min(2 * pause_s, max(watched.interval_s, watched.retry_s))
                else:
                    record.measured = True
                    return
            await asyncio.sleep(pause_s)

    async def _pause(self, name: str, pause_s: float, retry_s: float) -> None:
        """Wait for the next check; not long where a call has shown that one is due."""
        alarm = self.alarms[name]
        try:
            async with asyncio.timeout(pause_s):
                await alarm.wait()
        except TimeoutError:
            return
        alarm.clear()
        await asyncio.sleep(retry_s)


def _report_defect(error: Exception) -> None:
    """Tell of it and go on: without this loop the target's standing would never change again."""
    context = {"message": "probing a target", "exception": error}
    asyncio.get_running_loop().call_exception_handler(context)
