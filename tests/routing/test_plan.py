"""Plans: who is asked first, who is left out, and the reason for each."""

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.errors import UpstreamSpaceError, UpstreamUnavailableError
from router.routing.breaker import BreakerLimits
from router.routing.needs import ALWAYS, Condition, Needs
from router.routing.plan import Course, RoutePlan
from router.routing.script import SCRIPTS, script_of
from router.routing.strategies import make_strategy
from router.routing.targets import Standing, TargetLimits, TargetState

NEEDS = Needs(tokens=100, longest=50, has_texts=True)


class Fleet:
    """Targets a, b, c … on a clock of their own."""

    def __init__(self, *limits: dict[str, Any]) -> None:
        self.now_s = 1000.0
        self.down: set[str] = set()
        self.states = [
            TargetState(
                name,
                TargetLimits(**one),
                BreakerLimits(),
                lambda name: name not in self.down,
                lambda: self.now_s,
            )
            for name, one in zip("abcdefgh", limits, strict=False)
        ]
        for state in self.states:
            state.standing = Standing.VERIFIED
        self._numbers = itertools.cycle([0.05, 0.55, 0.95, 0.35, 0.75])

    def __getitem__(self, name: str) -> TargetState:
        return self.states["abcdefgh".index(name)]

    def plan(self, strategy: str = "priority", spill_over_s: float = 1e9, **rule: Any) -> RoutePlan:
        def course(name: str, states: list[TargetState], condition: Condition) -> Course:
            made = make_strategy(
                strategy, states, spill_over_s=spill_over_s, random=lambda: next(self._numbers)
            )
            return Course(name, made, condition)

        courses = [course("default", self.states, ALWAYS)]
        if rule:
            courses.insert(0, course("rule", self.states[::-1], Condition(**rule)))
        prices = [s.limits.price_usd for s in self.states if s.limits.price_usd is not None]
        return RoutePlan(tuple(courses), min(prices, default=None))


def names(plan: RoutePlan, needs: Needs = NEEDS, left_out: tuple[str, ...] = ()) -> str:
    return "".join(state.name for state in plan.candidates(needs, left_out))


def test_priority_keeps_the_order_and_leaves_out_who_cannot_serve() -> None:
    """Not ready, unverified, quarantined, resting: each with its reason."""
    fleet = Fleet({}, {}, {}, {}, {})
    fleet.down.add("a")
    fleet["b"].standing = Standing.UNVERIFIED
    fleet["c"].standing = Standing.QUARANTINED
    fleet["d"].rest(12, UpstreamUnavailableError("paid"))
    assert names(fleet.plan()) == "e"
    plan = fleet.plan().explain(NEEDS)
    assert [(one.target, one.reason) for one in plan.excluded] == [
        ("a", "not ready"),
        ("b", "unverified"),
        ("c", "quarantined"),
        ("d", "resting for 12.0 s, as it asked"),
    ]
    assert [(one.target, one.reason) for one in plan.candidates] == [
        ("e", "number 5 in the route's order")
    ]


def test_who_was_tried_is_left_out() -> None:
    """The next attempt goes elsewhere."""
    assert names(Fleet({}, {}, {}).plan(), left_out=("a",)) == "bc"


def test_a_target_with_an_open_breaker_is_the_last_resort() -> None:
    """After all that are well; but better than nobody."""
    fleet = Fleet({}, {}, {})
    for _ in range(3):
        fleet["a"].failed(fleet["a"].started(1), 1, 0.1, UpstreamUnavailableError("down"))
    assert names(fleet.plan()) == "bca"
    assert "breaker open" in fleet.plan().explain(NEEDS).excluded[0].reason
    fleet.now_s += 1.0
    assert names(fleet.plan()) == "abc"


def test_a_target_that_failed_as_a_last_resort_is_used_again() -> None:
    """Both were down for a moment; the one that came back last is the first again, not lost."""
    fleet = Fleet({}, {})
    for _ in range(4):
        for name in "ab":
            fleet[name].failed(fleet[name].started(1), 1, 0.1, UpstreamUnavailableError("down"))
    fleet["b"].succeeded(fleet["b"].started(1), 1, 0.1)
    assert names(fleet.plan()) == "ba"
    fleet.now_s += 1.0
    assert names(fleet.plan()) == "ab"


def test_a_target_of_another_space_is_never_the_last_resort() -> None:
    """No vector is better than a wrong one."""
    fleet = Fleet({})
    fleet["a"].failed(fleet["a"].started(1), 1, 0.1, UpstreamSpaceError("other"))
    assert names(fleet.plan()) == ""


def test_cheapest_goes_by_price_and_unknown_prices_last() -> None:
    """The order of writing decides between equals."""
    fleet = Fleet({"price_usd": 0.1}, {}, {"price_usd": 0.0}, {"price_usd": 0.1})
    assert names(fleet.plan("cheapest")) == "cadb"


