"""What `/metrics` of a router says after real requests, in either format, to any worker."""

import json
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as triton

from router.domain.errors import UpstreamUnavailableError
from router.domain.serving import WorkerPlace
from router.observation.targets import Throughput
from router.telemetry.exposition import OPEN_METRICS, TEXT, wants_open_metrics
from tests.support.parts import program
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import KEY, fake_settings
from tests.support.tensors import text_inputs
from tests.support.wire import AUTHORIZATION, call, embed

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
    "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.fixture
def fresh(minilm: Path) -> Iterator[RouterUnderTest]:
    """A router that has not answered anything yet."""
    with RouterUnderTest(fake_settings(minilm)) as router:
        eventually(lambda: all(map(router.app.fleet.is_up, router.app.fleet.states)))
        yield router


def page(router: RouterUnderTest, accept: str = "*/*") -> str:
    answer = call(router, "GET", "/metrics", headers={"accept": accept})
    assert answer.status == 200
    return answer.body.decode()


def value(text: str, sample: str) -> float:
    """The figure of a sample, `name{labels}`; 0 where it is not there."""
    match = re.search(rf"^{re.escape(sample)} (\S+)", text, re.MULTILINE)
    return 0.0 if match is None else float(match[1])


def ended(router: RouterUnderTest, outcome: str, count: int = 1, route: str = "plain") -> str:
    """The page once so many requests of the route have been counted: that is done last."""
    sample = f'embedway_requests_total{{route="{route}",outcome="{outcome}"}}'
    eventually(lambda: value(page(router), sample) == count)
    return page(router)


def test_requests_are_counted_by_route_and_end(fresh: RouterUnderTest) -> None:
    """An answer, a model that there is none of, a wrong key: each once, and nothing else."""
    embed(fresh, input="hello")
    embed(fresh, model="nobody-has-this", input="hello")
    call(fresh, "POST", "/v1/embeddings", b"{}", {"authorization": "Bearer nobody"})
    ended(fresh, "ok")
    eventually(lambda: page(fresh).count("\nembedway_requests_total{") == 3)
    text = page(fresh)
    assert value(text, 'embedway_requests_total{outcome="model_not_found"}') == 1
    assert value(text, 'embedway_requests_total{outcome="invalid_api_key"}') == 1
    assert value(text, 'embedway_request_duration_seconds_count{route="plain"}') == 1


def test_tokens_and_calls_are_counted_by_route_tenant_and_target(fresh: RouterUnderTest) -> None:
    """What usage says is what metrics say."""
    used = embed(fresh, input=["hello", "two words"]).json["usage"]["total_tokens"]
    text = ended(fresh, "ok")
    assert value(text, 'embedway_tokens_total{route="plain",source="computed"}') == used
    assert value(text, 'embedway_tenant_tokens_total{tenant="testers"}') == used
    assert value(text, 'embedway_target_tokens_total{target="plain-target"}') == used
    assert value(text, 'embedway_target_calls_total{target="plain-target",outcome="ok"}') == 1
    usage = 'gen_ai_client_token_usage_sum{gen_ai_operation_name="embeddings"'
    told = f'{usage},gen_ai_provider_name="fake",target="plain-target",gen_ai_token_type="input"}}'
    assert value(text, told) == used


def test_a_failed_call_is_counted_with_its_error(fresh: RouterUnderTest) -> None:
    """Attempts count where the request fails too, by the code of their error."""
    fresh.fake("plain-target").fail_with = UpstreamUnavailableError("down")
    assert embed(fresh, input="hello").status == 503
    text = ended(fresh, "upstream_unavailable")
    down = 'embedway_target_calls_total{target="plain-target",outcome="upstream_unavailable"}'
    assert value(text, down) >= 1
    assert 'error_type="upstream_unavailable"' in text


def test_grpc_requests_are_counted_like_all_others(fresh: RouterUnderTest) -> None:
    """A call through the KServe gRPC door counts for its route."""
    with triton.InferenceServerClient(fresh.grpc_host) as client:
        client.infer("plain", text_inputs(triton, ["hello"], (1, 1)), headers=AUTHORIZATION)
    ended(fresh, "ok")


def test_openmetrics_has_exemplars_and_the_text_format_none(fresh: RouterUnderTest) -> None:
    """The trace of the client's `traceparent` stands beside the bucket of its request."""
    embed(fresh, headers=PARENT, input="hello")
    plain = ended(fresh, "ok")
    rich = page(fresh, PROMETHEUS)
    assert TRACE not in plain
    assert rich.endswith("# EOF\n")
    line = next(one for one in rich.splitlines() if TRACE in one and "request_duration" in one)
    assert re.search(r'_bucket\{.*\} 1 # \{trace_id="\w{32}"\} \S+ \d+\.\d{3}$', line)


