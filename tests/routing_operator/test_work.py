"""Looking, carrying out, and asking routers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from embedway_operator import routers
from embedway_operator.errors import ClusterError, ConflictError, NotLeadingError
from embedway_operator.execution import carry_out
from embedway_operator.log import Log
from embedway_operator.observer import Observer
from embedway_operator.plan import plan
from embedway_operator.reconciler import Alarm, Reconciler
from embedway_operator.refusals import Refusals
from embedway_operator.routers import Routers, annotated_address, pod_address
from embedway_operator.writes import Apply, PatchStatus
from tests.routing_operator.worlds import ROUTE, Leader, a_world, settle
from tests.support.clocks import ManualClock
from tests.support.fake_cluster import CUSTOM, World


async def test_a_write_that_is_refused_holds_up_nothing_else() -> None:
    """A Deployment that a quota of the cluster forbids does not keep the configuration away."""
    world = a_world()

    def fault(verb: str, kind: str, name: str) -> None:
        if kind == "Deployment":
            raise ClusterError("exceeded quota", 403)

    world.cluster.fault = fault
    observer = Observer(world.cluster, world, world.installation, world.clock)
    refused = await carry_out(
        plan(await observer.look()).writes, world.cluster, Leader().is_leading,
        Refusals(world.clock),
    )  # fmt: skip
    assert [str(one) for one in refused] == ["exceeded quota"]
    assert world.configuration()["spaces"]


async def test_a_conflict_ends_the_pass() -> None:
    """The plan was made from what is no longer so: nothing after it is written."""
    writes = (
        Apply({"kind": "ConfigMap", "metadata": {"name": "a", "resourceVersion": "1"}}),
        Apply({"kind": "ConfigMap", "metadata": {"name": "b"}}),
    )
    world = World()
    with pytest.raises(ConflictError):
        await carry_out(writes, world.cluster, Leader().is_leading, Refusals(world.clock))
    assert ("ConfigMap", "b") not in world.cluster.objects


async def test_nobody_writes_after_its_lead() -> None:
    """The question is asked before every single write."""
    world = a_world()
    observer = Observer(world.cluster, world, world.installation, world.clock)
    writes = plan(await observer.look()).writes
    with pytest.raises(NotLeadingError):
        await carry_out(writes, world.cluster, Leader(writes=2).is_leading, Refusals(world.clock))
    assert len(world.cluster.writes) == 2


async def test_a_resource_that_is_gone_meanwhile_is_no_fault() -> None:
    """Its status has nowhere to go."""
    writes = (PatchStatus("VectorSpace", "gone", {}),)
    world = World()
    refusals = Refusals(world.clock)
    assert await carry_out(writes, world.cluster, Leader().is_leading, refusals) == []


async def test_two_operators_write_no_configuration_twice() -> None:
    """Both planned from the same look; the second one's write meets a newer version."""
    world = a_world()
    observer = Observer(world.cluster, world, world.installation, world.clock)
    for _ in range(6):
        await carry_out(
            plan(await observer.look()).writes,
            world.cluster,
            Leader().is_leading,
            Refusals(world.clock),
        )
        world.take()
    world.declare("EmbeddingRoute", "qwen", {**ROUTE, "strategy": "fastest"})
    late = plan(await observer.look())
    await carry_out(late.writes, world.cluster, Leader().is_leading, Refusals(world.clock))
    with pytest.raises(ConflictError):
        await carry_out(late.writes, world.cluster, Leader().is_leading, Refusals(world.clock))


async def test_the_reconciler_works_until_it_is_settled_and_ends_with_its_lead() -> None:
    """Woken by an alarm it looks again; when another leads it returns."""
    world = a_world()
    observer = Observer(world.cluster, world, world.installation, world.clock)
    leader, alarm = Leader(), Alarm()
    with Path("/dev/null").open("w") as nowhere:
        log = Log(world.clock, nowhere)
        refusals = Refusals(world.clock)
        reconciler = Reconciler(
            observer, world.cluster, leader, alarm, log, refusals,  # type: ignore[arg-type]
        )  # fmt: skip
        task = asyncio.create_task(reconciler.run())
        async with asyncio.timeout(20):
            while True:
                world.take()
                alarm.ring()
                await asyncio.sleep(0.05)
                route = world.cluster.objects["EmbeddingRoute", "qwen"].get("status") or {}
                ready = [one for one in route.get("conditions", []) if one["type"] == "Ready"]
                if ready and ready[0]["status"] == "True":
                    break
            leader.left = 0
            alarm.ring()
            await task


