"""A changed configuration file: what takes effect, what is refused, and what goes on meanwhile."""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from router import app
from router.domain.journal import Call
from router.domain.keys import fingerprint
from router.domain.types import Float32Array, TokenBatch
from router.upstreams.fake import FakeUpstream
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import KEY, fake_settings
from tests.support.wire import Answer, call, embed

Change = Callable[[dict[str, Any]], None]
NEW_KEY = "ew-another-key-of-the-tests-01234"


@pytest.fixture
def base(minilm: Path) -> dict[str, Any]:
    """A configuration with a memory."""
    parsed: dict[str, Any] = yaml.safe_load(fake_settings(minilm))
    return parsed | {"cache": {"max_bytes": 1_000_000}, "generation": 1}


@pytest.fixture
def router(base: dict[str, Any], tmp_path: Path) -> Iterator[RouterUnderTest]:
    """A router that watches its file; every test has its own."""
    with RouterUnderTest(yaml.safe_dump(base), {}, tmp_path / "embedway.yaml") as running:
        eventually(lambda: all(map(running.app.fleet.is_up, running.app.fleet.upstreams)))
        yield running


def changed(base: dict[str, Any], change: Change) -> str:
    """The configuration after a change, one generation later."""
    parsed = yaml.safe_load(yaml.safe_dump(base))
    parsed["generation"] += 1
    change(parsed)
    return str(yaml.safe_dump(parsed))


def served(router: RouterUnderTest) -> dict[str, Any]:
    answer = call(router, "GET", "/health/configuration", headers={})
    assert answer.status == 200
    told: dict[str, Any] = answer.json
    return told


def add_route(parsed: dict[str, Any]) -> None:
    parsed["targets"]["new-target"] = {"space": "plain-space", "upstream": "fake"}
    parsed["routes"]["new"] = {"targets": ["new-target"]}


def test_a_good_file_takes_effect(router: RouterUnderTest, base: dict[str, Any]) -> None:
    """The new route answers at once, and the router tells the file's number and hash."""
    assert embed(router, model="new", input="x").status == 404
    assert router.rewrite(changed(base, add_route)) is None
    assert embed(router, model="new", input="x").status == 200
    told, file = served(router), router._config
    assert file is not None
    assert told["generation"] == 2
    assert told["hash"] == "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
    assert told["targets"]["new-target"]["space"] == "plain-space"
    assert told["targets"]["new-target"]["standing"] == "verified"
    assert told["targets"]["new-target"]["up"] is True
    assert told["workers"] == {"serving": 1, "of": 1}


def test_a_file_is_noticed_by_itself(router: RouterUnderTest, base: dict[str, Any]) -> None:
    """Nobody has to send a signal: a link that turns, as in Kubernetes, is seen within seconds."""
    file = router._config
    assert file is not None
    other = file.with_name("other.yaml")
    other.write_text(changed(base, add_route) + router._own)
    turned = file.with_name("turned")
    turned.symlink_to(other)
    turned.replace(file)
    eventually(lambda: served(router)["generation"] == 2)


def rename_port(parsed: dict[str, Any]) -> None:
    parsed["server"]["port"] = 1234


def change_store(parsed: dict[str, Any]) -> None:
    parsed["store"] = {"url": "sqlite:////nowhere/else.db"}


def change_model(parsed: dict[str, Any]) -> None:
    parsed["spaces"]["plain-space"]["model"] = "another/model"


def lose_target(parsed: dict[str, Any]) -> None:
    del parsed["targets"]["plain-target"]


def lose_secret(parsed: dict[str, Any]) -> None:
    parsed["tenants"]["testers"]["keys"].append({"name": "n", "env": "NOT_THERE"})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(rename_port, "server.port cannot change while the router runs", id="port"),
        pytest.param(change_store, "store cannot change while the router runs", id="store"),
        pytest.param(change_model, "spaces.plain-space.model says which vectors", id="space"),
        pytest.param(lose_target, "routes.plain", id="unknown-target"),
        pytest.param(lose_secret, "environment variable NOT_THERE", id="secret"),
    ],
)
def test_a_file_that_cannot_be_served_is_refused_whole(
    router: RouterUnderTest, base: dict[str, Any], change: Change, sentence: str
) -> None:
    """The last good one stays in force, and why is told; mended, the next one is taken."""
    first = served(router)

    def both(parsed: dict[str, Any]) -> None:
        add_route(parsed)
        change(parsed)

    before, router._own = router._own, "" if change is change_store else router._own
    error = router.rewrite(changed(base, both))
    router._own = before
    assert error is not None
    assert sentence in error
    told = served(router)
    assert (told["generation"], told["hash"]) == (1, first["hash"])
    assert told["pending_error"] == error
    assert embed(router, input="x").status == 200
    assert embed(router, model="new", input="x").status == 404
    assert sentence in router.logged("configuration_refused")["reason"]
    assert router.rewrite(changed(base, add_route)) is None
    assert embed(router, model="new", input="x").status == 200


