"""Every metric of the router, by name: those of the semantic conventions, and our own.

Source: OpenTelemetry semantic conventions, HTTP metrics (stable) and GenAI metrics (development);
a test pins the names. Buckets below 10 ms are added to the GenAI ones: a short query is faster.
Labels hold names from the configuration and codes of our own, and tenants up to a bound.
"""

from router.telemetry.metric import Metric

_HTTP_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_CALL_BOUNDS = (0.001, 0.0025, 0.005, *(round(0.01 * 2**n, 2) for n in range(14)))
_TOKEN_BOUNDS = tuple(float(4**n) for n in range(14))
_GEN_AI = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "target")
_QUOTA = ("scope", "subject", "unit", "window", "mode")

# Requests, at the doors.
HTTP_DURATION = Metric(
    "http.server.request.duration", "histogram", "s", "Duration of HTTP requests.",
    ("http.request.method", "http.route", "http.response.status_code", "url.scheme", "error.type"),
    bounds=_HTTP_BOUNDS, exemplars=True,
)  # fmt: skip
REQUESTS = Metric(
    "embedway.requests", "counter", "{request}",
    "Embedding requests by their end: ok, cancelled, or the code of the error. "
    "An empty route: a model that there is none of, or a request refused before it was read.",
    ("route", "outcome"),
)  # fmt: skip
REQUEST_DURATION = Metric(
    "embedway.request.duration", "histogram", "s", "Duration of answered embedding requests.",
    ("route",), bounds=_CALL_BOUNDS, exemplars=True,
)  # fmt: skip
TOKENS = Metric(
    "embedway.tokens", "counter", "{token}",
    "Input tokens of answered requests: computed, or saved by the cache and by sharing.",
    ("route", "source"),
)  # fmt: skip

# Who pays.
TENANT_REQUESTS = Metric(
    "embedway.tenant.requests", "counter", "{request}", "Embedding requests of a tenant.",
    ("tenant", "outcome"),
)  # fmt: skip
TENANT_TOKENS = Metric(
    "embedway.tenant.tokens", "counter", "{token}", "Input tokens of a tenant's answered requests.",
    ("tenant",),
)  # fmt: skip
TENANT_COST = Metric(
    "embedway.tenant.cost", "counter", "USD", "What a tenant's requests cost: calls that a "
    "target may bill, answered or not; of each request no more than was reserved for it.",
    ("tenant",), scale=1e-9,
)  # fmt: skip
QUOTA_SPENT = Metric(
    "embedway.quota.spent", "gauge", "", "Spent of a tenant's or route's quota in this window, "
    "by the ledger; in requests, tokens or USD.", _QUOTA, "max",
)  # fmt: skip
QUOTA_LIMIT = Metric(
    "embedway.quota.limit", "gauge", "", "Limit of a tenant's or route's quota.", _QUOTA, "max"
)
QUOTA_USED = Metric(
    "embedway.quota.used_ratio", "gauge", "", "Spent by limit of a quota; of tenants beyond "
    "`max_tenants` the highest, as subject `other`.", _QUOTA, "max",
)  # fmt: skip
QUOTA_REFUSALS = Metric(
    "embedway.quota.refusals", "counter", "{request}", "Requests that a quota refused.",
    ("scope", "subject", "unit", "window", "reason"),
)  # fmt: skip

# Leases, spool and store.
LEASE_ASKS = Metric(
    "embedway.leases.asks", "counter", "{ask}", "Asks for leases: granted, refused or failed.",
    ("outcome",),
)  # fmt: skip
LEASE_TRANSACTIONS = Metric(
    "embedway.leases.transactions", "counter", "{transaction}",
    "Transactions in which leases were asked for.",
)  # fmt: skip
LEASE_RETURNS = Metric(
    "embedway.leases.returns", "counter", "{lease}", "Leases whose unspent part was given back."
)
LEASES_HELD = Metric("embedway.leases.held", "gauge", "{lease}", "Quotas with a lease here.")
SPOOL_DEPTH = Metric(
    "embedway.spool.depth", "gauge", "{record}", "Usage records that the ledger does not have yet."
)
SPOOL_BYTES = Metric(
    "embedway.spool.size", "gauge", "By", "Bytes of the spool that the ledger has not seen."
)
STORE_REACHABLE = Metric(
    "embedway.store.reachable", "gauge", "", "Whether the store answers: for keys, for the ledger.",
    ("part",), "min",
)  # fmt: skip

