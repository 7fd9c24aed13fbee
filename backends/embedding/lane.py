"""Short sequences that wait for a micro-batch."""

from collections.abc import Iterable

from jobs import Job, Piece


class Lane:
    """Pieces in the order in which they came; `tokens` in all of them."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, pieces: Iterable[Piece]) -> None:
        """Put pieces at the end."""
        for piece in pieces:
            self._pieces.append(piece)
            self.tokens += piece.tokens

    def take(self, max_tokens: int) -> list[Piece]:
        """Take a micro-batch of at most `max_tokens`, or one piece that has more.

        Half of it is first come, first served; the rest goes to those whose job has had least, so
        that a request of thousands of texts and a query behind it both move on.
        """
        if self.tokens <= max_tokens:
            return self._remove(set(range(len(self._pieces))))
        taken: set[int] = set()
        room = max_tokens
        for place, piece in enumerate(self._pieces):
            if taken and piece.tokens > room - max_tokens // 2:
                break
            taken.add(place)
            room -= piece.tokens
        others = (place for place in range(len(self._pieces)) if place not in taken)
        for place in sorted(others, key=lambda place: self._pieces[place].job.tokens_taken):
            if self._pieces[place].tokens <= room:
                taken.add(place)
                room -= self._pieces[place].tokens
        return self._remove(taken)

    def drop(self, jobs: set[Job]) -> None:
        """Forget the pieces of these jobs."""
        self._remove({n for n, piece in enumerate(self._pieces) if piece.job in jobs})

    def _remove(self, places: set[int]) -> list[Piece]:
        removed = [self._pieces[place] for place in sorted(places)]
        self._pieces = [piece for n, piece in enumerate(self._pieces) if n not in places]
        self.tokens -= sum(piece.tokens for piece in removed)
        return removed
