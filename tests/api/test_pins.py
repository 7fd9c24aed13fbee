"""Pins: a tenant gets another route where it asks for one, at every door and in every book."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import numpy as np
import pytest
import yaml
from rich.console import Console
from sqlalchemy import select
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from router.config.load import parse_settings
from router.config.pins import followed
from router.domain.clock import SystemClock
from router.domain.errors import ConfigurationError
from router.domain.keys import fingerprint
from router.store.tables import usage
from router.tools.explain import Question, explain
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import KEY, fake_settings

MOVED_KEY = "ew-key-of-a-tenant-that-has-moved"


def pinned(minilm: Path, pins: dict[str, str], generation: int = 0) -> str:
    content = yaml.safe_load(fake_settings(minilm))
    content["generation"] = generation
    content["tenants"]["moved"] = {
        "keys": [{"name": "k", "sha256": fingerprint(MOVED_KEY)}], "pins": pins,
    }  # fmt: skip
    return str(yaml.safe_dump(content))


@pytest.fixture(scope="module")
def router(minilm: Path) -> Iterator[RouterUnderTest]:
    """`moved` asks for plain, and for the name of a route that is gone; both are wide now."""
    pins = {"plain": "org/wide", "retired": "plain"}
    with RouterUnderTest(pinned(minilm, pins)) as made:
        yield made.up()


async def post(router: RouterUnderTest, key: str, model: str, **headers: str) -> tuple[int, Any]:
    headers["authorization"] = f"Bearer {key}"
    body = {"model": model, "input": "a text"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(router.url + "/v1/embeddings", json=body) as answer,
    ):
        return answer.status, {**(await answer.json()), "space": answer.headers.get(
            "x-embedway-space"
        )}  # fmt: skip


def ask(router: RouterUnderTest, key: str, model: str, **headers: str) -> tuple[int, Any]:
    return asyncio.run(post(router, key, model, **headers))


@pytest.mark.parametrize(
    ("key", "model", "space"),
    [
        (KEY, "plain", "plain-space"),
        (MOVED_KEY, "plain", "wide-space"),
        (MOVED_KEY, "retired", "wide-space"),
        (MOVED_KEY, "org/wide", "wide-space"),
        (MOVED_KEY, "small", "plain-space"),
    ],
    ids=["others", "pinned", "pin after pin", "the new name", "another route"],
)
def test_a_pin_is_of_one_tenant_and_one_name(
    router: RouterUnderTest, key: str, model: str, space: str
) -> None:
    """Who is not pinned, and what is not pinned, stays where it is."""
    status, answer = ask(router, key, model)
    assert (status, answer["space"]) == (200, space)


def test_the_name_of_a_retired_route_is_of_the_pinned_alone(router: RouterUnderTest) -> None:
    """Everybody else is told that there is no such model."""
    assert ask(router, KEY, "retired")[0] == 404


def test_who_asks_for_the_old_space_is_not_given_the_new(router: RouterUnderTest) -> None:
    """A request that names its space is refused, never answered from another."""
    header = {"x-embedway-space": "plain-space"}
    assert ask(router, MOVED_KEY, "plain", **header)[0] == 409
    assert ask(router, MOVED_KEY, "plain", **{"x-embedway-space": "wide-space"})[0] == 200


def test_grpc_is_pinned_as_well(router: RouterUnderTest) -> None:
    """Both front doors resolve names in one place."""
    client = InferenceServerClient(router.grpc_host)
    tensor = InferInput("TEXT", [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[b"a text"]], dtype=object))
    shapes = {}
    for key in (KEY, MOVED_KEY):
        headers = {"authorization": f"Bearer {key}"}
        answer = client.infer("plain", [tensor], headers=headers)
        shapes[key] = answer.as_numpy("EMBEDDING").shape[-1]
        metadata = client.get_model_metadata("plain", headers=headers)
        assert metadata.outputs[0].shape[-1] == shapes[key]
    assert shapes == {KEY: 384, MOVED_KEY: 256}
    with pytest.raises(InferenceServerException) as error:
        client.infer("retired", [tensor], headers={"authorization": f"Bearer {KEY}"})
    assert str(error.value.status()) == str(grpc.StatusCode.NOT_FOUND)
    client.close()


def test_models_are_those_that_the_caller_may_ask_for(router: RouterUnderTest) -> None:
    """A name that lives on as a pin is listed for its tenant."""

    async def listed(key: str) -> set[str]:
        headers = {"authorization": f"Bearer {key}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(router.url + "/v1/models") as answer,
        ):
            return {one["id"] for one in (await answer.json())["data"]}

    routes = {"plain", "org/wide", "small"}
    assert asyncio.run(listed(KEY)) == routes
    assert asyncio.run(listed(MOVED_KEY)) == routes | {"retired"}


def test_books_and_logs_name_the_route_that_answered(router: RouterUnderTest) -> None:
    """The ledger, the log line and the metrics say where the vectors are from."""
    assert ask(router, MOVED_KEY, "plain", **{"x-request-id": "of-a-pin"})[0] == 200
    line = router.logged("request", request_id="of-a-pin")
    assert line["route"] == "org/wide"

    def routes() -> list[str]:
        with router.app._ground.engine.connect() as connection:
            found = select(usage.c.route).where(usage.c.request_id == "of-a-pin")
            return list(connection.execute(found).scalars())

    eventually(lambda: routes() == ["org/wide"], 20)


@pytest.mark.parametrize(
    ("pins", "words"),
    [
        ({"plain": "nobody"}, "tenants.moved.pins.plain: there is no route 'nobody'"),
        ({"plain": "small", "small": "plain"}, "goes round in a circle"),
        ({"plain": "plain"}, "goes round in a circle"),
    ],
    ids=["unknown", "circle", "itself"],
)
def test_pins_that_lead_nowhere_are_refused(minilm: Path, pins: dict[str, str], words: str) -> None:
    """At load, with the path of the mistake."""
    with pytest.raises(ConfigurationError, match=words):
        parse_settings(pinned(minilm, pins), "test")


def test_a_pin_is_followed_to_its_end() -> None:
    """Migrations follow one another; each name leads to the last route."""
    assert followed({"a": "b", "b": "c", "x": "y"}) == {"a": "c", "b": "c", "x": "y"}


async def test_explain_tells_of_the_pin(minilm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The route that answers the tenant, and its space, before the plan."""
    settings = parse_settings(pinned(minilm, {"plain": "org/wide"}), "test")
    for tenant in ("moved", "testers"):
        question = Question("plain", tenant=tenant)
        await explain(settings, {}, SystemClock(), Console(width=200), question)
    output = capsys.readouterr().out
    assert "plain: moved is pinned to org/wide, in the space wide-space" in output
    assert "1. wide-target" in output
    assert output.count("pinned") == 1
    assert "1. plain-target" in output