def test_cheapest_spills_over_when_the_wait_is_too_long() -> None:
    """And comes back when it is not."""
    fleet = Fleet({"price_usd": 0.0}, {"price_usd": 0.1})
    plan = fleet.plan("cheapest", spill_over_s=0.5)
    fleet["a"].succeeded(fleet["a"].started(1), 1, 0.9)
    assert names(plan) == "ba"
    assert "passed over" in plan.explain(NEEDS).candidates[1].reason
    fleet.now_s += 30
    assert names(plan) == "ab"


def test_cheapest_spills_over_before_the_queue_is_waited_for() -> None:
    """Tokens in flight at the rate that the target gives: no call has to be late to show it."""
    fleet = Fleet({"price_usd": 0.0}, {"price_usd": 0.1})
    plan = fleet.plan("cheapest", spill_over_s=0.5)
    for _ in range(20):
        # 1,000 tokens in each 0.1 s: 10,000 a second.
        call = fleet["a"].started(1000)
        fleet.now_s += 0.1
        fleet["a"].succeeded(call, 1000, 0.1)
    call = fleet["a"].started(4000)
    assert names(plan) == "ab"
    fleet["a"].started(2000)
    assert names(plan) == "ba"
    assert "0.60 s" in plan.explain(NEEDS).candidates[1].reason
    fleet["a"].succeeded(call, 4000, 0.1)
    assert names(plan) == "ab"


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        pytest.param({"tokens": 7, "longest": 7}, True, id="shorter"),
        pytest.param({"tenant": "other"}, True, id="another tenant"),
        pytest.param({"longest": 80}, False, id="too long for one"),
        pytest.param({"has_texts": False}, False, id="ids alone"),
        pytest.param({"tag": "batch"}, False, id="by a rule"),
        pytest.param({"may_spend": False}, False, id="near the end of a budget"),
    ],
)
@pytest.mark.parametrize("strategy", ["priority", "cheapest", "weighted", "fastest"])
def test_a_way_is_the_same_where_nothing_of_the_choice_differs(
    strategy: str, change: dict[str, Any], is_same: bool
) -> None:
    """The rule, what is fit for the request, and whether money is short; not who asks."""
    fleet = Fleet({"takes_ids": False}, {"max_input_tokens": 64}, {"price_usd": 0.1})
    plan = fleet.plan(strategy, tags=frozenset({"batch"}))
    assert (plan.way(NEEDS) == plan.way(replace(NEEDS, **change))) is is_same


def test_routes_go_different_ways() -> None:
    """Be it to targets of the same names: after a reload those may be others."""
    assert Fleet({}, {}).plan().way(NEEDS) != Fleet({}, {}).plan().way(NEEDS)
    assert Fleet({}).plan("cheapest").way(NEEDS) != Fleet({}).plan("cheapest").way(NEEDS)


def test_dearer_targets_come_last_when_the_budget_nears_its_end() -> None:
    """Spilling over stops, the cheapest go on; what is dearer serves where nothing else is left."""
    fleet = Fleet({"price_usd": 0.1}, {"price_usd": 0.0}, {})
    needs = Needs(tokens=1, longest=1, has_texts=True, may_spend=False)
    assert names(fleet.plan(), needs) == "bac"
    assert "budget" in fleet.plan().explain(needs).candidates[1].reason
    assert next(fleet.plan().candidates(needs, {"b"})).name == "a"


def test_weights_are_shares() -> None:
    """Over many requests each target is first as often as its weight says."""
    fleet = Fleet({"weight": 1}, {"weight": 3})
    numbers = itertools.cycle([n / 100 for n in range(100)])
    strategy = make_strategy(
        "weighted", fleet.states, spill_over_s=1.0, random=lambda: next(numbers)
    )
    plan = RoutePlan((Course("default", strategy),), None)
    firsts = Counter(next(plan.candidates(NEEDS)).name for _ in range(1000))
    assert firsts == {"a": 250, "b": 750}


def test_fastest_prefers_little_latency_and_little_work() -> None:
    """Of two that are drawn the better one; both latency and tokens in flight count."""
    fleet = Fleet({}, {})
    for name, latency_s in (("a", 0.1), ("b", 0.01)):
        fleet[name].succeeded(fleet[name].started(1), 1, latency_s)
    plan = fleet.plan("fastest")
    assert names(plan)[0] == "b"
    fleet["b"].started(100_000)
    assert names(plan)[0] == "a"


