"""A target serves a space only while its vectors are those of the space."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router.dispatch import references
from router.dispatch.prober import Prober, WatchedSpace
from router.domain.errors import (
    ConfigurationError,
    UpstreamUnavailableError,
)
from router.domain.types import Space
from router.routing.breaker import BreakerLimits
from router.routing.targets import Standing, TargetLimits, TargetState
from router.routing.verification import Tolerance
from router.text.golden import GOLDEN_TEXTS, golden_batches
from router.text.tokenizer import HuggingFaceTokenizer
from router.upstreams.fake import FakeUpstream
from tests.support.changed_vectors import DIMENSIONS, SPACE, Changed, noisy, rotated


class Watch:
    """A prober over `reference` and `other`."""

    def __init__(
        self, tokenizer: HuggingFaceTokenizer, other: FakeUpstream, known: Any = None
    ) -> None:
        self.upstreams = {"reference": FakeUpstream(DIMENSIONS), "other": other}
        self.events: list[tuple[str, str]] = []
        self.states = {
            name: TargetState(
                name, TargetLimits(max_inputs=10), BreakerLimits(), lambda _: True, lambda: 0.0
            )
            for name in self.upstreams
        }
        self.watched = WatchedSpace(
            SPACE,
            golden_batches(SPACE, tokenizer),
            ("reference", "other"),
            "reference",
            Tolerance(),
            interval_s=0.01,
            retry_s=0.01,
            known=known,
        )
        self.prober = Prober(
            [self.watched],
            self.upstreams,
            self.states,
            lambda name: self.upstreams[name].is_ready,
            lambda name, standing, _: self.events.append((name, standing.value)),
        )

    def standing(self, name: str = "other") -> Standing:
        return self.states[name].standing

    async def until(self, standing: Standing) -> None:
        async with asyncio.timeout(30):
            while self.standing() is not standing:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


async def test_a_target_joins_after_it_was_found_equal(tokenizer: HuggingFaceTokenizer) -> None:
    """Not before; the reference itself defines the space."""
    watch = Watch(tokenizer, FakeUpstream(DIMENSIONS))
    assert watch.standing("reference") is Standing.VERIFIED
    assert watch.standing() is Standing.UNVERIFIED
    watch.prober.start()
    await watch.until(Standing.VERIFIED)
    await watch.prober.close()
    assert watch.events == [("other", "verified")]
    assert max(call.count for call in watch.upstreams["other"].calls) <= 10


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(rotated, id="another model"),
        pytest.param(noisy(0.3), id="cosine 0.95"),
        pytest.param(lambda vectors: np.roll(vectors, 1, axis=0), id="shifted by one"),
        pytest.param(lambda vectors: vectors * 1.5, id="not of unit length"),
        pytest.param(lambda vectors: vectors[:, :-1], id="another dimension"),
        pytest.param(lambda vectors: np.where(vectors > 0.4, np.nan, vectors), id="NaN"),
        pytest.param(lambda vectors: -vectors, id="another sign"),
    ],
)
async def test_a_target_that_differs_never_joins(
    tokenizer: HuggingFaceTokenizer, change: Any
) -> None:
    """However it differs."""
    watch = Watch(tokenizer, Changed(change))
    watch.prober.start()
    await watch.until(Standing.QUARANTINED)
    await watch.prober.close()
    assert watch.events == [("other", "quarantined")]


async def test_small_differences_are_tolerated(tokenizer: HuggingFaceTokenizer) -> None:
    """Engines and precisions differ a little; that is still the same space."""
    watch = Watch(tokenizer, Changed(noisy(0.05)))
    watch.prober.start()
    await watch.until(Standing.VERIFIED)
    await watch.prober.close()
    assert 0.99 < watch.prober.records["other"].last.least_cosine < 0.9999


async def test_drift_quarantines_and_recovery_takes_two_passes(
    tokenizer: HuggingFaceTokenizer,
) -> None:
    """A model that is swapped later is found; one lucky answer does not bring it back."""
    other = Changed(lambda vectors: vectors)
    watch = Watch(tokenizer, other)
    await watch.prober.probe(watch.watched, "other")
    assert watch.standing() is Standing.VERIFIED
    other.change = rotated
    await watch.prober.probe(watch.watched, "other")
    assert watch.standing() is Standing.QUARANTINED
    other.change = lambda vectors: vectors
    await watch.prober.probe(watch.watched, "other")
    assert watch.standing() is Standing.QUARANTINED
    await watch.prober.probe(watch.watched, "other")
    assert watch.standing() is Standing.VERIFIED
    assert [event for _, event in watch.events] == ["verified", "quarantined", "verified"]


async def test_the_reference_may_drift_too(tokenizer: HuggingFaceTokenizer) -> None:
    """Its first vectors are the space's; when it gives others later, it is out."""
    watch = Watch(tokenizer, FakeUpstream(DIMENSIONS))
    await watch.prober.probe(watch.watched, "reference")
    watch.upstreams["reference"] = Changed(rotated)
    await watch.prober.probe(watch.watched, "reference")
    assert watch.standing("reference") is Standing.QUARANTINED


