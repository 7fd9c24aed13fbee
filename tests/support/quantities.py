"""Quantities as an API server keeps them: by the largest unit that leaves no fraction."""

import re
from fractions import Fraction
from typing import Any

_DECIMAL = {"E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "": 0, "m": -3, "u": -6, "n": -9}
_BINARY = {"Ei": 6, "Pi": 5, "Ti": 4, "Gi": 3, "Mi": 2, "Ki": 1, "": 0}


def canonical(text: str) -> str:
    """The one way in which a server writes it."""
    number, suffix = re.fullmatch(r"([\d.]+)([a-zA-Z]*)", text).groups()  # type: ignore[union-attr]
    units = {name: Fraction(10) ** power for name, power in _DECIMAL.items()}
    if suffix.endswith("i"):
        units = {name: Fraction(1024) ** power for name, power in _BINARY.items()}
    amount = Fraction(number) * units[suffix]
    if not amount:
        return "0"
    for name, unit in units.items():
        if (amount / unit).denominator == 1:
            return f"{amount / unit}{name}"
    raise AssertionError(f"{text} is finer than a server counts")


def kept(body: Any, name: str = "") -> Any:
    """An object with its quantities as they are kept."""
    if isinstance(body, list):
        return [kept(one) for one in body]
    if not isinstance(body, dict):
        return canonical(str(body)) if name == "sizeLimit" else body
    if name in {"requests", "limits"}:
        return {key: canonical(str(value)) for key, value in body.items()}
    return {key: kept(value, key) for key, value in body.items()}