def test_a_file_that_is_no_yaml_is_refused(router: RouterUnderTest) -> None:
    """Half a file, as an editor may leave it, changes nothing."""
    error = router.rewrite("spaces: {plain")
    assert error is not None
    assert "is not valid YAML" in error
    assert embed(router, input="x").status == 200


def test_going_back_needs_no_change(router: RouterUnderTest, base: dict[str, Any]) -> None:
    """A bad file that is replaced by the one in force leaves no error behind."""
    edition = router.app._edition
    assert router.rewrite("nonsense") is not None
    assert router.rewrite(yaml.safe_dump(base)) is None
    assert router.app._edition is edition


def test_a_secret_that_comes_late_is_waited_for(
    router: RouterUnderTest, base: dict[str, Any], tmp_path: Path
) -> None:
    """A file is taken as soon as the secret that it names is there; a new value of it, too."""
    secret = tmp_path / "secret"

    def needs_secret(parsed: dict[str, Any]) -> None:
        parsed["tenants"]["late"] = {"keys": [{"name": "k", "file": str(secret)}]}

    error = router.rewrite(changed(base, needs_secret))
    assert error is not None
    assert str(secret) in error
    for value in (NEW_KEY, NEW_KEY + "-turned"):
        secret.write_text(value)
        assert router.reread() is None
        shown = {"authorization": f"Bearer {value}"}
        assert call(router, "GET", "/v1/models", headers=shown).status == 200
    old = {"authorization": f"Bearer {NEW_KEY}"}
    assert call(router, "GET", "/v1/models", headers=old).status == 401


def test_what_has_not_changed_goes_on(router: RouterUnderTest, base: dict[str, Any]) -> None:
    """Connection, state, standing and memory of a target survive a change beside it."""
    assert embed(router, input="remembered").status == 200
    fleet = router.app.fleet
    before = (fleet.upstreams["plain-target"], fleet.states["plain-target"], fleet.memory)
    calls = len(router.fake("plain-target").calls)

    def change(parsed: dict[str, Any]) -> None:
        add_route(parsed)
        parsed["targets"]["plain-target"]["price_usd_per_million_tokens"] = 3
        parsed["targets"]["plain-target"]["max_in_flight_requests"] = 7

    assert router.rewrite(changed(base, change)) is None
    fleet = router.app.fleet
    after = (fleet.upstreams["plain-target"], fleet.states["plain-target"], fleet.memory)
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert fleet.states["plain-target"].limits.price_usd == 3.0
    assert fleet.rooms["plain-target"].target.max_in_flight_requests == 7
    assert embed(router, input="remembered").status == 200
    assert len(router.fake("plain-target").calls) == calls


def _held(upstream: FakeUpstream) -> asyncio.Event:
    """Have its answers wait for the event."""
    release, embed = asyncio.Event(), upstream.embed

    async def held(batch: TokenBatch, timeout_s: float, call: Call | None = None) -> Float32Array:
        vectors = await embed(batch, timeout_s, call)
        await release.wait()
        return vectors

    upstream.embed = held  # type: ignore[method-assign]
    return release


def test_a_request_under_way_finishes_on_what_was_removed(
    router: RouterUnderTest, base: dict[str, Any]
) -> None:
    """A removed target's connection is closed when its last request has been answered."""
    slow = router.fake("plain-target")
    release = _held(slow)
    answers: list[Answer] = []
    client = threading.Thread(target=lambda: answers.append(embed(router, input="slow")))
    client.start()
    eventually(lambda: len(slow.calls) == 1)

    def change(parsed: dict[str, Any]) -> None:
        del parsed["targets"]["plain-target"]
        parsed["targets"]["other"] = {"space": "plain-space", "upstream": "fake"}
        parsed["routes"]["plain"]["targets"] = ["other"]

    assert router.rewrite(changed(base, change)) is None
    assert not slow._closed
    assert embed(router, input="fast").headers["x-embedway-target"] == "other"
    router._loop.call_soon_threadsafe(release.set)
    client.join()
    assert answers[0].status == 200
    assert answers[0].headers["x-embedway-target"] == "plain-target"
    eventually(lambda: slow._closed)


