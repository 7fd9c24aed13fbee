"""What is measured: shapes of requests, at several concurrencies."""

from dataclasses import dataclass

import orjson

KEY = "ew-benchmark-key-benchmark-key"
CONCURRENCIES = (1, 16, 64)
_SENTENCES = (
    "The harbour was quiet until the first fishing boats came home.",
    "How do I change the delivery address of an order that has shipped?",
    "Photosynthesis turns light, water and carbon dioxide into sugar.",
    "Quarterly revenue grew by nine percent on strong subscription sales.",
    "Which of these two medicines may be taken with grapefruit juice?",
    "The committee postponed its vote because two members were absent.",
    "A binary search needs its input to be sorted in advance.",
    "Snow closed the mountain pass for the third time this winter.",
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Texts a request, numbers a vector, and how they are written."""

    texts: int
    dimensions: int
    encoding: str

    @property
    def name(self) -> str:
        """As people write it: texts, dimensions, encoding."""
        return f"{self.texts}x{self.dimensions} {self.encoding}"

    @property
    def route(self) -> str:
        """The router's model name."""
        return f"bench-{self.dimensions}"

    def bodies(self) -> list[bytes]:
        """Request bodies of different texts, in OpenAI's shape."""
        return [
            orjson.dumps(
                {
                    "model": self.route,
                    "input": self._texts(first),
                    "encoding_format": self.encoding,
                }
            )
            for first in range(len(_SENTENCES))
        ]

    def _texts(self, first: int) -> str | list[str]:
        texts = [_SENTENCES[(first + i) % len(_SENTENCES)] for i in range(self.texts)]
        return texts[0] if self.texts == 1 else texts


SHAPES = tuple(
    Shape(texts, dimensions, encoding)
    for texts, dimensions in ((1, 384), (1, 2560), (32, 2560))
    for encoding in ("float", "base64")
)
