"""What routers found of targets, all of them together."""

from collections.abc import Iterable

from embedway_operator.observed import RouterReport


class Standings:
    """A target is as its worst router says."""

    def __init__(self, routers: Iterable[RouterReport]) -> None:
        answers = [one for one in routers if one.hash is not None]
        self._answers = answers
        told = [one.standings for one in answers if one.standings is not None]
        # Routers of an earlier release answer, and say nothing of targets.
        self._is_untold = bool(answers) and not told
        self._told = told

    def of(self, target: str) -> str:
        """`verified`, `unverified`, `quarantined`, or `untold` where routers do not speak of it."""
        if self._is_untold:
            return "untold"
        found = {one[target] for one in self._told if target in one}
        for word in ("quarantined", "unverified"):
            if word in found:
                return word
        return "verified" if "verified" in found else "unverified"

    def seen(self, target: str) -> str:
        """The same, but of what is verified: `trusted` until all routers have seen its vectors."""
        word = self.of(target)
        if word != "verified":
            return word
        telling = [one for one in self._answers if target in (one.standings or {})]
        if any(one.measured is None for one in telling):
            return "untold"
        if any(target not in (one.measured or ()) for one in telling):
            return "trusted"
        return word

    def down_at(self, targets: Iterable[str]) -> list[str]:
        """Ready routers at which none of these targets is up, as far as they tell of it."""
        names = frozenset(targets)
        return [
            one.pod
            for one in self._answers
            if one.is_ready and one.up is not None and not names & one.up
        ]
