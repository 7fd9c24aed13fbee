"""How many tokens a target gives in a second when it is busy, and so how long its queue takes."""

from collections import deque

_SLOT_S = 1.0
_SLOTS = 30


class Throughput:
    """Tokens in flight, and the best rate among the latest busy seconds.

    The best and not the last: a target with little to do gives few tokens, and can more.
    """

    def __init__(self) -> None:
        self.tokens_in_flight = 0
        self.busy_s = 0.0
        self._calls = 0
        self._since_s = 0.0
        self._slot_began_s = 0.0
        self._slot_tokens = 0
        self._rates: deque[float] = deque(maxlen=_SLOTS)
        self._best = 0.0

    def started(self, tokens: int, now_s: float) -> None:
        """A call starts."""
        self._pass(now_s)
        self._calls += 1
        self.tokens_in_flight += tokens

    def ended(self, tokens: int, given: int, now_s: float) -> None:
        """A call of `tokens` ends; it gave vectors of `given` tokens."""
        self._pass(now_s)
        self._calls -= 1
        self.tokens_in_flight -= tokens
        self._slot_tokens += given
        busy_s = self.busy_s - self._slot_began_s
        if busy_s >= _SLOT_S:
            self._rates.append(self._slot_tokens / busy_s)
            self._best = max(self._rates)
            self._slot_began_s, self._slot_tokens = self.busy_s, 0

    def busy_until_s(self, now_s: float) -> float:
        """Seconds in which a call was under way, up to this moment."""
        return self.busy_s + (max(0.0, now_s - self._since_s) if self._calls else 0.0)

    @property
    def tokens_per_s(self) -> float | None:
        """The best rate of late, or None before a busy second has passed."""
        return self._best or None

    def wait_s(self) -> float:
        """How long what is in flight takes at that rate; 0 where nothing is known."""
        return self.tokens_in_flight / self._best if self._best else 0.0

    def _pass(self, now_s: float) -> None:
        """Time passes; it was busy if a call was under way."""
        if self._calls:
            self.busy_s += max(0.0, now_s - self._since_s)
        self._since_s = now_s
