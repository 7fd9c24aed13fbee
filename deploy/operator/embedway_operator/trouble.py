"""Why objects of a resource are not as they should be, gathered while a plan is made."""

from embedway_operator.observed import Object, Resource


class Trouble:
    """Sentences by resource, and which objects of it the API server refused."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], list[str]] = {}
        self._refused: dict[tuple[str, str], list[tuple[str, str]]] = {}

    def add(self, resource: Resource, sentence: str) -> None:
        """Something is in the way."""
        self._said.setdefault((resource.kind, resource.name), []).append(sentence)

    def refuse(self, resource: Resource, body: Object, sentence: str) -> None:
        """The API server does not take an object, and says why."""
        told = f"{place_in(body)}: {sentence}"
        self.add(resource, told)
        refused = self._refused.setdefault((resource.kind, resource.name), [])
        refused.append((place_in(body), told))

    def of(self, resource: Resource) -> str:
        """All of it; empty where nothing is in the way."""
        return "; ".join(self._said.get((resource.kind, resource.name), ()))

    def refused_of(self, resource: Resource) -> list[tuple[str, str]]:
        """Objects that were refused, and what is said of each."""
        return self._refused.get((resource.kind, resource.name), [])


def place_in(body: Object) -> str:
    """An object as sentences name it."""
    return f"{body['kind']} {body['metadata']['name']}"
