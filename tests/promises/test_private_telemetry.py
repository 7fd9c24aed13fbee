"""Promise 5, in everything that is emitted: log, spans at the collector, shelf, errors, metrics."""

import base64
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.chaos.local_provider import API_KEY, LocalProvider, reply
from tests.promises.test_private import IDS, REQUESTS, SECRET, WRONG_KEY, _grpc, _leave
from tests.support.collectors import Receiver
from tests.support.provider import Provider
from tests.support.provider_thread import providers
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import KEY, fake_settings
from tests.support.wire import AUTHORIZATION, call, embed

EXPORT_SECRET = "planted-export-password"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def issuer() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture(scope="module")
def provider() -> Iterator[LocalProvider]:
    with providers("openai") as (one,):
        yield one


@pytest.fixture(scope="module")
def traced(
    minilm: Path,
    receiver: Receiver,
    issuer: Provider,
    provider: LocalProvider,
    tmp_path_factory: Any,
) -> Iterator[tuple[RouterUnderTest, Path]]:
    """A router that traces everything, and its state folder."""
    folder = tmp_path_factory.mktemp("private")
    settings = yaml.safe_load(fake_settings(minilm))
    settings["targets"]["cloud"] = {
        "space": "plain-space", "upstream": "openai", "url": provider.url, "model": "some-model",
        "api_key": {"env": "PROVIDER_KEY"}, "canary": False,
    }  # fmt: skip
    settings["routes"]["cloud"] = {"targets": ["cloud", "plain-target"]}
    settings["store"] = {"url": f"sqlite:///{folder}/e.db", "state": str(folder / "state")}
    settings["authentication"] = {
        "issuers": {"test": {"issuer": issuer.issuer, "audience": ["embedway"]}}
    }
    settings["telemetry"] = {
        "otlp": {"endpoint": receiver.url, "headers": {"authorization": {"env": "EXPORT"}}},
        "traces": {"sample_ratio": 1.0, "interval_s": 0.1},
    }
    environment = {"PROVIDER_KEY": API_KEY, "EXPORT": EXPORT_SECRET}
    with RouterUnderTest(yaml.safe_dump(settings), environment) as router:
        eventually(lambda: all(map(router.app.fleet.is_up, router.app.fleet.upstreams)))
        yield router, folder


async def _repeating(provider: LocalProvider, request: Any, body: Any) -> Any:
    """An error that repeats the input and the key, as providers' errors do."""
    del provider
    told = f"cannot embed {body['input']} for {request.headers['authorization']}"
    return reply({"error": {"message": told, "code": told}}, 500)


def planted(token: str) -> re.Pattern[str]:
    """Everything secret that was sent, in whatever form a careless line would hold it."""
    encoded = base64.b64encode(SECRET.encode()).decode().rstrip("=")[:-1]
    words = [SECRET, encoded, WRONG_KEY, KEY, API_KEY, EXPORT_SECRET, token, *token.split(".")]
    ids = r"\W+".join(map(str, IDS[:2]))
    return re.compile("|".join([*map(re.escape, words), ids]), re.IGNORECASE)


def test_nothing_that_is_emitted_holds_a_secret(
    traced: tuple[RouterUnderTest, Path],
    receiver: Receiver,
    issuer: Provider,
    provider: LocalProvider,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Texts, ids, keys, tokens, passwords are in no log, span, trace on disk, error or metric."""
    router, folder = traced
    token = issuer.token(time.time()).decode()
    answers = [
        call(router, "POST", path, content, headers=AUTHORIZATION | headers)
        for path, content, headers in REQUESTS.values()
    ]
    answers.append(embed(router, {"authorization": f"Bearer {token}"}, input=SECRET))
    parents = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": f"no state: {SECRET}"}
    answers.append(embed(router, {**parents, "user-agent": SECRET}, input=SECRET))
    provider.fault = _repeating
    answers.append(embed(router, model="cloud", input=SECRET))
    provider.fault = None
    answers.append(embed(router, model="cloud", input=SECRET))
    _grpc(router)
    _leave(router)
    router.logged("request", status=499)
    metrics = call(router, "GET", "/metrics", headers={})
    kept = router.tracer.kept
    assert kept > len(REQUESTS)
    router.run(router.tracer.flush())
    exporter = router.tracer.exporter
    assert exporter is not None
    eventually(lambda: exporter.waiting_bytes == 0)
    files = [path.read_bytes() for path in folder.rglob("*.traces")]
    streams = capfd.readouterr()
    emitted = {
        "log": router.log.decode(),
        "spans": b"\n".join(receiver.bodies).decode("utf-8", "replace"),
        "shelf": b"\n".join(files).decode("utf-8", "replace"),
        "errors": "\n".join(a.body.decode() for a in answers if a.status >= 500),
        "metrics": metrics.body.decode() if metrics.status == 200 else "",
        "out": streams.out + streams.err,
    }
    assert len(receiver.spans()) > 3 * len(REQUESTS)
    assert len(emitted["shelf"]) > 1000
    pattern = planted(token)
    for place, text in emitted.items():
        found = pattern.search(text)
        assert found is None, f"{place}: {text[max(0, found.start() - 80) : found.end()]!r}"
    for answer in answers:
        assert not any(s in answer.body.decode() for s in (KEY, WRONG_KEY, API_KEY, token))


def test_what_is_planted_would_be_found(issuer: Provider) -> None:
    """The search finds each of the secrets where it stands."""
    token = issuer.token(time.time()).decode()
    pattern = planted(token)
    for secret in (SECRET, KEY, API_KEY, EXPORT_SECRET, WRONG_KEY, token, f"[{IDS[0]}, {IDS[1]}]"):
        assert pattern.search(f"x {secret} y")
