"""What is embedded: short, mixed and long texts, as a server sees them and as a list."""

from dataclasses import dataclass

import numpy as np

_TEXT = (
    "harbour quiet first boats home delivery address order shipped light water sugar revenue "
    "growth subscription medicine grapefruit juice committee vote members search input sorted "
    "snow mountain pass winter the of and to in is that it was for on are as with his they at"
)
# The batcher of a server in front of both contenders closes a batch at this many tokens.
BATCH_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Workload:
    """Batches of texts, each as it would reach the model at one time."""

    name: str
    batches: list[list[str]]


def workloads(max_tokens: int, tokens_per_word: float, scale: float) -> list[Workload]:
    """Streams and lists for a model; `scale` is how many texts, 1 for some 4,000 tokens each."""
    dice = np.random.default_rng(5)

    def text(tokens: int) -> str:
        words = max(1, round((tokens - 2) / tokens_per_word))
        return " ".join(dice.choice(_TEXT.split(), words))

    def mixed(count: int) -> list[str]:
        lengths = np.exp(dice.normal(np.log(120), 1.0, count))
        return [text(int(length)) for length in lengths.clip(3, min(2000, max_tokens))]

    def stream(texts: list[str]) -> list[list[str]]:
        """Join requests of one to eight texts into batches of the server's token budget."""
        batches: list[list[str]] = [[]]
        tokens = 0.0
        while texts:
            request, texts = texts[: (size := int(dice.integers(1, 9)))], texts[size:]
            cost = sum(len(each.split()) for each in request) * tokens_per_word
            if batches[-1] and tokens + cost > BATCH_TOKENS:
                batches.append([])
                tokens = 0.0
            batches[-1].extend(request)
            tokens += cost
        return batches

    long = [length for length in (2048, 8192) if length <= max_tokens]
    return [
        Workload("short, stream", stream([text(16) for _ in range(int(192 * scale))])),
        Workload("mixed, stream", stream(mixed(int(32 * scale)))),
        Workload("mixed, list", [mixed(int(64 * scale))]),
        Workload("short, list", [[text(16) for _ in range(int(192 * scale))]]),
        *(Workload(f"{length} tokens", [[text(length)]]) for length in long),
    ]
