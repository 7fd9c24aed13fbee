"""What happens to requests, counted: the doors, the pipeline and the dispatcher report here.

On the way of every request, so each kind of event finds its series together, with one look.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from router.domain.clock import Clock
from router.domain.errors import QuotaError
from router.domain.journal import Attempt, may_be_billed
from router.domain.usage import OK, Receipt
from router.telemetry import metric_names as names
from router.telemetry.registry import OTHER, Labels, Registry
from router.telemetry.series import Counter, Histogram

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OPERATION = "embeddings"
_A_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What metrics tell of a target; the price is nano-USD per million tokens, None unknown."""

    provider: str
    model: str
    price_nano_usd: int | None


@dataclass(frozen=True, slots=True)
class Known:
    """Names that may be labels: of the configuration."""

    routes: Collection[str]
    targets: Mapping[str, TargetFacts]
    tenants: Collection[str]


@dataclass(slots=True)
class _Calls:
    """The series of calls to one target with one end; the price is 0 where that end is free."""

    calls: Counter
    duration: Histogram
    usage: Histogram
    cost: Counter
    price_nano_usd: float


class Meters:
    """Counts. Belongs to the event loop's thread."""

    def __init__(self, registry: Registry, known: Known, max_tenants: int, clock: Clock) -> None:
        """Tenants over `max_tenants` are counted together, those of the file last of all."""
        self._clock = clock
        self._max_tenants = max_tenants
        self._tenants: set[str] = set()
        self._http = registry.histogram(names.HTTP_DURATION)
        self._requests = registry.counter(names.REQUESTS)
        self._request_duration = registry.histogram(names.REQUEST_DURATION)
        self._tokens = registry.counter(names.TOKENS)
        self._tenant_requests = registry.counter(names.TENANT_REQUESTS)
        self._tenant_tokens = registry.counter(names.TENANT_TOKENS)
        self._tenant_cost = registry.counter(names.TENANT_COST)
        self._refusals = registry.counter(names.QUOTA_REFUSALS)
        self._reroutes = registry.counter(names.REROUTES)
        self._target_calls = registry.counter(names.TARGET_CALLS)
        self._target_cost = registry.counter(names.TARGET_COST)
        self._operation = registry.histogram(names.OPERATION_DURATION)
        self._usage = registry.histogram(names.TOKEN_USAGE)
        self._calls: dict[tuple[str, str], _Calls] = {}
        self._known = known
        self.reconfigure(known)

    def reconfigure(self, known: Known) -> None:
        """Take the names of another configuration; requests under way may still use older ones."""
        targets = {**self._known.targets, **known.targets}
        self._known = Known(known.routes, targets, known.tenants)
        self._calls.clear()
        for tenant in known.tenants:
            self.tenant(tenant)

    def tenant(self, name: str) -> str:
        """The label of a tenant: its name, or `other` once there are too many."""
        if name in self._tenants:
            return name
        if len(self._tenants) < self._max_tenants:
            self._tenants.add(name)
            return name
        return OTHER

    def http(
        self, method: str, path: str, status: int, seconds: float, error: str, trace_id: str
    ) -> None:
        """An HTTP request has ended; `path` is a template, `error` a code or empty."""
        labels: Labels = (
            method if method in _METHODS else "_OTHER",
            path,
            str(status),
            "http",
            error if status >= 500 else "",
        )
        wall_s = self._clock.wall_s() if trace_id else 0.0
        self._http.of(*labels).observe(seconds, trace_id, wall_s)

    def request(
        self, model: str | None, tenant: str | None, outcome: str, seconds: float, trace_id: str
    ) -> None:
        """An embedding request has ended at a door: ok, cancelled, or with an error's code."""
        route = model if model in self._known.routes and model is not None else ""
        self._requests.of(route, outcome).add()
        if tenant is not None:
            self._tenant_requests.of(self.tenant(tenant), outcome).add()
        if outcome == OK:
            wall_s = self._clock.wall_s() if trace_id else 0.0
            self._request_duration.of(route).observe(seconds, trace_id, wall_s)

    def embedded(
        self, route: str, tenant: str, tokens: int, saved_tokens: int, receipt: Receipt | None
    ) -> None:
        """A request has its vectors."""
        label = self.tenant(tenant)
        if tokens > saved_tokens:
            self._tokens.of(route, "computed").add(tokens - saved_tokens)
        if saved_tokens:
            self._tokens.of(route, "saved").add(saved_tokens)
        self._tenant_tokens.of(label).add(tokens)
        if receipt is not None and receipt.cost_nano_usd:
            self._tenant_cost.of(label).add(receipt.cost_nano_usd)

    def unanswered(self, tenant: str, receipt: Receipt) -> None:
        """A request that was let in ended without vectors; its calls may cost something."""
        if receipt.cost_nano_usd:
            self._tenant_cost.of(self.tenant(tenant)).add(receipt.cost_nano_usd)

    def attempted(self, attempts: Sequence[Attempt], trace_id: str) -> None:
        """Calls that a request made, however they ended."""
        wall_s = self._clock.wall_s() if trace_id else 0.0
        for attempt in attempts:
            key = (attempt.target, attempt.outcome)
            series = self._calls.get(key) or self._found(*key)
            series.calls.add()
            series.duration.observe(attempt.latency_ms / 1000, trace_id, wall_s)
            if attempt.outcome == OK:
                series.usage.observe(attempt.tokens)
            if series.price_nano_usd:
                series.cost.add(attempt.tokens * series.price_nano_usd)

    def refused(self, tenant: str, error: QuotaError) -> None:
        """A quota stood in the way. Its id names scope, subject, unit, window and mode."""
        scope, _, rest = error.quota.partition(":")
        subject, *_, window, _ = (*rest.rsplit(":", 3), "", "")
        told = subject if scope == "route" else self.tenant(tenant)
        self._refusals.of(scope, told, error.unit, window, error.code).add()

    def rerouted(self, route: str, target: str, kind: str, reason: str) -> None:
        """Another call is made for a request: fallback, retry, hedge or split."""
        self._reroutes.of(route, kind, target, reason).add()

    def _found(self, target: str, outcome: str) -> _Calls:
        facts = self._known.targets[target]
        about = (_OPERATION, facts.provider, facts.model, target)
        price = facts.price_nano_usd or 0 if may_be_billed(outcome) else 0
        made = _Calls(
            calls=self._target_calls.of(target, outcome),
            duration=self._operation.of(*about, "" if outcome == OK else outcome),
            usage=self._usage.of(*about, "input"),
            cost=self._target_cost.of(target),
            price_nano_usd=price / _A_MILLION,
        )
        self._calls[target, outcome] = made
        return made
