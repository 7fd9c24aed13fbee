"""Tenants and keys in SQL: what authentication finds, and that no change goes unheard."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, insert

from router.domain.errors import RecordExistsError, StoreUnavailableError, UnknownRecordError
from router.domain.keys import fingerprint
from router.domain.tenants import KeyChange, NewKey, TenantChange
from router.domain.types import Caller, KnownKey, Scope
from router.store import tenant_store
from router.store.engine import open_engine, transaction
from router.store.key_directory import SqlKeyDirectory, find_keys_query
from router.store.tables import keys, tenants
from router.store.tenant_store import SqlTenantStore

BOTH = frozenset({Scope.EMBED, Scope.USAGE})
NEW = NewKey("acme", "first", BOTH, {"team": "search"}, expires_s=5000.0)
CALLER = Caller("acme", "first", BOTH)
OLD, YOUNG = fingerprint("old"), fingerprint("young")


@pytest.fixture
def store(engine: Engine) -> SqlTenantStore:
    made = SqlTenantStore(engine)
    made.create_tenant("acme", {}, now_s=1.0)
    return made


@pytest.fixture
def directory(engine: Engine) -> Iterator[SqlKeyDirectory]:
    made = SqlKeyDirectory(engine)
    yield made
    made.close()


async def found(directory: SqlKeyDirectory, *prints: str) -> dict[str, KnownKey]:
    answer = await directory.find_keys([bytes.fromhex(text) for text in prints])
    return {digest.hex(): key for digest, key in answer.items()}


async def test_a_key_is_found_by_its_hash(
    store: SqlTenantStore, directory: SqlKeyDirectory
) -> None:
    """With its caller, scopes and end; a hash of nobody is not in the answer."""
    store.create_key(NEW, OLD, now_s=2.0)
    assert await found(directory, OLD, YOUNG) == {OLD: KnownKey(CALLER, 5000.0)}


async def test_both_values_of_a_rotated_key_are_one_caller(
    store: SqlTenantStore, directory: SqlKeyDirectory
) -> None:
    """So quotas and ledger see one key; the old value ends with its grace."""
    store.create_key(NEW, OLD, now_s=2.0)
    store.rotate_key("acme", "first", YOUNG, grace_s=100.0, now_s=3.0)
    assert await found(directory, OLD, YOUNG) == {
        OLD: KnownKey(CALLER, 103.0),
        YOUNG: KnownKey(CALLER, 5000.0),
    }


async def test_a_key_never_outlives_its_end_by_a_grace(
    store: SqlTenantStore, directory: SqlKeyDirectory
) -> None:
    """The earlier of the two decides."""
    store.create_key(replace(NEW, expires_s=50.0), OLD, now_s=2.0)
    store.rotate_key("acme", "first", YOUNG, grace_s=100.0, now_s=3.0)
    assert (await found(directory, OLD))[OLD].expires_s == 50.0


async def test_values_whose_grace_is_over_are_deleted_by_the_next_rotation(
    store: SqlTenantStore, directory: SqlKeyDirectory
) -> None:
    """A key that is rotated for years has two rows, not a thousand."""
    store.create_key(NEW, OLD, now_s=2.0)
    for number in range(5):
        store.rotate_key("acme", "first", fingerprint(str(number)), 10.0, 100.0 * (number + 1))
    assert len(store.keys("acme", "", 100)) == 2
    assert await found(directory, OLD) == {}


async def test_a_disabled_tenant_disables_its_keys(
    store: SqlTenantStore, directory: SqlKeyDirectory
) -> None:
    """The key's own state is as before once the tenant is enabled."""
    store.create_key(NEW, OLD, now_s=2.0)
    store.change_tenant("acme", TenantChange(is_disabled=True), now_s=3.0)
    assert (await found(directory, OLD))[OLD].is_disabled
    assert await directory.find_tenants(["acme", "nobody"]) == {"acme": False}
    store.change_tenant("acme", TenantChange(is_disabled=False), now_s=4.0)
    assert not (await found(directory, OLD))[OLD].is_disabled
    assert await directory.find_tenants(["acme"]) == {"acme": True}


async def test_every_change_is_told_once_and_in_order(
    store: SqlTenantStore, directory: SqlKeyDirectory
) -> None:
    """Which keys and which tenants have to be asked for again."""
    start = (await directory.changes(None)).revision
    store.create_key(NEW, OLD, now_s=2.0)
    store.rotate_key("acme", "first", YOUNG, grace_s=10.0, now_s=3.0)
    store.change_key("acme", "first", KeyChange(is_disabled=True), now_s=4.0)
    store.change_tenant("acme", TenantChange(tags={"a": "b"}), now_s=5.0)
    heard = await directory.changes(start)
    told = [digest.hex() for digest in heard.digests]
    assert told[:3] == [OLD, YOUNG, OLD]
    assert sorted(told[3:]) == sorted([OLD, YOUNG])
    assert (heard.tenants, heard.is_complete) == (("acme",), True)
    assert heard.revision == start + 6
    again = await directory.changes(heard.revision)
    assert (again.digests, again.tenants, again.is_complete) == ((), (), True)


