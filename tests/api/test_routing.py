"""Providers behind the doors: fallback, memory, rules and what answers tell of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks.chaos import faults
from benchmarks.chaos.local_provider import API_KEY, LocalProvider, text_vector
from router.domain.errors import ConfigurationError
from router.vectors.matryoshka import narrow
from tests.support.provider_thread import providers
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import SHY_KEY, provider_settings
from tests.support.wire import Answer, call, embed, vectors

KINDS = ("qwen", "together", "cohere")
RULES = [
    {"name": "night", "when": {"tags": ["night"]}, "targets": ["cohere", "qwen"]},
    {"name": "cyrillic", "when": {"scripts": ["cyrillic"]}, "targets": ["together"]},
]


@pytest.fixture(scope="module")
def scene(minilm: Path) -> Iterator[tuple[RouterUnderTest, dict[str, LocalProvider]]]:
    with providers(*KINDS) as made:
        urls = {kind: one.url for kind, one in zip(KINDS, made, strict=True)}
        settings = provider_settings(minilm, urls)
        settings["routes"]["mixed"]["rules"] = RULES
        settings["fallback"] = {"breaker_open_s": 0.2}
        text = yaml.safe_dump(settings)
        with RouterUnderTest(text, {"PROVIDER_KEY": API_KEY}) as router:
            eventually(lambda: all(map(router.app.fleet.is_up, KINDS)))
            yield router, dict(zip(KINDS, made, strict=True))


@pytest.fixture(autouse=True)
def _well(scene: tuple[RouterUnderTest, dict[str, LocalProvider]]) -> Iterator[None]:
    yield
    router, made = scene
    for name, one in made.items():
        one.fault = None
        router.recover(name)


Scene = tuple[RouterUnderTest, dict[str, LocalProvider]]


def ask(router: RouterUnderTest, *texts: str, headers: Any = None, **body: Any) -> Answer:
    return embed(router, headers, model="mixed", input=list(texts), **body)


def right(answer: Answer, *texts: str) -> bool:
    expected = np.stack([text_vector(text, 384) for text in texts])
    return np.allclose(np.array(vectors(answer)), expected, atol=1e-6)


def test_a_provider_gives_a_texts_own_vectors(scene: Scene) -> None:
    """With the canary on the way, and out of sight."""
    router, made = scene
    answer = ask(router, "first words", "second words")
    assert right(answer, "first words", "second words")
    assert made["qwen"].bodies[-1]["input"] == ["first words", "second words", "harbour"]
    assert answer.headers["x-embedway-target"] == "qwen"
    assert "x-embedway-attempts" not in answer.headers


def test_a_failing_provider_is_invisible_but_told_of(scene: Scene) -> None:
    """Another answers; the header and the log name each attempt."""
    router, made = scene
    made["qwen"].fault = faults.server_error
    answer = ask(router, "something else")
    assert right(answer, "something else")
    assert answer.headers["x-embedway-target"] == "together"
    attempts = answer.headers["x-embedway-attempts"].split(", ")
    assert [one.split(";")[0] for one in attempts] == ["qwen=upstream_error", "together=ok"]
    line = router.logged("request", request_id=answer.headers["x-request-id"])
    assert line["attempts"].startswith("qwen=upstream_error;")


def test_a_larger_request_than_the_provider_takes_is_cut(scene: Scene) -> None:
    """96 texts a call at Cohere, one of which is the canary's."""
    router, made = scene
    texts = [f"number {number}" for number in range(200)]
    answer = ask(router, *texts, headers={"x-embedway-tag": "night"})
    assert right(answer, *texts)
    assert [len(body["texts"]) for body in made["cohere"].bodies[-3:]].count(96) == 2


@pytest.mark.parametrize(
    ("texts", "headers", "target"),
    [
        pytest.param(["a rule about tags"], {"x-embedway-tag": "night"}, "cohere", id="tag"),
        pytest.param(["a rule about tags"], {"x-embedway-tag": "day"}, "qwen", id="another tag"),
        pytest.param(["Гавань была тихой"], {}, "together", id="script"),
        pytest.param(["The harbour was quiet"], {}, "qwen", id="no rule"),
    ],
)
def test_rules_choose_the_target(
    scene: Scene, texts: list[str], headers: dict[str, str], target: str
) -> None:
    """By what the request says of itself, and by what it is written in."""
    answer = ask(scene[0], *texts, headers=headers, cache=False)
    assert answer.status == 200
    assert answer.headers["x-embedway-target"] == target


def test_what_was_computed_is_remembered_and_told(scene: Scene) -> None:
    """No call, the same vectors, and usage says which tokens cost nothing."""
    router, made = scene
    first = ask(router, "remember me")
    assert "prompt_tokens_details" not in first.json["usage"]
    calls = sum(one.calls for one in made.values())
    again = ask(router, "remember me")
    assert sum(one.calls for one in made.values()) == calls
    assert vectors(again) == vectors(first)
    tokens = again.json["usage"]["prompt_tokens"]
    assert again.json["usage"]["prompt_tokens_details"] == {"cached_tokens": tokens}
    assert again.headers["x-embedway-target"] == "cache"
    assert (
        router.logged("request", request_id=again.headers["x-request-id"])["cached_tokens"]
        == tokens
    )


