"""One leader at a time, whatever happens to the Lease, the clock and the API server."""

import asyncio
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedway_operator.election import DURATION_S, RENEW_WITHIN_S, RETRY_S, Election
from embedway_operator.errors import ClusterError
from embedway_operator.log import Log
from tests.support.clocks import ManualClock
from tests.support.fake_cluster import FakeCluster


class Machine:
    """A candidate with a clock of its own and a network that can be cut."""

    def __init__(self, cluster: FakeCluster, name: str, wall_s: float = 1_700_000_000.0) -> None:
        self.cluster = cluster
        self.clock = ManualClock(wall_s=wall_s)
        self.is_cut = False
        self.log = io.StringIO()
        self.fault: ClusterError | None = None
        self.election = Election(
            self, "rel-operator", "ns", name, self.clock, Log(self.clock, self.log)
        )

    def told(self) -> list[tuple[str, Any]]:
        """Events of the log, each with its holder or status."""
        lines = [json.loads(one) for one in self.log.getvalue().splitlines()]
        return [(one["event"], one.get("holder", one.get("status"))) for one in lines]

    async def get(self, kind: str, name: str) -> Any:
        self._network()
        return await self.cluster.get(kind, name)

    async def create(self, body: Any) -> Any:
        self._network()
        return await self.cluster.create(body)

    async def replace(self, body: Any) -> Any:
        self._network()
        return await self.cluster.replace(body)

    def _network(self) -> None:
        if self.fault is not None:
            raise self.fault
        if self.is_cut:
            raise ClusterError("the network is cut")

    async def turn(self) -> bool:
        return await self.election.try_to_lead()


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def pass_time(seconds: float, *machines: Machine) -> None:
    for machine in machines:
        machine.clock.monotonic += seconds
        machine.clock.wall += seconds


async def test_the_first_leads_and_the_second_waits(cluster: FakeCluster) -> None:
    """Two candidates, one leader, as long as it renews."""
    one, two = Machine(cluster, "one"), Machine(cluster, "two")
    assert await one.turn()
    for _ in range(20):
        pass_time(RETRY_S, one, two)
        assert await one.turn()
        assert not await two.turn()


async def test_the_second_takes_over_when_the_first_is_gone(cluster: FakeCluster) -> None:
    """Not before the Lease was seen unchanged for its duration, and then at once."""
    one, two = Machine(cluster, "one"), Machine(cluster, "two")
    assert await one.turn()
    assert not await two.turn()
    pass_time(DURATION_S - 1, two)
    assert not await two.turn()
    pass_time(1, two)
    assert await two.turn()
    lease = cluster.objects["Lease", "rel-operator"]["spec"]
    assert (lease["holderIdentity"], lease["leaseTransitions"]) == ("two", 1)


async def test_who_steps_down_is_followed_at_once(cluster: FakeCluster) -> None:
    """A rolling update of the operator takes no fifteen seconds."""
    one, two = Machine(cluster, "one"), Machine(cluster, "two")
    assert await one.turn()
    await one.election.step_down()
    assert not one.election.is_leading()
    assert await two.turn()


async def test_a_leader_that_cannot_renew_stops_by_itself(cluster: FakeCluster) -> None:
    """Long before another may lead, without hearing from anybody."""
    one = Machine(cluster, "one")
    assert await one.turn()
    one.is_cut = True
    pass_time(RENEW_WITHIN_S - 1, one)
    assert await one.turn()
    pass_time(1, one)
    assert not await one.turn()


async def test_a_wrong_wall_clock_changes_nothing(cluster: FakeCluster) -> None:
    """An hour of difference between two machines makes no second leader."""
    one, two = Machine(cluster, "one"), Machine(cluster, "two", wall_s=1_700_003_600.0)
    assert await one.turn()
    assert not await two.turn()


async def test_a_lost_race_is_no_lead(cluster: FakeCluster) -> None:
    """Both see a Lease that is over; the second write meets a newer version."""
    gone, one, two = (Machine(cluster, name) for name in ("gone", "one", "two"))
    assert await gone.turn()
    assert not await one.turn()
    assert not await two.turn()
    pass_time(DURATION_S, one, two)
    results = await asyncio.gather(one.turn(), two.turn())
    assert sorted(results) == [False, True]


async def test_a_lease_that_somebody_deleted_is_made_again(cluster: FakeCluster) -> None:
    """The leader keeps its place if it is first."""
    one = Machine(cluster, "one")
    assert await one.turn()
    del cluster.objects["Lease", "rel-operator"]
    pass_time(RETRY_S, one)
    assert await one.turn()
    assert cluster.objects["Lease", "rel-operator"]["spec"]["holderIdentity"] == "one"


async def test_a_cluster_that_cannot_be_reached_is_logged_once_a_change(
    cluster: FakeCluster,
) -> None:
    """When it begins, when it is another failure, and when it ends; not at each of many tries."""
    one = Machine(cluster, "one")
    one.is_cut = True
    for _ in range(50):
        pass_time(RETRY_S, one)
        assert not await one.turn()
    assert one.told() == [("lease_failed", 0)]
    assert "the network is cut" in one.log.getvalue()
    one.fault = ClusterError("leases is forbidden", 403)
    for _ in range(50):
        await one.turn()
    one.fault, one.is_cut = None, False
    for _ in range(50):
        assert await one.turn()
    assert one.told() == [("lease_failed", 0), ("lease_failed", 403), ("lease_reached", None)]
    one.is_cut = True
    await one.turn()
    assert one.told()[3:] == [("lease_failed", 0)]


async def test_who_waits_says_for_whom(cluster: FakeCluster) -> None:
    """Once for each holder."""
    one, two, three = (Machine(cluster, name) for name in ("one", "two", "three"))
    assert await one.turn()
    for _ in range(20):
        assert not await two.turn()
    await one.election.step_down()
    assert await three.turn()
    for _ in range(20):
        assert not await two.turn()
    assert two.told() == [("waiting", "one"), ("waiting", "three")]
    assert one.told() == []


async def test_a_lease_that_cannot_be_given_back_is_logged(cluster: FakeCluster) -> None:
    """The next operator then waits for its end, and somebody will ask why."""
    one = Machine(cluster, "one")
    assert await one.turn()
    one.is_cut = True
    await one.election.step_down()
    assert one.told() == [("lease_not_given_back", 0)]


steps = st.lists(
    st.tuples(st.sampled_from(["turn", "cut", "mend", "step down"]), st.integers(0, 2)),
    min_size=20,
    max_size=120,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(steps, st.data())
def test_there_are_never_two_leaders(history: list[tuple[str, int]], data: st.DataObject) -> None:
    """Any order of turns, cuts and departures of three machines, time passing for all alike."""

    async def play() -> None:
        cluster = FakeCluster()
        machines = [Machine(cluster, name) for name in ("one", "two", "three")]
        for what, index in history:
            machine = machines[index]
            if what == "turn":
                await machine.turn()
            elif what == "step down":
                if not machine.is_cut:
                    await machine.election.step_down()
            else:
                machine.is_cut = what == "cut"
            assert sum(one.election.is_leading() for one in machines) <= 1
            pass_time(data.draw(st.sampled_from([0.0, 0.5, 2.0, 6.0])), *machines)
            assert sum(one.election.is_leading() for one in machines) <= 1

    asyncio.run(play())