# Calls to targets.
OPERATION_DURATION = Metric(
    "gen_ai.client.operation.duration", "histogram", "s", "Duration of calls to targets.",
    (*_GEN_AI, "error.type"), bounds=_CALL_BOUNDS, exemplars=True,
)  # fmt: skip
TOKEN_USAGE = Metric(
    "gen_ai.client.token.usage", "histogram", "{token}", "Tokens of calls to targets.",
    (*_GEN_AI, "gen_ai.token.type"), bounds=_TOKEN_BOUNDS,
)  # fmt: skip
TARGET_CALLS = Metric(
    "embedway.target.calls", "counter", "{call}",
    "Calls to a target by their end: ok, cancelled, or the code of the error.",
    ("target", "outcome"),
)  # fmt: skip
TARGET_TOKENS = Metric(
    "embedway.target.tokens", "counter", "{token}", "Tokens that a target computed.", ("target",)
)
TARGET_COUNTED = Metric(
    "embedway.target.counted_tokens", "counter", "{token}",
    "Tokens of billed calls as the router counts them.", ("target",),
)  # fmt: skip
TARGET_BILLED = Metric(
    "embedway.target.billed_tokens", "counter", "{token}",
    "Tokens of the same calls as the target bills them.", ("target",),
)  # fmt: skip
TARGET_COST = Metric(
    "embedway.target.cost", "counter", "USD", "What a target's calls cost at its price: "
    "those that gave vectors, that broke the contract, and that nobody waited for any longer.",
    ("target",), scale=1e-9,
)  # fmt: skip
TARGET_PRICE = Metric(
    "embedway.target.price", "gauge", "USD", "Price of a million tokens; absent if not known.",
    ("target",), "max",
)  # fmt: skip
REROUTES = Metric(
    "embedway.reroutes", "counter", "{call}",
    "Further calls for a request: fallback to another target, retry at the same one, hedge, "
    "split to find a refused input. `target` is the one before, `reason` its error.",
    ("route", "kind", "target", "reason"),
)  # fmt: skip
RETRY_BALANCE = Metric(
    "embedway.retry.balance", "gauge", "{call}", "Retries that may start at once.", (), "min"
)

# Targets as they are.
TARGET_READY = Metric(
    "embedway.target.ready", "gauge", "",
    "Share of workers that take the target for ready.", ("target", "space"), "mean",
)  # fmt: skip
TARGET_STANDING = Metric(
    "embedway.target.standing", "gauge", "",
    "Share of workers for which the target is verified, unverified or quarantined.",
    ("target", "space", "standing"), "mean",
)  # fmt: skip
BREAKER_OPEN = Metric(
    "embedway.breaker.open", "gauge", "", "Share of workers whose breaker for the target is open.",
    ("target",), "mean",
)  # fmt: skip
RESTING = Metric(
    "embedway.target.resting", "gauge", "s", "Time for which the target is left alone, "
    "as it asked.", ("target",), "max",
)  # fmt: skip
ROUTE_TARGETS = Metric(
    "embedway.route.targets", "gauge", "{target}", "Targets of a route.", ("route",), "max"
)
ROUTE_CALLABLE = Metric(
    "embedway.route.targets_callable", "gauge", "{target}",
    "Targets of a route that nothing speaks against calling: mean over workers.",
    ("route",), "mean",
)  # fmt: skip
ROUTE_OPEN = Metric(
    "embedway.route.targets_open", "gauge", "{target}",
    "Targets of a route whose breaker is open: mean over workers.", ("route",), "mean",
)  # fmt: skip
IN_FLIGHT_REQUESTS = Metric(
    "embedway.target.requests_in_flight", "gauge", "{call}", "Calls under way.", ("target",)
)
IN_FLIGHT_TOKENS = Metric(
    "embedway.target.tokens_in_flight", "gauge", "{token}", "Tokens under way.", ("target",)
)
THROUGHPUT = Metric(
    "embedway.target.tokens_per_second", "gauge", "",
    "Tokens a second that the target was seen to compute while busy: the best of late.",
    ("target",),
)  # fmt: skip
PREDICTED_WAIT = Metric(
    "embedway.predicted_wait", "gauge", "s",
    "Tokens in flight by measured tokens a second: what a request has before it.",
    ("target",), numerator=IN_FLIGHT_TOKENS, denominator=THROUGHPUT,
)  # fmt: skip
BATCH_CALLS = Metric(
    "embedway.batch.calls", "counter", "{call}", "Calls that joined requests leave in.", ("target",)
)
BATCH_MEMBERS = Metric(
    "embedway.batch.requests", "counter", "{request}", "Requests that left in joined calls.",
    ("target",),
)  # fmt: skip
BATCH_PADDED = Metric(
    "embedway.batch.padded_tokens", "counter", "{token}",
    "Places in padded batches, padding included; only of targets that take padded batches.",
    ("target",),
)  # fmt: skip
BATCH_REAL = Metric(
    "embedway.batch.tokens", "counter", "{token}", "Tokens in the same padded batches.",
    ("target",),
)  # fmt: skip
AGREEMENT_COSINE = Metric(
    "embedway.space.agreement_cosine", "gauge", "",
    "Worst cosine of a target's golden vectors with its space's reference, at the last check.",
    ("space", "target"), "min",
)  # fmt: skip
AGREEMENT_RANK = Metric(
    "embedway.space.agreement_rank", "gauge", "",
    "Agreement of rankings (Spearman) at the last check.", ("space", "target"), "min",
)  # fmt: skip

