"""The shapes that an engine takes: a few optimisation profiles, no shape in two of them.

Profile k takes up to `rows` sequences whose padded length lies above that of profile k-1 and is at
most `tokens`. Triton's TensorRT backend picks a profile by its distance from the tuned shape; with
ranges that do not overlap there is never more than one to pick from.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from export_faults import ExportError

_SHAPE = re.compile(r"(?P<rows>[1-9][0-9]*)x(?P<tokens>[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Profile:
    """At most `rows` sequences, padded to at most `tokens` tokens each."""

    rows: int
    tokens: int


# The router's `padded_profiles` and the model's config.pbtxt have to say the same.
DEFAULT_PROFILES = (Profile(32, 128), Profile(8, 1024), Profile(1, 8192))


def read_profile(text: str) -> Profile:
    """Read `ROWSxTOKENS`; ExportError."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise ExportError(f"{text!r} is not a profile: give ROWSxTOKENS, as 32x128")
    return Profile(int(found["rows"]), int(found["tokens"]))


def require_ladder(profiles: Sequence[Profile]) -> None:
    """Raise ExportError unless each profile takes longer and no more sequences than the last."""
    for shorter, longer in itertools.pairwise(profiles):
        if longer.tokens <= shorter.tokens or longer.rows > shorter.rows:
            raise ExportError(
                f"profile {longer.rows}x{longer.tokens} must take longer and not more sequences "
                f"than {shorter.rows}x{shorter.tokens} before it"
            )


def shape_options(profiles: Sequence[Profile]) -> list[str]:
    """Options of trtexec for all profiles, in order; each is tuned for its largest shape.

    There the GPU is busiest, so there a slower kernel would cost most.
    """
    options: list[str] = []
    shortest = 1
    for number, profile in enumerate(profiles):
        smallest, largest = Profile(1, shortest), profile
        options += [
            f"--profile={number}",
            f"--minShapes={_shapes(smallest)}",
            f"--optShapes={_shapes(largest)}",
            f"--maxShapes={_shapes(largest)}",
        ]
        shortest = profile.tokens + 1
    return options


def _shapes(profile: Profile) -> str:
    return f"INPUT_IDS:{profile.rows}x{profile.tokens},LENGTHS:{profile.rows}"