def test_a_narrower_answer_comes_from_the_same_memory(scene: Scene) -> None:
    """The full width is remembered once."""
    router, made = scene
    full = np.array(vectors(ask(router, "cut me")), np.float32)
    calls = sum(one.calls for one in made.values())
    short = np.array(vectors(ask(router, "cut me", dimensions=32)), np.float32)
    assert np.allclose(short, narrow(full, 32), atol=1e-6)
    assert sum(one.calls for one in made.values()) == calls


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param({}, {"cache": False}, id="request"),
        pytest.param({"authorization": f"Bearer {SHY_KEY}"}, {}, id="tenant"),
    ],
)
def test_nothing_is_remembered_for_who_does_not_want_it(
    scene: Scene, headers: dict[str, str], body: dict[str, bool]
) -> None:
    """Neither taken from memory nor put there."""
    router, made = scene
    kept = len(router.app.fleet.memory)
    calls = made["qwen"].calls
    for _ in range(2):
        answer = ask(router, f"forget me {headers}", headers=headers, **body)
        assert answer.status == 200
        assert "prompt_tokens_details" not in answer.json["usage"]
    assert made["qwen"].calls == calls + 2
    assert len(router.app.fleet.memory) == kept


def test_another_models_vectors_never_come_out(scene: Scene) -> None:
    """The provider is put out at once, what it computed is forgotten, and it comes back later."""
    router, made = scene
    ask(router, "computed by qwen")
    made["qwen"].model = "other"
    answer = ask(router, "after the swap")
    made["qwen"].model = "right"
    assert right(answer, "after the swap")
    line = router.logged("standing", target="qwen", standing="quarantined")
    assert line["forgotten"] >= 1
    assert "text" not in line["reason"]
    eventually(lambda: router.app.fleet.is_up("qwen"))


def test_a_poisonous_input_is_named(scene: Scene) -> None:
    """All providers refuse it: the error says which it is, not what it says."""
    router, made = scene

    async def refuse(provider: LocalProvider, request: Any, body: dict[str, Any]) -> Any:
        texts = body.get("texts", body.get("input"))
        if "poison 7" in texts:
            return faults.reply(faults.refusal(provider.manners, "bad poison 7"), 400)
        return faults.reply(provider.document(body))

    for one in made.values():
        one.fault = refuse
    answer = ask(router, *(f"poison {number}" for number in range(12)))
    assert answer.status == 502
    assert answer.error["code"] == "upstream_rejected"
    assert "(input 7)" in answer.error["message"]
    assert "poison" not in answer.error["message"]


def test_token_ids_go_to_a_provider_as_their_text(scene: Scene) -> None:
    """The ids of a text give the vector of the text."""
    router, _ = scene
    ids = router.app.fleet.tokenizers["mixed-space"].encode(["plain words"])[0]
    answer = embed(router, model="mixed", input=ids, cache=False)
    assert right(answer, "plain words")


def test_kserve_knows_the_memory_too(scene: Scene) -> None:
    """The parameter `cache` keeps a request out of it."""
    router, made = scene
    tensor = {"name": "TEXT", "datatype": "BYTES", "shape": [1], "data": ["kserve text"]}
    for cache, more in ((True, 1), (True, 0), (False, 1)):
        calls = made["qwen"].calls
        body = {"inputs": [tensor], "parameters": {"cache": cache}}
        answer = call(router, "POST", "/v2/models/mixed/infer", json.dumps(body).encode())
        assert answer.status == 200
        assert made["qwen"].calls == calls + more


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(
            lambda s: s["targets"]["qwen"].update(profile="nobody"), "there are only", id="profile"
        ),
        pytest.param(lambda s: s["targets"]["qwen"].pop("url"), "has none: give it", id="url"),
        pytest.param(lambda s: s["targets"]["qwen"].pop("api_key"), "api_key", id="no key"),
        pytest.param(lambda s: s["targets"]["qwen"].pop("model"), "needs a model", id="no model"),
        pytest.param(
            lambda s: s["targets"]["qwen"].update(api_key={"env": "NOT_SET"}), "no key", id="key"
        ),
        pytest.param(
            lambda s: s["targets"]["qwen"].update(profile="dashscope"), "384 dimensions", id="width"
        ),
        pytest.param(
            lambda s: s["routes"]["mixed"].update(
                rules=[{"name": "r", "when": {}, "targets": ["x"]}]
            ),
            "the route has no target 'x'",
            id="rule",
        ),
        pytest.param(
            lambda s: s.update(profiles={"own": {"extends": "nobody"}}), "to extend", id="extends"
        ),
        pytest.param(
            lambda s: s.update(profiles={"a": {"extends": "b"}, "b": {"extends": "a"}}),
            "to extend",
            id="circle",
        ),
        pytest.param(
            lambda s: s["spaces"]["mixed-space"].update(verification={"reference": "x"}),
            "none of its targets",
            id="reference",
        ),
    ],
)
async def test_a_mistake_is_refused_with_its_place(
    minilm: Path, change: Any, sentence: str
) -> None:
    """Before anything starts, and without a secret."""
    settings = provider_settings(minilm, {"qwen": "http://127.0.0.1:1"})
    change(settings)
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        RouterUnderTest(yaml.safe_dump(settings), {"PROVIDER_KEY": API_KEY}).__enter__()
    assert API_KEY not in str(caught.value)


async def test_a_profile_takes_a_few_lines(minilm: Path) -> None:
    """A provider that is like another but for one thing."""
    settings = provider_settings(minilm, {"qwen": "http://127.0.0.1:1"})
    settings["profiles"] = {
        "mine": {"extends": "openai", "max_inputs": 7},
        "openai": {"extends": "openai", "max_inputs": 9},
    }
    settings["targets"]["qwen"]["profile"] = "mine"
    settings["targets"]["qwen"]["canary"] = False
    router = RouterUnderTest(yaml.safe_dump(settings), {"PROVIDER_KEY": API_KEY})
    with router:
        limits = router.app.fleet.states["qwen"].limits
    assert limits.max_inputs == 7
    assert limits.max_input_tokens == 8192
