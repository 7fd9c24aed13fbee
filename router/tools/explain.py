"""`embedway explain`: which targets a request would be sent to, in which order, and why."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console

from router.config.domain_of import pins_of
from router.config.settings import Settings
from router.domain.clock import Clock
from router.domain.errors import UnknownModelError
from router.routing.needs import Needs
from router.routing.script import script_of
from router.text.language import LanguageDetector, detector_of
from router.tools.fleet import standing_fleet

_LIVE_S = 1.5


@dataclass(frozen=True, slots=True)
class Question:
    """The request that is asked about; `time` is HH:MM, UTC, and None for now."""

    model: str
    tokens: int = 100
    text: str | None = None
    tenant: str = ""
    tag: str | None = None
    input_type: str | None = None
    time: str | None = None
    live: bool = False


async def explain(
    settings: Settings,
    environment: Mapping[str, str],
    clock: Clock,
    console: Console,
    question: Question,
) -> None:
    """Print the plan. Unless asked `live`, every target counts as well and verified."""
    route = pins_of(settings).get(question.tenant, {}).get(question.model, question.model)
    if route not in settings.routes:
        known = ", ".join(sorted(settings.routes))
        raise UnknownModelError(f"there is no route {question.model!r}; there are {known}")
    if route != question.model:
        space = settings.targets[settings.routes[route].targets[0]].space
        console.print(
            f"{question.model}: {question.tenant} is pinned to {route}, in the space {space}",
            highlight=False,
        )
    async with standing_fleet(settings, environment, clock) as fleet:
        if question.live:
            await fleet.start()
            await asyncio.sleep(_LIVE_S)
        else:
            fleet.assume_well()
        needs = _needs(question, clock, detector_of(settings))
        plan = fleet.dispatcher.explain(route, needs)
    console.print(f"{route}: rule {plan.course}", highlight=False)
    for number, candidate in enumerate(plan.candidates, 1):
        console.print(f"  {number}. {candidate.target}: {candidate.reason}", highlight=False)
    for left_out in plan.excluded:
        console.print(f"  -  {left_out.target}: {left_out.reason}", highlight=False)


def _needs(question: Question, clock: Clock, detector: LanguageDetector | None) -> Needs:
    text = question.text
    minute = int(clock.wall_s() // 60) % 1440
    if question.time is not None:
        hours, _, minutes = question.time.partition(":")
        minute = int(hours) * 60 + int(minutes)
    return Needs(
        tokens=question.tokens,
        longest=question.tokens,
        has_texts=True,
        tenant=question.tenant,
        tag=question.tag,
        input_type=question.input_type,
        minute=minute,
        script=lambda: script_of(text) if text else None,
        language=lambda: detector.language_of(text) if text and detector else None,
    )
