"""`embedway overlap`: whether another route finds what the present one finds, before tenants move.

Both routes of a running router are asked for vectors of the same documents and queries; what each
space finds is compared, and neither a text nor a vector is printed or kept.
"""

import asyncio
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from router.domain.errors import ConfigurationError
from router.tools.routed import RoutedTarget
from router.vectors.overlap import Overlap, TopK, overlap

_BATCH = 64
_MOST_QUERIES = 10_000
_WORST = 5
# With fewer documents for each place of the ranking, chance alone makes two rankings agree.
_DOCUMENTS_A_PLACE = 10


@dataclass(frozen=True, slots=True)
class OverlapOptions:
    """What is compared: `routes`, and `spaces` that they must answer in, where that is known.

    Files hold a text a line; of one that ends in .jsonl each line is a string or has a `text`.
    """

    url: str
    key: str | None
    routes: tuple[str, str]
    spaces: tuple[str | None, str | None]
    documents: Path
    queries: Path
    k: int = 10
    at_least: float | None = None
    json_file: Path | None = None


async def measure_overlap(options: OverlapOptions, console: Console) -> bool:
    """Print the figures; whether recall is at least as asked. ConfigurationError, UpstreamError."""
    pairs = zip(options.routes, options.spaces, strict=True)
    targets = [RoutedTarget(options.url, route, options.key, space) for route, space in pairs]
    try:
        found, counts = await _measured(options, targets, console)
    finally:
        await asyncio.gather(*(target.close() for target in targets))
    figures = _figures(options, found, counts, [str(target.space) for target in targets])
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(figures), encoding="utf-8")
    _print(figures, console)
    # With nothing asked of it, a measurement cannot fail.
    return options.at_least is None or found.mean >= options.at_least


async def _measured(
    options: OverlapOptions, targets: Sequence[RoutedTarget], console: Console
) -> tuple[Overlap, tuple[int, int]]:
    queries = list(_texts(options.queries))
    if not 1 <= len(queries) <= _MOST_QUERIES:
        raise ConfigurationError(f"{options.queries}: give 1 to {_MOST_QUERIES:,} queries")
    tops = [TopK(await target.all_of(queries, "query", _BATCH), options.k) for target in targets]
    if targets[0].space == targets[1].space:
        raise ConfigurationError(
            f"both routes answer in the space {targets[0].space}: is the key's tenant pinned?"
        )
    count = 0
    with console.status("documents") as status:
        documents = _once(_texts(options.documents))
        while batch := list(islice(documents, _BATCH)):
            vectors = await asyncio.gather(*(target.embed(batch, "document") for target in targets))
            for top, some in zip(tops, vectors, strict=True):
                top.add(some)
            count += len(batch)
            status.update(f"{count:,} documents")
    if count < options.k * _DOCUMENTS_A_PLACE:
        raise ConfigurationError(
            f"{options.documents}: {count} different documents say little of the first "
            f"{options.k}: give at least {options.k * _DOCUMENTS_A_PLACE}"
        )
    return overlap(tops[0].ranking, tops[1].ranking, count), (count, len(queries))


def _figures(
    options: OverlapOptions, found: Overlap, counts: tuple[int, int], spaces: Sequence[str]
) -> dict[str, Any]:
    return {
        "routes": list(options.routes),
        "spaces": list(spaces),
        "documents": counts[0],
        "queries": counts[1],
        "k": options.k,
        # Rounded down: what is printed never says more than was found.
        "recall": _down(found.mean),
        "recall_p10": _down(found.low),
        "rank_agreement": _down(found.rank_agreement),
        "by_chance": round(found.by_chance, 4),
        "worst_queries": [[number + 1, _down(part)] for number, part in found.worst(_WORST)],
    }


def _down(figure: float) -> float:
    return math.floor(figure * 1e4 + 1e-6) / 1e4


def _print(figures: dict[str, Any], console: Console) -> None:
    (left, right), k = figures["routes"], figures["k"]
    worst = ", ".join(f"{number} ({part:.2f})" for number, part in figures["worst_queries"])
    for line in (
        (
            f"{left} ({figures['spaces'][0]}) and {right} ({figures['spaces'][1]}), "
            f"{figures['documents']:,} documents, {figures['queries']:,} queries"
        ),
        (
            f"recall overlap@{k}: mean {figures['recall']:.4f}, nine of ten queries at least "
            f"{figures['recall_p10']:.4f}, by chance {figures['by_chance']:.4f}"
        ),
        f"rank agreement: {figures['rank_agreement']:.4f}",
        f"worst queries, by number: {worst}",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def _texts(path: Path) -> Iterator[str]:
    """Texts of a file, one at a time; ConfigurationError by line, never with a word of it."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _text(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({type(error).__name__})") from error


def _text(path: Path, number: int, line: str) -> str:
    if path.suffix != ".jsonl":
        return line.rstrip("\n")
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        found = None
    text = found.get("text") if isinstance(found, dict) else found
    if not isinstance(text, str) or not text:
        raise ConfigurationError(f"{path}: line {number} is no string and has no `text`")
    return text


def _once(texts: Iterator[str]) -> Iterator[str]:
    """The same text twice would tie with itself, and places would be chance."""
    seen: set[bytes] = set()
    for text in texts:
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        if digest not in seen:
            seen.add(digest)
            yield text
