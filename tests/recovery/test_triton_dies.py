"""Triton ends, hangs and comes back under load: clear errors meanwhile, and then service again."""

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from router.upstreams.packing import PackingUpstream
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import triton_settings
from tests.support.triton import SharedTriton
from tests.support.wire import Answer, answers, call, connect, embed, request_bytes

DEADLINE_S = 5.0
# What a machine that stands still for a moment may add; clients themselves wait for twenty seconds.
STALL_S = 4.0


@dataclass
class Load:
    """Clients that ask again and again; every answer with the seconds that it took."""

    router: RouterUnderTest
    answers: list[tuple[float, float, Answer]] = field(default_factory=list)
    broken: list[Exception] = field(default_factory=list)

    @contextlib.contextmanager
    def from_clients(self, count: int) -> Iterator[None]:
        stop = threading.Event()
        clients = [
            threading.Thread(target=self._ask, args=(number, stop)) for number in range(count)
        ]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            stop.set()
            for client in clients:
                client.join()

    def since(self, moment_s: float) -> list[Answer]:
        """Answers to requests sent after that moment."""
        return [answer for began_s, _, answer in self.answers if began_s > moment_s]

    def _ask(self, number: int, stop: threading.Event) -> None:
        while not stop.is_set():
            began_s = time.monotonic()
            try:
                answer = embed(self.router, model="minilm", input=[f"text {number}"] * 4)
            except (OSError, http.client.HTTPException) as error:
                self.broken.append(error)
            else:
                self.answers.append((began_s, time.monotonic() - began_s, answer))
                # A client that heeds Retry-After would wait longer.
                stop.wait(0 if answer.status == 200 else 0.05)


@pytest.fixture
def router(minilm: Path, triton: SharedTriton) -> Iterator[RouterUnderTest]:
    settings = triton_settings(minilm, triton.process.ports.grpc, request_timeout_s=DEADLINE_S)
    with RouterUnderTest(settings) as one:
        eventually(one.app.is_ready)
        yield one


def readiness(router: RouterUnderTest) -> int:
    return call(router, "GET", "/health/ready", headers={}).status


async def test_killed_under_load_and_started_again(
    router: RouterUnderTest, triton: SharedTriton
) -> None:
    """Kill -9 gives 503s with Retry-After within the deadline; a restart gives service, unaided."""
    load = Load(router)
    with load.from_clients(6):
        eventually(lambda: len(load.answers) > 30)
        os.killpg(triton.process.process_id, signal.SIGKILL)
        killed_s = time.monotonic()
        try:
            eventually(lambda: readiness(router) == 503)
            eventually(lambda: len(load.since(killed_s)) > 12)
            assert call(router, "GET", "/health/live", headers={}).status == 200
        finally:
            triton.start()
            await triton.wait_ready()
        eventually(lambda: readiness(router) == 200, within_s=15)
        # The router is ready as soon as one of its routes is, and this may be the other one.
        eventually(lambda: router.app.fleet.is_up("packed-target"))
        back_s = time.monotonic()
        eventually(lambda: len(load.since(back_s)) > 30)
    assert load.broken == []
    assert {answer.status for _, _, answer in load.answers} == {200, 503}
    assert max(took_s for _, took_s, _ in load.answers) < DEADLINE_S + STALL_S
    assert {answer.status for answer in load.since(back_s)} == {200}
    for _, _, answer in load.answers:
        if answer.status == 503:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.error["code"] == "upstream_unavailable"
    assert router.room("packed-target") == (0, 0)
    ready = [line["ready"] for line in router.events("target") if line["target"] == "packed-target"]
    # Each change is told once; where the machine stands still for long, there may be more of them.
    assert (ready[0], ready[-1]) == (True, True)
    assert all(one is not next_one for one, next_one in itertools.pairwise(ready))
    assert False in ready


