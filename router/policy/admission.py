"""Room at a target: beyond it a request is refused at once, so that the queue stays short.

Triton forms its next batch early only while its own queue is unbounded, so the bound is here.
"""

from dataclasses import dataclass

from router.domain.errors import OverloadedError
from router.domain.types import Target


@dataclass(slots=True)
class Room:
    """Requests and tokens under way at one target."""

    target: Target
    requests: int = 0
    tokens: int = 0

    def enter(self, tokens: int) -> None:
        """Take room for one request; OverloadedError where there is none.

        A lone request is always let in, or one larger than the bound could never be served.
        """
        full = self.requests >= self.target.max_in_flight_requests
        over = self.tokens + tokens > self.target.max_in_flight_tokens
        if self.requests and (full or over):
            raise OverloadedError(
                f"too much is under way ({self.requests} requests, {self.tokens} tokens): "
                "try again soon"
            )
        self.requests += 1
        self.tokens += tokens

    def leave(self, tokens: int) -> None:
        """Give back what `enter` took."""
        self.requests -= 1
        self.tokens -= tokens
