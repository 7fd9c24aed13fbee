"""A route's settings as the course that the dispatcher follows."""

import math
from collections.abc import Sequence
from random import Random

from router.config.routing import WhenSettings
from router.config.settings import RouteSettings
from router.dispatch.dispatcher import RouteCourse
from router.dispatch.hedging import Hedge
from router.routing.needs import ALWAYS, Condition
from router.routing.plan import Course, RoutePlan
from router.routing.strategies import make_strategy
from router.routing.targets import TargetState


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


def _condition(when: WhenSettings) -> Condition:
    return Condition(
        tenants=_set(when.tenants),
        tags=_set(when.tags),
        input_types=_set(when.input_types),
        scripts=_set(when.scripts),
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
