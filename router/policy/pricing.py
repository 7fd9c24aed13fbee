"""What tokens cost, in whole nano-USD; an embedding has no output, so it is known beforehand."""

from collections.abc import Iterable

_MILLION = 1_000_000


def cost_nano_usd(tokens: int, nano_usd_per_million: int) -> int:
    """Price of tokens, rounded up to a whole nano-USD: never less than the provider asks."""
    return -(-tokens * nano_usd_per_million // _MILLION)


def dearest(prices: Iterable[int | None]) -> int | None:
    """The highest price (nano-USD per million tokens), or None where one is not known."""
    known = list(prices)
    if None in known:
        return None
    return max((price for price in known if price is not None), default=None)


def usd(nano_usd: int) -> str:
    """Nano-USD as USD in decimals, exactly, without needless zeros."""
    whole, rest = divmod(nano_usd, 1_000_000_000)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".") if rest else str(whole)
