"""What the pipeline needs from the rooms it brings together."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from router.domain.errors import QuotaError
from router.domain.journal import Attempt, Call, Ending, Facts, Journal
from router.domain.quotas import Ask, Grant, Quota
from router.domain.reports import UsageQuestion, UsageSum
from router.domain.tenants import KeyChange, KeyDescription, NewKey, Tenant, TenantChange
from router.domain.types import Float32Array, KeyChanges, KnownKey, TokenBatch
from router.domain.usage import Receipt, UsageRecord


class Upstream(Protocol):
    """A wire protocol to one target. It translates and calls; it never chooses or retries."""

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        """Vectors (n, dimension) float32 of the n sequences, in order.

        Raises UpstreamError, or DeadlineExceededError after `timeout_s` seconds. Cancelling it
        gives the work up at the target too. `call` is its place in the request's trace.
        """
        ...

    async def ready(self) -> bool:
        """Whether the target would serve a request now; never raises for a target that is down."""
        ...

    async def close(self) -> None:
        """Give back connections; calls under way end with UpstreamUnavailableError."""
        ...


class Recorder(Protocol):
    """Who wants to know what happens to requests. It never makes one wait, and never fails one."""

    def begin(self, traceparent: str | None, tracestate: str | None, begun_s: float) -> Journal:
        """The journal of a new request, in the trace that its headers name or in one of its own."""
        ...

    def end(self, journal: Journal, facts: Facts, ending: Ending) -> None:
        """The request is over; its journal and facts do not change any more."""
        ...


class SharedStore(Protocol):
    """Bytes by key that several routers see. Every method may raise CacheUnavailableError.

    Nothing here waits without end: who calls bounds the time, and cancelling is safe.
    """

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key, or None, in one call."""
        ...

    async def write(
        self, new: Mapping[bytes, bytes], instead: Mapping[bytes, bytes], ttl_s: float
    ) -> None:
        """Keep `new` where nothing is kept yet, and `instead` whatever is, for so long."""
        ...

    async def append(self, key: bytes, value: bytes, ttl_s: float) -> int:
        """Add to the end of a value, which is kept for so long from now; its length in bytes."""
        ...

    async def close(self) -> None:
        """Give back connections; raises nothing."""
        ...


@runtime_checkable
class Pads(Protocol):
    """An upstream that fills batches up: `tokens` sent so far, and `places` with the padding."""

    tokens: int
    places: int


class TargetReports(Protocol):
    """Who wants to know what a target says of itself beside its vectors."""

    def rate_limited(self, remaining: int, reset_s: float) -> None:
        """So many requests or tokens are left for the next `reset_s` seconds."""
        ...

    def billed(self, counted_tokens: int, billed_tokens: int) -> None:
        """The target bills a call that the router counts otherwise, or alike."""
        ...


class RequestReports(Protocol):
    """Who counts what becomes of requests; on the way of every one, so it never waits."""

    def embedded(
        self, route: str, tenant: str, tokens: int, saved_tokens: int, receipt: Receipt | None
    ) -> None:
        """A request has its vectors; `saved_tokens` of its tokens nobody had to compute."""
        ...

    def unanswered(self, tenant: str, receipt: Receipt) -> None:
        """A request that was let in ended without vectors; its calls may cost something."""
        ...

    def attempted(self, attempts: Sequence[Attempt], trace_id: str) -> None:
        """Calls that a request made, however they ended; an empty `trace_id` is no trace."""
        ...

    def refused(self, tenant: str, error: QuotaError) -> None:
        """A quota stood in the way of a request."""
        ...


class Tokenizer(Protocol):
    """From text to the ids that the model takes, special tokens included."""

    @property
    def vocabulary_size(self) -> int:
        """Ids lie in [0, vocabulary_size)."""
        ...

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text with the model's special tokens, untruncated."""
        ...

    def decode(self, ids: list[int]) -> str | None:
        """The text whose encoding is exactly these complete ids; None where there is none."""
        ...

    def complete(self, ids: list[int]) -> list[int]:
        """The ids with those special tokens put back that are missing at either end."""
        ...

    def truncate(self, ids: list[int], max_tokens: int) -> list[int]:
        """Complete ids cut to `max_tokens`, special tokens kept at both ends."""
        ...


class KeyDirectory(Protocol):
    """The keys that were made through the admin API or the CLI, as authentication asks for them."""

    async def find_keys(self, digests: Sequence[bytes]) -> Mapping[bytes, KnownKey]:
        """Keys by SHA-256 digest, in one indexed query; StoreUnavailableError."""
        ...

    async def find_tenants(self, names: Sequence[str]) -> Mapping[str, bool]:
        """Whether each tenant that there is may call; StoreUnavailableError."""
        ...

    async def changes(self, since: int | None) -> KeyChanges:
        """What has changed after a revision; None asks for the present revision alone.

        Raises StoreUnavailableError.
        """
        ...


class TokenVerifier(Protocol):
    """Tells what a JSON Web Token says of its bearer."""

    @property
    def is_configured(self) -> bool:
        """Whether any token could be good."""
        ...

    async def verify(self, token: bytes) -> KnownKey:
        """The bearer; AuthenticationError, or KeysUnavailableError where nobody can say."""
        ...

    async def close(self) -> None:
        """Give up what is under way."""
        ...


