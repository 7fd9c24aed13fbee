"""Whether quotas, ledger and clients agree, to the last token and nano-USD."""

from collections import Counter
from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import Row, select

from benchmarks.stress.clients import Clients
from benchmarks.stress.routers import NANO_A_TOKEN
from router.domain.usage import LOST, OK
from router.store.engine import open_engine
from router.store.tables import leases, quota_windows, usage


@dataclass(slots=True)
class Audit:
    """Figures to be printed, and every disagreement as a sentence."""

    figures: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether everything agrees."""
        return not self.faults

    def require(self, holds: bool, fault: str) -> None:
        """Note a fault where something does not hold."""
        if not holds:
            self.faults.append(fault)

    def print(self, console: Console) -> None:
        """A table, and the verdict."""
        table = Table(box=box.SIMPLE_HEAD, show_header=False)
        for name, value in self.figures.items():
            table.add_row(name, value)
        console.print(table)
        for fault in self.faults:
            console.print(f"[red]{fault}")
        console.print("the books agree" if self.is_clean else "THE BOOKS DO NOT AGREE")


def audit(url: str, clients: Clients, kills: int) -> Audit:
    """Compare the database's books with each other and with what the clients saw."""
    engine = open_engine(url)
    with engine.connect() as connection:
        windows = {row.quota: row for row in connection.execute(select(quota_windows))}
        rows = list(connection.execute(select(usage)))
        left_over = len(connection.execute(select(leases)).all())
    engine.dispose()
    found = Audit()
    _compare_clients(found, clients, rows)
    _compare_quotas(found, clients, windows, rows)
    found.require(left_over == 0, f"{left_over} leases were never given back")
    latencies = sorted(clients.enough_latencies_ms)
    found.figures |= {
        "processes killed": str(kills),
        "leases left over": str(left_over),
        "refusals with budget left for all": str(clients.denied_falsely),
        "longest of those answers": f"{latencies[-1]:.0f} ms",
    }
    found.require(clients.denied_falsely == 0, "a request was refused though there was budget")
    return found


def _compare_clients(found: Audit, clients: Clients, rows: list[Row[*tuple[object, ...]]]) -> None:
    ok = {row.request_id: row for row in rows if row.status == OK}
    lost = {row.request_id for row in rows if row.status == LOST}
    unseen = set(ok) - set(clients.answered)
    found.require(len({row.record for row in rows}) == len(rows), "a record stands twice")
    found.require(
        len(ok) == sum(row.status == OK for row in rows), "an answered request was billed twice"
    )
    missing = set(clients.answered) - set(ok)
    found.require(not missing, f"{len(missing)} answers have no record")
    found.require(
        unseen <= clients.unknown, "the ledger has answers that no client could have been given"
    )
    found.require(lost <= clients.unknown, "a request counts as lost that was answered or refused")
    for name, answer in clients.answered.items():
        row = ok.get(name)
        told = (answer.tokens, answer.cost)
        if row is not None and (row.tokens, row.cost_nano_usd) != told:
            found.faults.append(f"{name}: the ledger and the answer differ")
    found.figures |= {
        "answers that clients read": str(len(clients.answered)),
        "tokens of those, by clients": str(sum(a.tokens for a in clients.answered.values())),
        "tokens of those, by the ledger": str(
            sum(row.tokens for name, row in ok.items() if name in clients.answered)
        ),
        "answers cut off by a kill, in the ledger": str(len(unseen)),
        "requests under way at a kill, charged": str(len(lost)),
        "refusals": ", ".join(f"{n} x {status}" for status, n in clients.refused.items()) or "0",
    }


def _compare_quotas(
    found: Audit,
    clients: Clients,
    windows: dict[str, Row[*tuple[object, ...]]],
    rows: list[Row[*tuple[object, ...]]],
) -> None:
    budget = windows["tenant:small:usd:total:hard"]
    limit = clients.plan.budget_nano_usd
    sums: Counter[str] = Counter()
    for row in rows:
        # A request is charged where it was answered, or a target may have worked for it.
        sums[f"tenant:{row.tenant}:usd:total:hard"] += row.cost_nano_usd or 0
        sums[f"tenant:{row.tenant}:tokens:total:hard"] += row.tokens
        sums[f"tenant:{row.tenant}:requests:total:hard"] += row.tokens > 0
        sums[f"tenant:{row.tenant}:requests:month:shadow"] += row.tokens > 0
    for name, window in windows.items():
        found.require(window.spent == window.leased, f"{name}: leased and not spent, yet at rest")
        found.require(window.spent == sums[name], f"{name}: quota and ledger differ")
    overshoot = max(0, budget.spent - limit)
    found.require(overshoot == 0, f"the budget was overspent by {overshoot} nano-USD")
    is_used_up = any(status == 402 for status in clients.refused)
    if is_used_up:
        found.require(
            limit - budget.spent < 12 * NANO_A_TOKEN, "money is left that nobody could spend"
        )
    found.figures |= {
        "budget": f"{limit} nano-USD",
        "spent": f"{budget.spent} nano-USD",
        "overshoot": f"{overshoot} nano-USD",
        "left at the end": f"{limit - budget.spent} nano-USD",
    }