def test_hangs(router: RouterUnderTest, triton: SharedTriton) -> None:
    """A Triton that is stopped in its tracks costs callers their deadline and no more."""
    os.killpg(triton.process.process_id, signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        answer = embed(router, model="minilm", input="a")
        assert answer.status == 504
        assert DEADLINE_S - 0.5 < time.monotonic() - began_s < DEADLINE_S + STALL_S
        # Once the router has noticed, callers are told at once.
        eventually(lambda: readiness(router) == 503)
        began_s = time.monotonic()
        assert embed(router, model="minilm", input="a").status == 503
        assert time.monotonic() - began_s < DEADLINE_S - 0.5
    finally:
        os.killpg(triton.process.process_id, signal.SIGCONT)
    eventually(lambda: readiness(router) == 200)
    # The router is ready as soon as one of its routes is, and this may be the other one.
    eventually(lambda: router.app.fleet.is_up("packed-target"))
    assert embed(router, model="minilm", input="a").status == 200


def with_a_second_target(minilm: Path, triton: SharedTriton) -> str:
    """The route `both` begins with the target that is the only one of `minilm`."""
    text = triton_settings(minilm, triton.process.ports.grpc, request_timeout_s=DEADLINE_S)
    settings = yaml.safe_load(text)
    settings["targets"]["packed-target"]["timeout_s"] = 1.0
    settings["targets"]["second"] = {"space": "minilm-space", "upstream": "fake"}
    settings["routes"]["both"] = {"targets": ["packed-target", "second"]}
    return yaml.safe_dump(settings)


def test_hangs_in_a_call_of_two_routes(minilm: Path, triton: SharedTriton) -> None:
    """Who has a second target is served by it in time, whoever else is in the call."""
    stalls, sent = threading.Event(), threading.Event()

    async def stall() -> None:
        # What is sent meanwhile is read in one turn, so that it is packed into one call.
        stalls.set()
        sent.wait(10)

    with RouterUnderTest(with_a_second_target(minilm, triton)) as router:
        eventually(lambda: router.app.fleet.is_up("packed-target"))
        for route in ("both", "minilm"):
            assert embed(router, model=route, input="a").headers["x-embedway-target"] == (
                "packed-target"
            )
        upstream = router.app.fleet.upstreams["packed-target"]
        assert isinstance(upstream, PackingUpstream)
        routes = ["minilm", "both"] * 2
        connections = [connect(router) for _ in routes]
        time.sleep(0.1)
        calls = upstream.calls
        os.killpg(triton.process.process_id, signal.SIGSTOP)
        try:
            stalled = threading.Thread(target=router.run, args=(stall(),))
            stalled.start()
            stalls.wait()
            began_s = time.monotonic()
            for number, (route, connection) in enumerate(zip(routes, connections, strict=True)):
                body = {"model": route, "input": f"text {number}"}
                connection.sendall(request_bytes(json.dumps(body).encode()))
            sent.set()
            stalled.join()
            for connection in connections[1::2]:
                (answer,) = answers(connection, 1)
                assert (answer.status, answer.headers["x-embedway-target"]) == (200, "second")
            assert time.monotonic() - began_s < DEADLINE_S - 0.5
            assert upstream.calls == calls + 1
            for connection in connections[::2]:
                assert answers(connection, 1)[0].status == 504
            assert time.monotonic() - began_s > DEADLINE_S - 0.5
        finally:
            os.killpg(triton.process.process_id, signal.SIGCONT)
            for connection in connections:
                connection.close()
        assert router.room("packed-target") == (0, 0)


def test_a_router_that_starts_first(minilm: Path) -> None:
    """A router whose Triton is not there yet listens, is not ready, and answers 503."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        settings = triton_settings(minilm, nobody.getsockname()[1])
        with RouterUnderTest(settings) as router:
            assert readiness(router) == 503
            answer = embed(router, model="minilm", input="a")
            assert (answer.status, answer.error["code"]) == (503, "upstream_unavailable")
            assert "minilm" in answer.error["message"]
            assert int(answer.headers["retry-after"]) >= 1
            # The catalogue is the configuration: a model at zero replicas is no unknown one.
            listed = call(router, "GET", "/v1/models").json["data"]
            assert "minilm" in [model["id"] for model in listed]
            assert call(router, "GET", "/v1/models/minilm").status == 200
            assert call(router, "GET", "/v2/models/minilm").status == 200