def test_the_text_is_what_prometheus_wants(fresh: RouterUnderTest) -> None:
    """Promtool finds nothing to complain of in the text format."""
    embed(fresh, input="hello")
    done = subprocess.run(
        [program("promtool", "prometheus"), "check", "metrics"],
        input=ended(fresh, "ok"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("accept", "is_open"),
    [
        (PROMETHEUS, True),
        ("*/*", False),
        ("", False),
        ("text/plain", False),
        ("text/plain;q=1,application/openmetrics-text;q=0.5", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=nonsense", False),
    ],
)
def test_the_format_is_the_one_that_is_preferred(accept: str, is_open: bool) -> None:
    """OpenMetrics only for who asks for it."""
    assert wants_open_metrics(accept) is is_open


def test_the_page_needs_no_key_and_names_its_format(fresh: RouterUnderTest) -> None:
    """Scrapers have none; the content type is the format's own."""
    for accept, told in (("*/*", TEXT), (PROMETHEUS, OPEN_METRICS)):
        answer = call(fresh, "GET", "/metrics", headers={"accept": accept})
        assert (answer.status, answer.headers["content-type"]) == (200, told)


def test_names_from_outside_make_no_series(fresh: RouterUnderTest) -> None:
    """Random models, keys, paths, methods and headers leave the number of series as it was."""
    # A request is counted last, but before the next round's: the first one's series are all there.
    for _ in range(2):
        embed(fresh, input="hello")
        embed(fresh, model="nobody-has-this", input="hello")
        call(fresh, "POST", "/v1/embeddings", b"{}", {"authorization": "Bearer nobody"})
        call(fresh, "GET", "/nowhere")
        call(fresh, "BREW", "/nowhere")
        call(fresh, "GET", "/v1/models/nobody-has-this")
    ended(fresh, "ok", 2)
    before = names_of(page(fresh))
    chance = random.Random(7)
    for _ in range(60):
        word = f"{chance.getrandbits(64):x}"
        embed(fresh, model=word, input=word, headers={"x-embedway-tag": word, "traceparent": word})
        call(fresh, "POST", "/v1/embeddings", b"{}", {"authorization": f"Bearer {word}"})
        call(fresh, "GET", f"/{word}")
        call(fresh, "".join(chance.choices("ABCDEFG", k=5)), "/nowhere")
        call(fresh, "GET", f"/v1/models/{word}")
    eventually(
        lambda: value(page(fresh), 'embedway_requests_total{outcome="model_not_found"}') == 62
    )
    assert names_of(page(fresh)) == before


def names_of(text: str) -> set[str]:
    """Names and labels of all samples, but for those of pages asked for by the test itself."""
    lines = (line.rpartition(" ")[0] for line in text.splitlines() if line[0] != "#")
    return {line for line in lines if "/metrics" not in line}


def test_tenants_over_the_bound_are_counted_together(minilm: Path) -> None:
    """Tenants of the file come first, the rest is `other`; nothing is lost."""
    settings = json.dumps({"metrics": {"max_tenants": 1}})
    with RouterUnderTest(f"{fake_settings(minilm)}telemetry: {settings}\n") as router:
        meters = router.app.metrics.meters
        for number in range(50):
            meters.embedded("plain", f"tenant-{number}", 10, 0, None)
        meters.embedded("plain", "testers", 7, 0, None)
        text = page(router)
    found = re.findall(r'^embedway_tenant_tokens_total\{tenant="(.+)"\} (\d+)', text, re.MULTILINE)
    assert found == [("other", "500"), ("testers", "7")]


def test_any_worker_tells_what_all_have_answered(minilm: Path, tmp_path: Path) -> None:
    """Two routers that share a folder: each page has the sum, and gauges of both."""
    settings = fake_settings(minilm)

    def place(index: int) -> WorkerPlace:
        return WorkerPlace(index, 3, tmp_path, 0, 0)

    with (
        RouterUnderTest(settings, worker=place(0)) as one,
        RouterUnderTest(settings, worker=place(1)) as two,
    ):
        for router, count in ((one, 2), (two, 3)):
            eventually(lambda router=router: router.app.is_ready())  # type: ignore[misc]
            for _ in range(count):
                assert embed(router, input="hello").status == 200
        for router in (one, two):
            text = ended(router, "ok", 5)
            assert value(text, 'embedway_request_duration_seconds_count{route="plain"}') == 5
            eventually(lambda router=router: value(page(router), "embedway_workers") == 2)  # type: ignore[misc]
    with RouterUnderTest(settings, worker=place(2)) as third:
        # Who comes after them goes on counting, and is alone.
        ended(third, "ok", 5)
        eventually(lambda: value(page(third), "embedway_workers") == 1)


def test_the_page_holds_neither_text_nor_key(fresh: RouterUnderTest) -> None:
    """Promise 5 for metrics."""
    embed(fresh, input="xylophone-quartz-4711", user="xylophone", instruction=None)
    ended(fresh, "ok")
    for text in (page(fresh), page(fresh, PROMETHEUS)):
        assert "xylophone" not in text
        assert KEY not in text


def test_throughput_is_the_best_of_late() -> None:
    """Tokens by busy seconds; idle time changes nothing, and old records fade."""
    measured = Throughput()
    assert measured.measure(0, 0.0, 0.0) == 0.0
    assert measured.measure(1000, 0.5, 1.0) == pytest.approx(2000.0)
    assert measured.measure(1100, 1.5, 2.0) == pytest.approx(2000.0, rel=0.01)
    assert measured.measure(1100, 1.5, 602.0) == pytest.approx(1000.0, rel=0.01)
