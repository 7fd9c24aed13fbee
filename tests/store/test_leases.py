"""Leases on both databases: the contract that hard budgets stand on."""

import threading

import pytest
from sqlalchemy import Engine, select

from router.domain.quotas import Ask, Grant, Quota, Span
from router.domain.usage import Charge
from router.store.leases import WANTED_S, LeaseBook
from router.store.ledger import Ledger
from router.store.tables import leases, quota_windows
from tests.store.records import record

QUOTA = Quota("tenant", "acme", "usd", 1000, "month")
OTHER = Quota("tenant", "other", "usd", 1000, "month")
SPAN = Span(0, 2_592_000)
NOW_S = 100.0


def ask(
    need: int, firm: int | None = None, extra: int = 0, number: int = 1, **changes: Quota
) -> Ask:
    return Ask(
        number, changes.get("quota", QUOTA), SPAN, need, need if firm is None else firm, extra
    )


def window(engine: Engine, quota: Quota = QUOTA) -> tuple[int, int]:
    """Leased and spent."""
    query = select(quota_windows.c.leased, quota_windows.c.spent)
    with engine.connect() as connection:
        leased, spent = connection.execute(query.where(quota_windows.c.quota == quota.id)).one()
    return leased, spent


def test_a_lease_counts_against_the_limit(engine: Engine) -> None:
    """What one process holds, another cannot take."""
    one, two = LeaseBook(engine, "one"), LeaseBook(engine, "two")
    assert one.take([ask(600)], NOW_S) == [Grant(600, 400)]
    assert two.take([ask(500)], NOW_S) == [Grant(None, 400, elsewhere=600)]
    assert two.take([ask(400)], NOW_S) == [Grant(400, 0)]
    assert window(engine) == (1000, 0)


def test_the_last_request_is_not_let_in_with_less(engine: Engine) -> None:
    """A need that does not fit is refused whole; what is left stays for a smaller one."""
    book = LeaseBook(engine, "one")
    book.take([ask(999)], NOW_S)
    assert book.take([ask(2)], NOW_S) == [Grant(None, 1)]
    assert book.take([ask(1)], NOW_S) == [Grant(1, 0)]


def test_ahead_of_need_only_a_part_of_what_is_left_is_taken(engine: Engine) -> None:
    """The nearer the end, the smaller the leases, so that little is stranded."""
    book = LeaseBook(engine, "one")
    assert book.take([ask(100, extra=50)], NOW_S) == [Grant(150, 850)]
    assert book.take([ask(50, extra=5000)], NOW_S) == [Grant(150, 700)]


def test_those_who_wait_get_what_is_left_where_it_is_not_enough_for_all(engine: Engine) -> None:
    """One waits for 300, all together for 5000, 1000 are there."""
    assert LeaseBook(engine, "one").take([ask(300, firm=5000)], NOW_S) == [Grant(1000, 0)]


def test_a_refusal_makes_leases_small_for_a_moment(engine: Engine) -> None:
    """Nobody takes ahead of need while somebody was refused just now."""
    one, two = LeaseBook(engine, "one"), LeaseBook(engine, "two")
    one.take([ask(100)], NOW_S)
    two.take([ask(901)], NOW_S)
    assert one.wanted(NOW_S) == [(QUOTA.id, 0)]
    assert one.take([ask(100, extra=80)], NOW_S) == [Grant(100, 800)]
    later_s = NOW_S + WANTED_S + 1
    assert one.wanted(later_s) == []
    assert one.take([ask(100, extra=80)], later_s) == [Grant(180, 620)]


def test_what_is_given_back_can_be_taken_by_another(engine: Engine) -> None:
    """Giving back says how much is kept, so saying it twice changes nothing."""
    one, two = LeaseBook(engine, "one"), LeaseBook(engine, "two")
    one.take([ask(1000)], NOW_S)
    one.give_back({1: 300})
    one.give_back({1: 300, 77: 5})
    assert window(engine) == (300, 0)
    assert two.take([ask(700)], NOW_S) == [Grant(700, 0)]


def test_leases_of_a_batch_are_decided_one_by_one(engine: Engine) -> None:
    """One ask of a batch may be refused and the others granted."""
    book = LeaseBook(engine, "one")
    asks = [ask(1001), ask(7, number=2, quota=OTHER)]
    assert book.take(asks, NOW_S) == [Grant(None, 1000), Grant(7, 993)]


def test_a_lowered_limit_holds_at_once(engine: Engine) -> None:
    """The limit is the asker's; what is leased beyond it is not taken away, nor added to."""
    book = LeaseBook(engine, "one")
    book.take([ask(600)], NOW_S)
    lower = Quota("tenant", "acme", "usd", 500, "month")
    assert book.take([ask(1, quota=lower)], NOW_S) == [Grant(None, 0)]


def test_a_dead_process_keeps_what_it_spent_and_loses_the_rest(engine: Engine) -> None:
    """Its spool is in the ledger: what that does not show was not spent."""
    dead, heir = LeaseBook(engine, "dead"), LeaseBook(engine, "heir")
    dead.take([ask(1000)], NOW_S)
    charge = Charge(1, 60, QUOTA.id, SPAN.start_s, SPAN.end_s, QUOTA.limit)
    Ledger(engine).write("dead", 0, 10, [record("1", charge)], NOW_S)
    heir.bury("dead", is_proven=True)
    heir.bury("dead", is_proven=True)
    assert window(engine) == (60, 60)


def test_what_is_not_proven_unspent_stays_counted(engine: Engine) -> None:
    """After a loss of power the spool's end may be missing."""
    dead, heir = LeaseBook(engine, "dead"), LeaseBook(engine, "heir")
    dead.take([ask(400)], NOW_S)
    heir.bury("dead", is_proven=False)
    assert window(engine) == (400, 0)
    assert heir.take([ask(601)], NOW_S) == [Grant(None, 600)]


def test_a_lease_is_forgotten_once_the_ledger_has_all_of_it(engine: Engine) -> None:
    """Not before: the ledger still has to say what was spent of it."""
    book = LeaseBook(engine, "one")
    book.take([ask(100)], NOW_S)
    book.give_back({1: 60})
    assert book.forget({1: 60}) == []
    charge = Charge(1, 60, QUOTA.id, SPAN.start_s, SPAN.end_s, QUOTA.limit)
    Ledger(engine).write("one", 0, 10, [record("1", charge)], NOW_S)
    assert book.forget({1: 60}) == [1]
    with engine.connect() as connection:
        assert connection.execute(select(leases)).all() == []


@pytest.mark.parametrize("batch", [1, 3])
def test_many_at_once_never_take_more_than_there_is(engine: Engine, batch: int) -> None:
    """Eight threads race for one limit and get exactly it, whatever order they come in."""
    quotas = [Quota("tenant", f"t{n}", "tokens", 500, "day") for n in range(batch)]
    taken: list[int] = []

    def race(name: str) -> None:
        book = LeaseBook(engine, name)
        for _ in range(40):
            # In another order each time: locks must not be taken in the order of the asks.
            quotas_now = quotas if len(taken) % 2 else quotas[::-1]
            asks = [Ask(n, q, SPAN, 3, 3, 2) for n, q in enumerate(quotas_now)]
            taken.extend(grant.amount or 0 for grant in book.take(asks, NOW_S))

    threads = [threading.Thread(target=race, args=(f"p{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(window(engine, quota)[0] for quota in quotas)
    assert total == sum(taken)
    assert 0 <= 500 * batch - total < 3 * batch