# Memory of vectors.
CACHE_LOOKUPS = Metric(
    "embedway.cache.lookups", "counter", "{input}", "Inputs looked up in memory: hit or miss.",
    ("outcome",),
)  # fmt: skip
CACHE_BYTES = Metric("embedway.cache.size", "gauge", "By", "Bytes of remembered vectors.")
CACHE_ENTRIES = Metric("embedway.cache.entries", "gauge", "{vector}", "Remembered vectors.")

# The router itself.
GENERATION = Metric(
    "embedway.configuration.generation", "gauge", "",
    "Number of the configuration that is served; the oldest, if workers differ.", (), "min",
)  # fmt: skip
CONFIGURATION = Metric(
    "embedway.configuration.info", "gauge", "", "1 for the hash of each configuration in service.",
    ("hash",), "max",
)  # fmt: skip
PENDING_ERROR = Metric(
    "embedway.configuration.pending_error", "gauge", "",
    "Whether a newer configuration could not be taken over.", (), "max",
)  # fmt: skip
KEY_EXPIRY = Metric(
    "embedway.key.expiry", "gauge", "s", "Time until the next key expires; absent if none will.",
    (), "min",
)  # fmt: skip
CERTIFICATE_EXPIRY = Metric(
    "embedway.certificate.expiry", "gauge", "s",
    "Time until a certificate of `telemetry.metrics.certificates` expires.", ("file",), "min",
)  # fmt: skip
BUILD = Metric(
    "embedway.build.info", "gauge", "", "1 for the version in service.", ("version", "python"),
    "max",
)  # fmt: skip
WORKERS = Metric("embedway.workers", "gauge", "{process}", "Worker processes that live.")
LOOP_LAG = Metric(
    "embedway.event_loop.lag", "gauge", "s", "How late the event loop was, at worst of late.", (),
    "max",
)  # fmt: skip
CPU_TIME = Metric("process.cpu.time", "counter", "s", "CPU time of the workers.")
MEMORY = Metric("process.memory.usage", "gauge", "By", "Physical memory of the workers.")
DROPPED = Metric(
    "embedway.telemetry.dropped", "counter", "{item}",
    "Telemetry that was given up: spans, exports of metrics, series over `max_series`, log lines.",
    ("signal",),
)  # fmt: skip
EXPORTS = Metric(
    "embedway.telemetry.exports", "counter", "{export}", "Exports of metrics by OTLP.",
    ("outcome",),
)  # fmt: skip

CATALOGUE: tuple[Metric, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)