async def test_a_target_that_is_down_keeps_its_standing(tokenizer: HuggingFaceTokenizer) -> None:
    """Being away is the breaker's matter, and no drift."""
    other = FakeUpstream(DIMENSIONS)
    watch = Watch(tokenizer, other)
    watch.prober.start()
    await watch.until(Standing.VERIFIED)
    other.fail_with = UpstreamUnavailableError("down")
    asked = len(other.calls)
    async with asyncio.timeout(30):
        while len(other.calls) < asked + 3:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert watch.standing() is Standing.VERIFIED
    await watch.prober.close()


async def test_without_the_reference_nobody_joins_unless_it_is_in_a_file(
    tokenizer: HuggingFaceTokenizer, tmp_path: Path
) -> None:
    """A router that starts while its own fleet is down still knows what the vectors should be."""
    watch = Watch(tokenizer, FakeUpstream(DIMENSIONS))
    vectors = await watch.prober.golden_vectors(watch.watched, "reference")
    watch.upstreams["reference"].is_ready = False
    watch.prober.start()
    await asyncio.sleep(0.05)
    await watch.prober.close()
    assert watch.standing() is Standing.UNVERIFIED

    batches = watch.watched.batches
    references.save(tmp_path / "space.npz", batches, vectors)
    known = references.load(tmp_path / "space.npz", batches, DIMENSIONS)
    again = Watch(tokenizer, FakeUpstream(DIMENSIONS), known)
    again.upstreams["reference"].is_ready = False
    again.prober.start()
    await again.until(Standing.VERIFIED)
    await again.prober.close()
    assert again.standing("reference") is Standing.UNVERIFIED


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_file_of_something_else_is_refused(
    tokenizer: HuggingFaceTokenizer, tmp_path: Path, content: bytes | None
) -> None:
    """One sentence, and no pickle is ever read."""
    path, batches = tmp_path / "space.npz", golden_batches(SPACE, tokenizer)
    if content is None:
        references.save(path, batches[:1], np.zeros((len(GOLDEN_TEXTS), DIMENSIONS), np.float32))
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError):
        references.load(path, batches, DIMENSIONS)


def test_golden_texts_fit_every_space(tokenizer: HuggingFaceTokenizer) -> None:
    """Cut to what the space takes, every one of them has a text that a provider can be sent."""
    for max_tokens in (16, 64, 512, 32768):
        documents, query = golden_batches(Space("s", "m", 8, max_tokens), tokenizer)
        assert documents.count == len(GOLDEN_TEXTS)
        assert int(documents.lengths.max()) <= max_tokens
        assert documents.texts is not None
        assert query.count == 1


async def test_a_new_reference_does_not_redefine_a_space(tokenizer: HuggingFaceTokenizer) -> None:
    """Where the space's vectors are known from before, it has to be found equal like any other."""
    before = Watch(tokenizer, FakeUpstream(DIMENSIONS))
    before.prober.start()
    await before.until(Standing.VERIFIED)
    await before.prober.close()
    after = Watch(tokenizer, FakeUpstream(DIMENSIONS))
    after.upstreams["reference"] = Changed(rotated)
    after.states["reference"].standing = Standing.UNVERIFIED
    prober = Prober(
        [after.watched],
        after.upstreams,
        after.states,
        lambda name: True,
        lambda *_: None,
        before.prober,
    )
    assert after.standing("reference") is Standing.UNVERIFIED
    await prober.probe(after.watched, "reference")
    assert after.standing("reference") is Standing.QUARANTINED
    await prober.probe(after.watched, "other")
    assert after.standing("other") is Standing.VERIFIED


