"""What a failed attempt means: for its target, and for what may still help the request."""

from dataclasses import dataclass
from enum import Enum

from router.domain.errors import (
    DeadlineExceededError,
    EmbedwayError,
    OverloadedError,
    UpstreamContractError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRejectedError,
    UpstreamSpaceError,
    UpstreamUnavailableError,
)


class Remedy(Enum):
    """What may help."""

    ANOTHER_TARGET = "another target"
    ANOTHER_TARGET_OR_LATER = "another target, or the same one later"
    SMALLER_PARTS = "smaller parts, to find the input that is refused"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Judgement:
    """`counts` against the breaker; `rest_s` seconds the target is left alone; `quarantine` it."""

    remedy: Remedy
    counts: bool = False
    rest_s: float = 0.0
    quarantine: bool = False


def judge(error: EmbedwayError) -> Judgement:  # noqa: PLR0911 - one a class of errors
    """The judgement on an attempt's error; what is none of the target's doing ends the request."""
    if isinstance(error, UpstreamSpaceError):
        return Judgement(Remedy.ANOTHER_TARGET, quarantine=True)
    if isinstance(error, UpstreamOverloadedError):
        return Judgement(Remedy.ANOTHER_TARGET_OR_LATER, rest_s=error.retry_after_s)
    if isinstance(error, OverloadedError):
        return Judgement(Remedy.ANOTHER_TARGET)
    if isinstance(error, UpstreamRejectedError):
        return Judgement(Remedy.SMALLER_PARTS)
    if isinstance(error, UpstreamUnavailableError):
        # More than a few seconds were asked for by the target itself: Retry-After, or no credit.
        rest_s = float(error.retry_after_s) if error.retry_after_s > 2 else 0.0
        return Judgement(Remedy.ANOTHER_TARGET_OR_LATER, counts=True, rest_s=rest_s)
    if isinstance(error, UpstreamContractError):
        return Judgement(Remedy.SMALLER_PARTS, counts=True)
    if isinstance(error, UpstreamError | DeadlineExceededError):
        return Judgement(Remedy.ANOTHER_TARGET_OR_LATER, counts=True)
    return Judgement(Remedy.NOTHING)