@pytest.mark.parametrize(
    ("rule", "needs", "holds"),
    [
        ({"tenants": frozenset({"x"})}, {"tenant": "x"}, True),
        ({"tenants": frozenset({"x"})}, {"tenant": "y"}, False),
        ({"tags": frozenset({"batch"})}, {"tag": "batch"}, True),
        ({"tags": frozenset({"batch"})}, {}, False),
        ({"input_types": frozenset({"document"})}, {}, True),
        ({"input_types": frozenset({"query"})}, {}, False),
        ({"least_tokens": 50}, {}, True),
        ({"least_tokens": 51}, {}, False),
        ({"most_tokens": 49}, {}, False),
        ({"scripts": frozenset({"han"})}, {"script": lambda: "han"}, True),
        ({"scripts": frozenset({"han"})}, {"script": lambda: None}, False),
        ({"languages": frozenset({"fr"})}, {"language": lambda: "fr"}, True),
        ({"languages": frozenset({"fr"})}, {"language": lambda: None}, False),
        ({"from_minute": 60, "to_minute": 120}, {"minute": 60}, True),
        ({"from_minute": 60, "to_minute": 120}, {"minute": 120}, False),
        ({"from_minute": 1320, "to_minute": 360}, {"minute": 1400}, True),
        ({"from_minute": 1320, "to_minute": 360}, {"minute": 10}, True),
        ({"from_minute": 1320, "to_minute": 360}, {"minute": 700}, False),
        ({"tenants": frozenset({"x"}), "least_tokens": 99}, {"tenant": "x"}, False),
    ],
)
def test_a_rule_holds_where_all_its_conditions_do(
    rule: dict[str, Any], needs: dict[str, Any], holds: bool
) -> None:
    """And then its own targets are taken, in its own order."""
    asked = Needs(**{"tokens": 100, "longest": 50, "has_texts": True} | needs)
    plan = Fleet({}, {}).plan(**rule)
    assert names(plan, asked) == ("ba" if holds else "ab")
    assert plan.explain(asked).course == ("rule" if holds else "default")


@pytest.mark.parametrize(
    ("limits", "needs", "reason"),
    [
        ({"takes_ids": False}, {"has_texts": False}, "text only"),
        ({"max_input_tokens": 49}, {}, "an input of 50 tokens is over its 49"),
    ],
)
def test_a_target_that_cannot_take_the_request_is_no_candidate(
    limits: dict[str, Any], needs: dict[str, Any], reason: str
) -> None:
    """Not even as a last resort."""
    plan = Fleet(limits).plan()
    asked = Needs(**{"tokens": 100, "longest": 50, "has_texts": True} | needs)
    assert names(plan, asked) == ""
    assert reason in plan.explain(asked).excluded[0].reason


@given(
    strategy=st.sampled_from(["priority", "cheapest", "weighted", "fastest"]),
    prices=st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=8),
    down=st.sets(st.sampled_from("abcdefgh")),
    unverified=st.sets(st.sampled_from("abcdefgh")),
)
def test_every_strategy_names_each_usable_target_once(
    strategy: str, prices: list[float | None], down: set[str], unverified: set[str]
) -> None:
    """None is forgotten, none is named twice, none that may not be called is named."""
    fleet = Fleet(*({"price_usd": price} for price in prices))
    fleet.down |= down
    for state in fleet.states:
        if state.name in unverified:
            state.standing = Standing.UNVERIFIED
    usable = [s.name for s in fleet.states if s.name not in down | unverified]
    assert sorted(names(fleet.plan(strategy))) == usable
    plan = fleet.plan(strategy).explain(NEEDS)
    assert sorted(one.target for one in plan.candidates) == usable
    assert len(plan.candidates) + len(plan.excluded) == len(prices)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("The harbour was quiet", "latin"), ("Größe Žižek", "latin"), ("Добрый день", "cyrillic"),
        ("今日は良い天気です", "kana"), ("今天天气很好", "han"), ("안녕하세요", "hangul"),
        ("مرحبا بالعالم", "arabic"), ("שלום", "hebrew"), ("नमस्ते", "devanagari"),
        ("สวัสดี", "thai"), ("\u03b3\u03b5\u03b9\u03ac", "greek"),
        ("123 !?", None), ("", None), ("😀", None),
    ],
)  # fmt: skip
def test_scripts(text: str, script: str | None) -> None:
    """The commonest script of the first letters."""
    assert script_of(text) == script


@given(st.text(max_size=500))
def test_any_text_has_a_known_script_or_none(text: str) -> None:
    """No input makes it stumble."""
    assert script_of(text) in SCRIPTS | {None}


def test_rate_limit_headers_make_a_target_rest() -> None:
    """Only once nothing is left, and only until the window ends."""
    fleet = Fleet({}, {})
    fleet["a"].rate_limited(1, 30)
    assert names(fleet.plan()) == "ab"
    fleet["a"].rate_limited(0, 30)
    assert names(fleet.plan()) == "b"
    fleet.now_s += 30
    assert names(fleet.plan()) == "ab"
