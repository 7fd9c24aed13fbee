"""Settings of routes, targets and fallback in the terms of the routing room."""

import math
from collections.abc import Sequence
from random import Random

from router.config.domain_of import price_usd_of
from router.config.profiles import ProfileSettings
from router.config.routing import FallbackSettings, WhenSettings
from router.config.settings import RouteSettings, TargetSettings
from router.dispatch.dispatcher import RouteCourse
from router.dispatch.hedging import Hedge
from router.domain.types import TokenBatch
from router.routing.breaker import BreakerLimits
from router.routing.needs import ALWAYS, Condition
from router.routing.plan import Course, RoutePlan
from router.routing.strategies import make_strategy
from router.routing.targets import TargetLimits, TargetState


def course_of(route: RouteSettings, states: Sequence[TargetState], chance: Random) -> RouteCourse:
    """Strategies and rules over these states, which are the route's targets in order."""
    by_name = {state.name: state for state in states}

    def course(
        name: str, strategy: str | None, targets: Sequence[str] | None, condition: Condition
    ) -> Course:
        chosen = states if targets is None else [by_name[target] for target in targets]
        made = make_strategy(
            strategy or route.strategy,
            chosen,
            spill_over_s=math.inf if route.spill_over_s is None else route.spill_over_s,
            random=chance.random,
        )
        return Course(name, made, condition)

    courses = [
        course(rule.name, rule.strategy, rule.targets, _condition(rule.when))
        for rule in route.rules
    ]
    courses.append(course("default", None, None, ALWAYS))
    prices = [state.limits.price_usd for state in states if state.limits.price_usd is not None]
    plan = RoutePlan(tuple(courses), min(prices, default=None))
    hedge = None if route.hedge_quantile is None else Hedge(route.hedge_quantile)
    return RouteCourse(plan, tuple(states), hedge)


def limits_of(
    target: TargetSettings, profile: ProfileSettings, canary: TokenBatch | None
) -> TargetLimits:
    """Limits of a target; where a canary rides along, its seat is taken."""
    inputs = target.max_inputs_per_call or profile.max_inputs
    tokens = target.max_tokens_per_call or profile.max_call_tokens
    if canary is not None:
        inputs = inputs - 1 if inputs is not None else None
        tokens = max(1, tokens - canary.total) if tokens is not None else None
    price = price_usd_of(target, profile)
    return TargetLimits(
        max_inputs=inputs,
        max_input_tokens=target.max_tokens_per_input or profile.max_input_tokens,
        max_call_tokens=tokens,
        takes_ids=not target.is_provider,
        # Here prices are only compared with each other; what is charged is counted elsewhere.
        price_usd=None if price is None else float(price),
        weight=target.weight,
        timeout_s=target.timeout_s,
    )


def breaker_of(fallback: FallbackSettings) -> BreakerLimits:
    """When a breaker opens, and for how long."""
    return BreakerLimits(
        consecutive_failures=fallback.breaker_failures,
        failure_ratio=fallback.breaker_failure_ratio,
        open_s=fallback.breaker_open_s,
        longest_open_s=fallback.breaker_longest_open_s,
    )


def _condition(when: WhenSettings) -> Condition:
    return Condition(
        tenants=_set(when.tenants),
        tags=_set(when.tags),
        input_types=_set(when.input_types),
        scripts=_set(when.scripts),
        languages=_set(when.languages),
        least_tokens=when.min_tokens,
        most_tokens=when.max_tokens,
        from_minute=_minute(when.from_time),
        to_minute=_minute(when.to_time),
    )


def _set(words: Sequence[str] | None) -> frozenset[str] | None:
    return None if words is None else frozenset(words)


def _minute(time: str | None) -> int | None:
    if time is None:
        return None
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)