def test_keys_and_tenants_change(router: RouterUnderTest, base: dict[str, Any]) -> None:
    """A new key is known at once, and one that is gone is refused at once."""

    def change(parsed: dict[str, Any]) -> None:
        keys = [{"name": "n", "sha256": fingerprint(NEW_KEY), "scopes": ["embed"]}]
        parsed["tenants"] = {"others": {"keys": keys}}

    assert router.rewrite(changed(base, change)) is None
    shown = {"authorization": f"Bearer {NEW_KEY}"}
    assert embed(router, headers=shown, input="x").status == 200
    assert embed(router, headers={"authorization": f"Bearer {KEY}"}, input="x").status == 401


def test_a_new_limit_holds_at_once_and_nothing_is_forgotten(
    router: RouterUnderTest, base: dict[str, Any]
) -> None:
    """Raised, lowered below what is spent, raised again: what was spent stays spent."""

    def limited(tokens: int) -> Change:
        def change(parsed: dict[str, Any]) -> None:
            quota = {"unit": "tokens", "limit": tokens, "window": "total"}
            parsed["tenants"]["testers"]["quotas"] = [quota]

        return change

    def spend(most: int) -> int:
        """How many requests of three tokens are let in."""
        for number in range(most):
            if embed(router, input="harbour").status != 200:
                return number
        return most

    assert router.rewrite(changed(base, limited(12))) is None
    assert spend(10) == 4
    assert router.rewrite(changed(base, limited(18))) is None
    assert spend(10) == 2
    assert router.rewrite(changed(base, limited(100))) is None
    assert spend(1) == 1
    assert router.rewrite(changed(base, limited(20))) is None
    assert spend(10) == 0
    assert router.rewrite(changed(base, limited(24))) is None
    assert spend(10) == 1


def test_a_price_that_changes_is_charged_from_then_on(
    router: RouterUnderTest, base: dict[str, Any]
) -> None:
    """The cost in an answer is that of the file in force."""

    def priced(price: float) -> Change:
        def change(parsed: dict[str, Any]) -> None:
            parsed["targets"]["plain-target"]["price_usd_per_million_tokens"] = price
            parsed["tenants"]["testers"]["quotas"] = [
                {"unit": "usd", "limit": 1, "window": "total"}
            ]

        return change

    for price, text in ((1, "harbour"), (2, "winter")):
        assert router.rewrite(changed(base, priced(price))) is None
        cost = embed(router, input=text).headers["x-embedway-cost-usd"]
        assert float(cost) == pytest.approx(3e-6 * price)


def test_nothing_is_given_away(router: RouterUnderTest, base: dict[str, Any]) -> None:
    """What anybody may read holds no key, no price and no address."""

    def change(parsed: dict[str, Any]) -> None:
        parsed["targets"]["plain-target"]["price_usd_per_million_tokens"] = 123.456
        parsed["targets"]["plain-target"]["url"] = "grpc://secret-host:8001"

    assert router.rewrite(changed(base, change)) is None
    text = call(router, "GET", "/health/configuration", headers={}).body.decode()
    for secret in ("123", "secret-host", "price", "url", fingerprint(KEY)):
        assert secret not in text


def test_a_target_that_would_take_over_is_made_ready_first(
    router: RouterUnderTest, base: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A route that is served goes on being served while its new target is not ready yet."""
    ready = FakeUpstream.ready
    late = threading.Event()

    async def not_yet(self: FakeUpstream) -> bool:
        return await ready(self) and (late.is_set() or hasattr(self, "old"))

    for upstream in router.app.fleet.upstreams.values():
        upstream.old = True  # type: ignore[attr-defined]
    monkeypatch.setattr(FakeUpstream, "ready", not_yet)
    # A busy machine may take long for the requests below; they are what it is waited for here.
    monkeypatch.setattr(app, "_SETTLE_S", 60.0)

    def change(parsed: dict[str, Any]) -> None:
        parsed["targets"]["other"] = {"space": "plain-space", "upstream": "fake"}
        parsed["routes"]["plain"]["targets"] = ["other"]

    writer = threading.Thread(target=lambda: router.rewrite(changed(base, change)))
    writer.start()
    for _ in range(20):
        assert embed(router, input="x").headers["x-embedway-target"] in ("plain-target", "cache")
    late.set()
    writer.join()
    assert embed(router, input="y").headers["x-embedway-target"] == "other"
