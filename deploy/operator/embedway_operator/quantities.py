"""Quantities of a cluster. An API server keeps `2000m` as `2` and `4096Mi` as `4Gi`.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from decimal import ROUND_UP, Context, Decimal

_FORM = re.compile(
    r"([+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40}))(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?\d{1,2}))?"
)
_FINEST = Decimal("1e-9")
_EXACT = Context(prec=250, rounding=ROUND_UP)
_FACTORS = {
    **{suffix: Decimal(10) ** (3 * place) for place, suffix in enumerate("num", -3)},
    **{suffix: Decimal(10) ** (3 * place) for place, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** place for place, suffix in enumerate("KMGTPE", 1)},
}


def amount_of(text: object) -> Decimal | None:
    """What a quantity comes to, as fine as a cluster counts; None where it is none."""
    found = _FORM.fullmatch(str(text))
    if found is None:
        return None
    number, suffix, power = found.groups()
    factor = _FACTORS.get(suffix, Decimal(1)) if power is None else Decimal(10) ** int(power)
    return _EXACT.quantize(_EXACT.multiply(Decimal(number), factor), _FINEST)


def same_amount(one: object, other: object) -> bool:
    """Whether both are quantities, and the same, however each is written."""
    amount = amount_of(one)
    return amount is not None and amount == amount_of(other)