async def test_a_refused_change_is_not_told(
    store: SqlTenantStore, directory: SqlKeyDirectory
) -> None:
    """Nothing of it is in the database."""
    before = await directory.changes(None)
    with pytest.raises(RecordExistsError):
        store.create_tenant("acme", {}, now_s=2.0)
    with pytest.raises(UnknownRecordError):
        store.change_key("acme", "none", KeyChange(is_disabled=True), now_s=2.0)
    assert await directory.changes(None) == before


async def test_who_slept_too_long_is_told_to_forget_all(
    store: SqlTenantStore, directory: SqlKeyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old changes are deleted; who would need them believes nothing it knows."""
    monkeypatch.setattr(tenant_store, "_KEPT_CHANGES", 3)
    start = (await directory.changes(None)).revision
    for number in range(5):
        store.create_tenant(f"t{number}", {}, now_s=2.0)
    heard = await directory.changes(start)
    assert (heard.revision, heard.is_complete) == (start + 5, False)
    assert (await directory.changes(start + 2)).tenants == ("t2", "t3", "t4")


async def test_a_database_that_went_back_is_told_to_forget_all(
    store: SqlTenantStore, directory: SqlKeyDirectory
) -> None:
    """As after an older copy was put in its place."""
    del store
    heard = await directory.changes(1000)
    assert (heard.revision, heard.is_complete) == (1, False)


async def test_a_process_that_polls_hears_all_that_many_writers_do(
    store: SqlTenantStore, directory: SqlKeyDirectory
) -> None:
    """Revisions are committed in their order, so none appears behind a reader's back."""
    writers, each = 4, 20

    def write(number: int) -> None:
        for turn in range(each):
            new = NewKey("acme", f"key-{number}-{turn}", BOTH)
            store.create_key(new, fingerprint(new.name), now_s=2.0)

    revision = (await directory.changes(None)).revision
    heard: list[bytes] = []
    with ThreadPoolExecutor(writers) as threads:
        done = [threads.submit(write, number) for number in range(writers)]
        while True:
            is_last = all(future.done() for future in done)
            news = await directory.changes(revision)
            assert news.is_complete
            heard += news.digests
            revision = news.revision
            if is_last:
                break
            await asyncio.sleep(0.001)
        assert all(future.exception() is None for future in done)
    expected = {fingerprint(f"key-{n}-{t}") for n in range(writers) for t in range(each)}
    assert {digest.hex() for digest in heard} == expected
    assert len(heard) == writers * each


def test_one_of_many_gets_a_name(store: SqlTenantStore) -> None:
    """However close together they ask."""
    together = threading.Barrier(6)

    def create(number: int) -> bool:
        together.wait(60)
        try:
            store.create_key(NEW, fingerprint(str(number)), now_s=2.0)
        except RecordExistsError:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(create, range(6))) == [False] * 5 + [True]


def test_one_of_many_rotations_is_current(store: SqlTenantStore) -> None:
    """Each rotation retires the value before it; one is left, the others have their grace."""
    store.create_key(NEW, OLD, now_s=2.0)

    def rotate(number: int) -> None:
        store.rotate_key("acme", "first", fingerprint(str(number)), 100.0, now_s=3.0)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(rotate, range(4)))
    described = store.keys("acme", "", 100)
    assert len(described) == 5
    assert [key.rotated_s for key in described].count(None) == 1


async def test_a_look_up_probes_indexes_only(engine: Engine, directory: SqlKeyDirectory) -> None:
    """However many tenants there are; `make bench-keys` shows it with 320,000."""
    del directory
    times = {"source": "api", "created_s": 1.0, "changed_s": 1.0}
    numbers = range(5000)
    with transaction(engine) as connection:
        rows = [{"name": f"t{n}", **times} for n in numbers]
        connection.execute(insert(tenants), rows)
        rows = [
            {"id": f"{n:032x}", "tenant": f"t{n}", "sha256": fingerprint(str(n)), **times}
            for n in numbers
        ]
        connection.execute(insert(keys).values(name="first", scopes="[]"), rows)
    query = find_keys_query([bytes.fromhex(fingerprint("77"))])
    text = query.compile(engine, compile_kwargs={"literal_binds": True})
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
        assert [row.detail.split()[0] for row in plan] == ["SEARCH", "SEARCH"]
        return
    with engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE keys")
        connection.exec_driver_sql("ANALYZE tenants")
        plan = connection.exec_driver_sql(f"EXPLAIN {text}").scalars().all()
    scans = [line for line in plan if "Scan" in line]
    assert len(scans) == 2
    assert all("Index Scan" in line for line in scans), plan


async def test_a_store_that_is_down_is_a_store_error() -> None:
    """Of the tree, and soon."""
    away = open_engine("postgresql://nobody@127.0.0.1:1/none")
    directory = SqlKeyDirectory(away)
    with pytest.raises(StoreUnavailableError):
        await directory.find_keys([b"x" * 32])
    directory.close()
    away.dispose()
