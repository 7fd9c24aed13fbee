"""What a request asks of a target, and what rules may look at."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from router.domain.types import TokenBatch
from router.routing.script import script_of


@dataclass(frozen=True, slots=True)
class Needs:
    """`minute` is of the day, UTC. `may_spend` is false once a budget nears its end."""

    tokens: int
    longest: int
    has_texts: bool
    tenant: str = ""
    tag: str | None = None
    input_type: str | None = None
    minute: int = 0
    may_spend: bool = True
    script: Callable[[], str | None] = lambda: None
    language: Callable[[], str | None] = lambda: None


def needs_of(
    batch: TokenBatch,
    *,
    tenant: str,
    tag: str | None,
    input_type: str | None,
    texts: Sequence[str] | None,
    wall_s: float,
    may_spend: bool = True,
    language_of: Callable[[str], str | None] | None = None,
) -> Needs:
    """Needs of a whole request; `texts` are the caller's own, without prompt."""
    # Both are found out only if a rule asks; and the language, which costs more, once.
    language = None
    if texts and language_of is not None:
        language = functools.cache(lambda: language_of(" ".join(texts[:8])))
    return Needs(
        tokens=batch.total,
        longest=batch.total if batch.count == 1 else int(batch.lengths.max()),
        has_texts=batch.texts is not None,
        tenant=tenant,
        tag=tag,
        input_type=input_type,
        minute=int(wall_s // 60) % 1440,
        may_spend=may_spend,
        script=lambda: script_of(" ".join(texts[:8])) if texts else None,
        language=language or _unknown,
    )


def _unknown() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Condition:
    """When a rule holds: each field that is set must. Minutes are of the day, UTC."""

    tenants: frozenset[str] | None = None
    tags: frozenset[str] | None = None
    input_types: frozenset[str] | None = None
    scripts: frozenset[str] | None = None
    languages: frozenset[str] | None = None
    least_tokens: int | None = None
    most_tokens: int | None = None
    from_minute: int | None = None
    to_minute: int | None = None

    def holds(self, needs: Needs) -> bool:
        """Whether the request is one that the rule is about; the dearest question comes last."""
        return (
            (self.tenants is None or needs.tenant in self.tenants)
            and (self.tags is None or needs.tag in self.tags)
            and (self.input_types is None or (needs.input_type or "document") in self.input_types)
            and (self.least_tokens is None or needs.longest >= self.least_tokens)
            and (self.most_tokens is None or needs.longest <= self.most_tokens)
            and self._is_hour(needs.minute)
            and (self.scripts is None or needs.script() in self.scripts)
            and (self.languages is None or needs.language() in self.languages)
        )

    def _is_hour(self, minute: int) -> bool:
        start, end = self.from_minute, self.to_minute
        if start is None or end is None:
            return True
        # A night begins on one day and ends on the next.
        return start <= minute < end if start <= end else minute >= start or minute < end


ALWAYS = Condition()
