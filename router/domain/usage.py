"""What one request consumed, and how it travels: through the spool, into the ledger."""

from dataclasses import dataclass

from router.domain.quotas import Allowance

# How a record can end that no error's code says.
OK = "ok"
CANCELLED = "cancelled"
LOST = "lost"  # the process died while the request was under way


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One line of the ledger; never text. `record` is unique, `request_id` is the client's say.

    `cost_nano_usd` is None where the target has no price. Spool and ledger hold it as a JSON list
    in the order of these fields, followed by the list of its charges.
    """

    record: str
    request_id: str
    time_s: float
    tenant: str
    key_name: str
    route: str
    space: str
    inputs: int
    target: str
    status: str
    tokens: int
    cost_nano_usd: int | None
    cached_tokens: int
    attempts: int
    latency_us: int
    trace_id: str


# A Charge's fields as they stand in a record.
ChargeRow = tuple[int | None, int, str, int, int | None, int]


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request took of one quota's window; `number` is the lease, None without one."""

    number: int | None
    amount: int
    quota: str
    start_s: int
    end_s: int | None
    limit: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the caller is told of the metering of an answered request.

    `requests` and `tokens` are the tightest rate limits; `over` names soft quotas that are passed.
    """

    cost_nano_usd: int | None
    requests: Allowance | None = None
    tokens: Allowance | None = None
    over: tuple[str, ...] = ()