class TenantStore(Protocol):
    """Tenants and keys that can be made and changed; every method may raise StoreUnavailableError.

    `now_s` is in seconds since the Unix epoch; `sha256` is a key's fingerprint.
    """

    def create_tenant(self, name: str, tags: dict[str, str], now_s: float) -> Tenant:
        """A new tenant; RecordExistsError."""
        ...

    def tenants(self, after: str, limit: int) -> list[Tenant]:
        """At most `limit` tenants in the order of their names, those after a name."""
        ...

    def tenant(self, name: str) -> Tenant:
        """One tenant; UnknownRecordError."""
        ...

    def change_tenant(self, name: str, change: TenantChange, now_s: float) -> Tenant:
        """The tenant as it is now; UnknownRecordError."""
        ...

    def create_key(self, new: NewKey, sha256: str, now_s: float) -> KeyDescription:
        """A new key; UnknownRecordError, RecordExistsError."""
        ...

    def keys(self, tenant: str, after: str, limit: int) -> list[KeyDescription]:
        """At most `limit` keys of a tenant, those after the one with an id; UnknownRecordError."""
        ...

    def change_key(self, tenant: str, name: str, change: KeyChange, now_s: float) -> KeyDescription:
        """The key as it is now; UnknownRecordError."""
        ...

    def rotate_key(
        self, tenant: str, name: str, sha256: str, grace_s: float, now_s: float
    ) -> KeyDescription:
        """The key with a new value; the old one goes on for `grace_s` seconds.

        Raises UnknownRecordError, InvalidInputError.
        """
        ...


class Leases(Protocol):
    """The leases of this process in the store; blocking, so called on a thread.

    All raise StoreUnavailableError, after which nobody knows whether it happened; so all may be
    repeated.
    """

    def take(self, asks: Sequence[Ask], now_s: float) -> list[Grant]:
        """The answer to each ask; they are for different windows."""
        ...

    def give_back(self, keeps: Mapping[int, int]) -> None:
        """Reduce leases, by number, to what is kept of them."""
        ...

    def forget(self, keeps: Mapping[int, int]) -> list[int]:
        """End those leases, given back already, that the ledger is done with; their numbers."""
        ...

    def wanted(self, now_s: float) -> list[tuple[str, int]]:
        """Windows (quota's id, start_s) that somebody was refused a moment ago."""
        ...

    def bury(self, dead: str, *, is_proven: bool) -> None:
        """End all leases of a process whose spool is in the ledger; unspent goes back if proven."""
        ...


class LedgerWriter(Protocol):
    """Where usage records end up; blocking. All raise StoreUnavailableError."""

    def write(
        self, holder: str, before: int, after: int, records: Sequence[bytes], now_s: float
    ) -> int:
        """Add a spool's stretch [before, after), once; the position where that spool stands."""
        ...

    def spent(self, windows: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """What is spent of windows (quota's id, start_s), those that there are."""
        ...

    def forget_before(self, usage_s: float, hours_s: float, days_s: float, now_s: float) -> int:
        """Delete records, roll-ups by hour and by day that are older; how many records went."""
        ...


class QuotaBook(Protocol):
    """The quotas that were made through the API; blocking. All raise StoreUnavailableError."""

    def of(self, subjects: Sequence[tuple[str, str]]) -> list[Quota]:
        """Quotas of (scope, subject) pairs."""
        ...

    def changed_since(self, moment_s: float) -> tuple[list[tuple[str, str]], float]:
        """The (scope, subject) pairs whose quotas changed, and when the last one did."""
        ...


class QuotaStore(Protocol):
    """Quotas that can be made and removed; blocking. All raise StoreUnavailableError."""

    def all(self, after: str = "", most: int = 1000) -> list[Quota]:
        """Quotas by id, a page at a time: those after an id."""
        ...

    def put(self, quota: Quota, now_s: float) -> None:
        """Make a quota, or change the limit of the one that there is."""
        ...

    def remove(self, quota_id: str, now_s: float) -> bool:
        """Remove a quota; whether there was one."""
        ...


class UsageReader(Protocol):
    """Reports of the ledger; blocking. Raises StoreUnavailableError."""

    def sums(self, question: UsageQuestion) -> list[UsageSum]:
        """The sums of each group."""
        ...


class RecordReader(Protocol):
    """Single records of the ledger; blocking. Raises StoreUnavailableError."""

    def of_request(self, request_id: str, most: int = 10) -> list[UsageRecord]:
        """Records of requests that bear the name, newest first."""
        ...


class UsageSpool(Protocol):
    """Usage on this machine's disk, before it is in the ledger."""

    @property
    def holder(self) -> str:
        """The name that this process holds leases under."""
        ...

    @property
    def end(self) -> int:
        """The position after the last entry."""
        ...

    @property
    def recorded(self) -> int:
        """Records written so far."""
        ...

    @property
    def under_way(self) -> int:
        """Requests whose intent has no record yet."""
        ...

    def intend(self, number: int, payload: bytes) -> int:
        """Note what a request will have used if this process dies; the place, for `record`."""
        ...

    def record(self, number: int, payload: bytes, intent: int) -> None:
        """Note what the request of an intent has used."""
        ...

    def read(self, position: int) -> tuple[list[bytes], int]:
        """Some records from a position on, and the position after them."""
        ...

    def make_spare(self) -> None:
        """Prepare room ahead of need."""
        ...

    def sync(self) -> None:
        """Bring what was written to the disk itself."""
        ...

    def release(self, position: int) -> None:
        """Delete what lies before a position and no request under way needs."""
        ...

    def close(self, *, remove: bool) -> None:
        """Let go of the files; `remove` deletes them, else another process will find them."""
        ...
