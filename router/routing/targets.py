"""What is known of a target at the moment: may it be called, how fast is it, what does it cost."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from router.domain.errors import EmbedwayError, UpstreamError, UpstreamOverloadedError
from router.routing.breaker import Breaker, BreakerLimits
from router.routing.fallback import Remedy, judge
from router.routing.figures import CallFigures
from router.routing.latency import Latency
from router.routing.throughput import Throughput


class Standing(Enum):
    """Whether a target's vectors were found to be those of its space."""

    UNVERIFIED = "unverified"
    VERIFIED = "verified"
    QUARANTINED = "quarantined"


class Trust:
    """A deployment's standing, and how often it was found wrong so far.

    Vectors are used only if that has not happened between their call and their coming.
    """

    __slots__ = ("_standing", "quarantines")

    def __init__(self) -> None:
        self._standing = Standing.UNVERIFIED
        self.quarantines = 0

    @property
    def standing(self) -> Standing:
        """Where it stands now."""
        return self._standing

    @standing.setter
    def standing(self, standing: Standing) -> None:
        if standing is Standing.QUARANTINED and self._standing is not standing:
            self.quarantines += 1
        self._standing = standing


@dataclass(frozen=True, slots=True)
class TargetLimits:
    """What a target takes in one call and is worth; None is no limit, or an unknown price."""

    max_inputs: int | None = None
    max_input_tokens: int | None = None
    max_call_tokens: int | None = None
    takes_ids: bool = True
    price_usd: float | None = None
    weight: float = 1.0
    timeout_s: float = math.inf


class TargetState:
    """One target; it hears of every call, and of what the target says of itself."""

    def __init__(
        self,
        name: str,
        limits: TargetLimits,
        breaker: BreakerLimits,
        is_ready: Callable[[str], bool],
        monotonic_s: Callable[[], float],
    ) -> None:
        """`is_ready` is asked by name; the standing begins unverified."""
        self.name = name
        self.limits = limits
        self.breaker = Breaker(breaker)
        self.latency = Latency()
        self.trust = Trust()
        self.throughput = Throughput()
        self.figures = CallFigures()
        self.calls = 0
        self.failures = 0
        self.tokens = 0
        self.counted_tokens = 0
        self.billed_tokens = 0
        self.is_ready = is_ready
        self._monotonic_s = monotonic_s
        self.rest_cause: UpstreamError | None = None
        self._resting_until_s = 0.0
        self._told_busy_s = 0.0

    @property
    def standing(self) -> Standing:
        """Whether its vectors were found to be those of its space."""
        return self.trust.standing

    @standing.setter
    def standing(self, standing: Standing) -> None:
        self.trust.standing = standing

    @property
    def tokens_in_flight(self) -> int:
        """Tokens of calls under way."""
        return self.throughput.tokens_in_flight

    def rate_limited(self, remaining: int, reset_s: float) -> None:
        """The target says what is left; it is left alone once that is nothing."""
        if remaining <= 0:
            self.rest(reset_s, UpstreamOverloadedError("the target's rate limit is used up"))

    def billed(self, counted_tokens: int, billed_tokens: int) -> None:
        """The target says what it bills; both counts are kept to be compared."""
        self.counted_tokens += counted_tokens
        self.billed_tokens += billed_tokens

    def rest(self, seconds: float, cause: UpstreamError) -> None:
        """Leave the target alone for so long; callers whom nobody can serve are told the cause."""
        until_s = self._monotonic_s() + seconds
        if until_s > self._resting_until_s:
            self._resting_until_s = until_s
            self.rest_cause = cause

    def started(self, tokens: int) -> int:
        """A call starts; its number, which its end is told with."""
        now_s = self._monotonic_s()
        self.calls += 1
        self.throughput.started(tokens, now_s)
        return self.breaker.started(now_s)

    def succeeded(self, call: int, tokens: int, latency_s: float) -> None:
        """It gave vectors."""
        now_s = self._monotonic_s()
        self.throughput.ended(tokens, tokens, now_s)
        self.tokens += tokens
        self.latency.observe(latency_s, now_s)
        self.figures.answered(tokens, latency_s, self._newly_busy_s(), now_s)
        self.breaker.succeeded(call)

    def failed(self, call: int, tokens: int, latency_s: float, error: EmbedwayError) -> None:
        """It failed; how, says what follows for it."""
        judgement = judge(error)
        self.failures += 1
        now_s = self._monotonic_s()
        self.throughput.ended(tokens, 0, now_s)
        is_refusal = judgement.remedy is Remedy.SMALLER_PARTS and not judgement.counts
        self.figures.failed(None if is_refusal else error.code, self._newly_busy_s(), now_s)
        if judgement.rest_s and isinstance(error, UpstreamError):
            self.rest(judgement.rest_s, error)
        if judgement.quarantine:
            self.standing = Standing.QUARANTINED
        if judgement.counts:
            self.latency.observe(latency_s, now_s)
            self.breaker.failed(call, now_s)
        else:
            self.breaker.abandoned(call)

    def abandoned(self, call: int, tokens: int) -> None:
        """Nobody waited for its end."""
        now_s = self._monotonic_s()
        self.throughput.ended(tokens, 0, now_s)
        self.figures.failed(None, self._newly_busy_s(), now_s)
        self.breaker.abandoned(call)

    def busy_s(self) -> float:
        """Seconds in which at least one call was under way, up to now."""
        return self.throughput.busy_until_s(self._monotonic_s())

    def may_be_called(self) -> bool:
        """Whether nothing speaks against a call at this moment."""
        return self.obstacle() is None

    def obstacle(self) -> str | None:
        """Why the target is not to be called now, or None."""
        standing = self.trust.standing
        if standing is not Standing.VERIFIED:
            return str(standing.value)
        if not self.is_ready(self.name):
            return "not ready"
        now_s = self._monotonic_s()
        if self._resting_until_s > now_s:
            return f"resting for {self._resting_until_s - now_s:.1f} s, as it asked"
        if not self.breaker.allows(now_s):
            return f"breaker open for {self.breaker.remaining_s(now_s):.1f} s"
        return None

    def is_last_resort(self) -> bool:
        """Whether only its breaker speaks against a call: better than no target at all."""
        return self.is_up() and not self.rest_s()

    def is_up(self) -> bool:
        """Whether it is ready and of its space, however busy."""
        return self.standing is Standing.VERIFIED and self.is_ready(self.name)

    def rest_s(self) -> float:
        """Seconds that the target is still left alone, as it asked."""
        return max(0.0, self._resting_until_s - self._monotonic_s())

    def predicted_s(self) -> float:
        """What a call is likely to take now."""
        return self.latency.peak_s(self._monotonic_s())

    def predicted_wait_s(self) -> float:
        """What a call is likely to take now, with what is in flight before it."""
        return max(self.predicted_s(), self.throughput.wait_s())

    def load(self, tokens: int) -> float:
        """Peak latency times tokens in flight, the new ones included: less is better."""
        return (self.predicted_s() + 1e-4) * (self.tokens_in_flight + tokens)

    def _newly_busy_s(self) -> float:
        """Seconds that it was busy since this was last asked."""
        busy_s, self._told_busy_s = (
            self.throughput.busy_s - self._told_busy_s,
            self.throughput.busy_s,
        )
        return busy_s