class Load:
    """Clients of two tenants; what each answer's space and width are, against its tenant's pins."""

    def __init__(self, router: RouterUnderTest) -> None:
        self._router = router
        self._stop = threading.Event()
        self.wrong: list[str] = []
        self.spaces: Counter[tuple[str, str]] = Counter()

    def run(self) -> None:
        asyncio.run(self._all())

    def stop(self) -> None:
        self._stop.set()

    async def _all(self) -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(
                self._client(session, key, pin)
                for key in (KEY, MOVED_KEY)
                for pin in (None, "plain-space", "wide-space")
                for _ in range(2)
            ))  # fmt: skip

    async def _client(self, session: aiohttp.ClientSession, key: str, pin: str | None) -> None:
        headers = {"authorization": f"Bearer {key}"} | ({"x-embedway-space": pin} if pin else {})
        body = {"model": "plain", "input": ["a text", "another"]}
        while not self._stop.is_set():
            url = self._router.url + "/v1/embeddings"
            async with session.post(url, json=body, headers=headers) as answer:
                found = await answer.json()
                self._judge(key, pin, answer, found)

    def _judge(
        self, key: str, pin: str | None, answer: aiohttp.ClientResponse, found: dict[str, Any]
    ) -> None:
        if pin is not None and answer.status == 409:
            return
        if answer.status != 200:
            self.wrong.append(f"{answer.status}")
            return
        space = answer.headers["x-embedway-space"]
        widths = {len(row["embedding"]) for row in found["data"]}
        self.spaces[key, space] += 1
        if widths != {{"plain-space": 384, "wide-space": 256}[space]} or pin not in {None, space}:
            self.wrong.append(f"{space} {widths} for {pin}")
        if found["model"] != {"plain-space": "plain", "wide-space": "org/wide"}[space]:
            self.wrong.append(f"{found['model']} in {space}")
        if key == KEY and space != "plain-space":
            self.wrong.append("another tenant was moved")


def test_pins_switch_under_load(minilm: Path, tmp_path: Path) -> None:
    """Ten reloads to and fro: no request fails or is of two spaces, and only the tenant moves.

    After each reload every answer is of the space that the configuration says.
    """
    config = tmp_path / "embedway.yaml"
    with RouterUnderTest(pinned(minilm, {}), {}, config) as router:
        router.up()
        load = Load(router)
        clients = threading.Thread(target=load.run)
        clients.start()
        try:
            for number in range(1, 11):
                pins = {"plain": "org/wide"} if number % 2 else {}
                assert router.rewrite(pinned(minilm, pins, number)) is None
                space = "wide-space" if pins else "plain-space"
                for _ in range(3):
                    assert ask(router, MOVED_KEY, "plain")[1]["space"] == space
                # The load has to have met this configuration too.
                met = load.spaces[MOVED_KEY, space]
                eventually(lambda: load.spaces[MOVED_KEY, space] > met + 2)  # noqa: B023
        finally:
            load.stop()
            clients.join()
        assert load.wrong == []
        assert load.spaces[MOVED_KEY, "wide-space"] > 10
        assert load.spaces[MOVED_KEY, "plain-space"] > 10