async def test_a_carried_target_is_not_asked_before_its_time(
    tokenizer: HuggingFaceTokenizer,
) -> None:
    """A prober that follows another goes on where that one was, alarms included."""
    watch = Watch(tokenizer, FakeUpstream(DIMENSIONS))
    watched = replace(watch.watched, interval_s=60.0)
    first = Prober([watched], watch.upstreams, watch.states, lambda name: True, lambda *_: None)
    first.start()
    await watch.until(Standing.VERIFIED)
    await asyncio.sleep(0.05)
    await first.close()
    calls = len(watch.upstreams["other"].calls)
    names = ("reference", "other")
    second = Prober(
        [watched], watch.upstreams, watch.states, lambda name: True, lambda *_: None, first, names
    )
    second.start()
    await asyncio.sleep(0.1)
    assert len(watch.upstreams["other"].calls) == calls
    # A call that the first one's fleet still makes puts the target out: it is asked again soon.
    first.alarm("other")
    async with asyncio.timeout(30):
        while len(watch.upstreams["other"].calls) == calls:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await second.close()


async def until_seen(prober: Prober, name: str) -> None:
    async with asyncio.timeout(30):
        while not prober.is_measured(name):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_trusted_is_not_measured(tokenizer: HuggingFaceTokenizer) -> None:
    """The reference may serve at once, and is measured when its vectors were seen."""
    watch = Watch(tokenizer, FakeUpstream(DIMENSIONS))
    assert watch.standing("reference") is Standing.VERIFIED
    assert not watch.prober.is_measured("reference")
    watch.prober.start()
    await until_seen(watch.prober, "reference")
    await until_seen(watch.prober, "other")
    await watch.prober.close()
    assert not watch.prober.is_measured("nobody")


async def test_a_lone_target_is_seen_once_and_defines_nothing(
    tokenizer: HuggingFaceTokenizer,
) -> None:
    """Not before it is ready; wrong answers count for nothing, and later ones are its own."""
    watch = Watch(tokenizer, FakeUpstream(DIMENSIONS))
    only = watch.upstreams["reference"] = Changed(lambda vectors: vectors[:, :-1])
    only.is_ready = False
    lone = replace(watch.watched, targets=("reference",))
    prober = Prober(
        [], watch.upstreams, watch.states, lambda name: watch.upstreams[name].is_ready,
        lambda *_: None, lone=[lone],
    )  # fmt: skip
    before = watch.standing("reference")
    prober.start()
    await asyncio.sleep(0.05)
    assert not only.calls
    only.is_ready = True
    async with asyncio.timeout(30):
        while not only.calls:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    assert not prober.is_measured("reference")
    only.change = lambda vectors: vectors
    await until_seen(prober, "reference")
    asked = len(only.calls)
    await asyncio.sleep(0.1)
    await prober.close()
    assert len(only.calls) == asked
    assert watch.standing("reference") is before
    assert not prober.knows(SPACE.name)
    after = Prober(
        [], watch.upstreams, watch.states, lambda _: True, lambda *_: None, prober,
        {"reference"}, [lone],
    )  # fmt: skip
    assert after.is_measured("reference")


@pytest.fixture
async def told() -> AsyncIterator[list[dict[str, Any]]]:
    """What the loop is told of defects in probing, and of nothing else."""
    contexts: list[dict[str, Any]] = []

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context["message"] == "probing a target":
            contexts.append(context)
        else:
            loop.default_exception_handler(context)

    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(handle)
    yield contexts
    # All tests share the loop.
    loop.set_exception_handler(before)


async def test_a_defect_ends_no_probing(
    tokenizer: HuggingFaceTokenizer, told: list[dict[str, Any]]
) -> None:
    """Whoever hears of a standing fails: it is told of, and the target is probed on."""
    other = Changed(rotated)
    watch = Watch(tokenizer, other)

    def report(name: str, standing: Standing, _: str | None) -> None:
        watch.events.append((name, standing.value))
        if len(watch.events) == 1:
            raise RuntimeError("defect")

    watch.prober._report = report
    watch.prober.start()
    await watch.until(Standing.QUARANTINED)
    other.change = lambda vectors: vectors
    await watch.until(Standing.VERIFIED)
    await watch.prober.close()
    assert watch.events == [("other", "quarantined"), ("other", "verified")]
    assert [type(one["exception"]) for one in told] == [RuntimeError]


async def test_a_defect_does_not_end_the_look_at_a_lone_target(
    tokenizer: HuggingFaceTokenizer, told: list[dict[str, Any]]
) -> None:
    """A target that was not understood once is asked again."""
    watch = Watch(tokenizer, FakeUpstream(DIMENSIONS))
    upstream = watch.upstreams["other"]
    upstream.fail_with = RuntimeError("defect")  # type: ignore[assignment]
    lone = replace(watch.watched, targets=("other",), reference="other")
    prober = Prober([], watch.upstreams, watch.states, lambda _: True, lambda *_: None, lone=[lone])
    prober.start()
    async with asyncio.timeout(30):
        while not told:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        upstream.fail_with = None
        while not prober.is_measured("other"):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await prober.close()
