"""What is made once for all who need the same."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Memo(Generic[V]):
    """Values by key, in two generations of bounded size.

    A key that is another one each time must not push out what every request needs.
    """

    def __init__(self, most: int) -> None:
        """Twice `most` values are kept at the most."""
        self._most = most
        self._older: dict[Hashable, V] = {}
        self._newest: dict[Hashable, V] = {}
        # A dictionary's own method: this is asked several times a request.
        self.get = self._newest.get

    def remember(self, key: Hashable, make: Callable[[], V]) -> V:
        """What `get` does not know: from the generation before, or made."""
        value = self._older.get(key)
        if value is None:
            value = make()
        if len(self._newest) >= self._most:
            self._older, self._newest = self._newest, {}
            self.get = self._newest.get
        self._newest[key] = value
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._older, self._newest = {}, {}
        self.get = self._newest.get
