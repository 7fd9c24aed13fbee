"""A live search across languages: real requests to the running router, ranked by its vectors."""

import asyncio
import contextlib
import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from router.up.errors import UpError

QUERY = "Which city is the capital of Japan?"
# Relevant or not, in seven languages. The default model learned mostly from English; these are
# sentences that even it can tell apart.
DOCUMENTS = (
    ("English", "Tokyo is the capital of Japan."),
    ("German", "Tokio ist die Hauptstadt Japans."),
    ("French", "Tokyo est la capitale du Japon."),
    ("Spanish", "Tokio es la capital de Japón."),
    ("Italian", "Tokyo è la capitale del Giappone."),
    ("Chinese", "東京是日本的首都。"),
    ("Japanese", "東京は日本の首都です。"),
    ("English", "Bananas are rich in potassium."),
    ("German", "Der Igel hält Winterschlaf."),
    ("French", "La recette demande trois œufs et du beurre."),
    ("Spanish", "El gato duerme en el sofá."),
    ("Italian", "La bicicletta ha due ruote."),
)
_TIMEOUT_S = 120.0

Vector = list[float]


@dataclass(frozen=True, slots=True)
class Hit:
    """A document and its cosine similarity to the query."""

    score: float
    language: str
    text: str


async def demonstrate(host: str, port: int, key: str, model: str) -> list[Hit]:
    """Embed query and documents over HTTP, best document first; UpError if the router refuses."""
    texts = [text for _, text in DOCUMENTS]
    [query] = await asyncio.to_thread(_embed, host, port, key, _body(model, [QUERY], "query"))
    vectors = await asyncio.to_thread(_embed, host, port, key, _body(model, texts, "document"))
    hits = [
        Hit(_cosine(query, vector), language, text)
        for vector, (language, text) in zip(vectors, DOCUMENTS, strict=True)
    ]
    return sorted(hits, key=lambda hit: hit.score, reverse=True)


def as_table(hits: Sequence[Hit]) -> Table:
    """For people to read."""
    table = Table(title=f"“{QUERY}”", title_justify="left", box=None, pad_edge=False)
    table.add_column("score", justify="right")
    table.add_column("language")
    table.add_column("document")
    for hit in hits:
        table.add_row(f"{hit.score:.3f}", hit.language, hit.text)
    return table


def _body(model: str, texts: list[str], input_type: str) -> dict[str, object]:
    return {"model": model, "input": texts, "input_type": input_type}


def _embed(host: str, port: int, key: str, body: dict[str, object]) -> list[Vector]:
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with contextlib.closing(connection):
        try:
            connection.request("POST", "/v1/embeddings", json.dumps(body), headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise UpError(f"the router did not answer its own demonstration: {error}") from error
    if response.status != http.client.OK:
        raise UpError(f"the router answered its own demonstration with {response.status}")
    return [item["embedding"] for item in json.loads(answer)["data"]]


def _cosine(left: Vector, right: Vector) -> float:
    # The router's vectors have unit length.
    return sum(one * other for one, other in zip(left, right, strict=True))