async def test_a_look_that_fails_plans_nothing() -> None:
    """What could not be read is not taken for absent: nothing would be deleted by a 500."""
    world = a_world()

    class Broken:
        async def get(self, kind: str, name: str) -> Any:
            raise ClusterError("etcd is slow", 500)

        async def list(self, kind: str, selector: str = "") -> Any:
            return await world.cluster.list(kind, selector)

    with pytest.raises(ClusterError):
        await Observer(Broken(), world, world.installation, world.clock).look()


@pytest.mark.parametrize("kind", [*sorted(CUSTOM), "Pod", "Job", "Deployment", "Service"])
def test_a_kind_that_is_not_served_is_no_empty_list(kind: str) -> None:
    """A 404 of a whole kind says nothing of its objects: no tenant or route goes by it."""
    world = a_world()
    settle(world)
    before = world.configuration()
    world.cluster.absent = frozenset({kind})
    world.cluster.writes.clear()
    with pytest.raises(ClusterError, match=f"no {kind} of"):
        world.write(plan(world.look()).writes)
    assert world.cluster.writes == []
    world.cluster.absent = frozenset()
    settle(world)
    assert world.configuration() == before


def test_looking_needs_only_the_secrets_that_resources_name() -> None:
    """By name; the rules of the Role do not even allow to list them."""
    world = a_world()
    settle(world)
    assert set(world.look().secrets) == {"provider", "acme"}


@pytest.fixture
async def router(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A server that answers GET /health/configuration with what it is given, and is waited for."""
    monkeypatch.setattr(routers, "_TIMEOUT_S", 30.0)
    answers: dict[str, Any] = {"answer": {}}

    async def configuration(request: web.Request) -> web.Response:
        del request
        return web.json_response(answers["answer"])

    app = web.Application()
    app.router.add_get("/health/configuration", configuration)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    answers["url"] = f"http://{host}:{port}/health/configuration"
    yield answers
    await runner.cleanup()


def pod(name: str, url: str = "", *, ready: bool = True, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "annotations": {"embedway.dev/health-url": url}},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}], **status},
    }


async def test_routers_are_asked_what_they_serve(router: Any) -> None:
    """Number, hash, the pending error, and how each target stands."""
    router["answer"] = {
        "generation": 7, "hash": "sha256:ab", "pending_error": "no", "workers": {},
        "targets": {"model.local": {"space": "qwen", "standing": "verified"}},
    }  # fmt: skip
    asking = Routers(annotated_address)
    (report,) = await asking.reports([pod("r-0", router["url"])])
    await asking.close()
    assert (report.generation, report.hash, report.pending_error) == (7, "sha256:ab", "no")
    assert report.standings == {"model.local": "verified"}
    assert report.is_ready


async def test_a_router_that_does_not_answer_has_acknowledged_nothing(router: Any) -> None:
    """Nor does one that answers something else; pods on their way out are not asked."""
    router["answer"] = ["not", "an", "object"]
    leaving = pod("r-9", router["url"])
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    pods = [
        pod("r-0", router["url"]), pod("r-1", "http://127.0.0.1:9/"), pod("r-2"), leaving,
        pod("r-8", router["url"], phase="Succeeded"),
    ]  # fmt: skip
    asking = Routers(annotated_address)
    reports = await asking.reports(pods)
    await asking.close()
    assert [(one.pod, one.hash) for one in reports] == [("r-0", None), ("r-1", None), ("r-2", None)]


def test_only_when_it_is_asked_for_does_an_annotation_say_where_a_router_is() -> None:
    """Whoever may annotate a pod could otherwise acknowledge in its place."""
    one = pod("r-0", "http://elsewhere/", podIP="10.0.0.7")
    assert pod_address(one) == "http://10.0.0.7:8080/health/configuration"
    assert annotated_address(one) == "http://elsewhere/"
    assert pod_address(pod("r-1")) is None
    assert pod_address(pod("r-2", podIP="fd00::1")) == (
        "http://[fd00::1]:8080/health/configuration"
    )


async def test_many_alarms_are_one_piece_of_work() -> None:
    """The queue has one key; what arrives while it gathers belongs to the same look."""
    alarm = Alarm()
    for _ in range(100):
        alarm.ring()
    await alarm.wait(5)
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    await alarm.wait(0.5)
    assert loop.time() - begin_s >= 0.5


def test_the_log_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With the time of the clock that was passed in."""
    import sys

    Log(ManualClock(wall_s=5.0), sys.stdout).event("leading", generation=3)
    assert capsys.readouterr().out == '{"time": 5.0, "event": "leading", "generation": 3}\n'
