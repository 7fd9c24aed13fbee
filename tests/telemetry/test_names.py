"""Names are those of the conventions."""

import importlib
import pkgutil

import pytest

from router.telemetry import names

_MODULES = ("opentelemetry.semconv.attributes", "opentelemetry.semconv._incubating.attributes")


def _of_opentelemetry() -> set[str]:
    """Every attribute that the package of semantic conventions knows."""
    found: set[str] = set()
    for package in _MODULES:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            there = vars(importlib.import_module(f"{package}.{module.name}"))
            found |= {
                value for name, value in there.items() if name.isupper() and isinstance(value, str)
            }
    return found


OURS = {
    constant: value
    for constant, value in vars(names).items()
    if constant.isupper() and isinstance(value, str) and "." in value
}
BORROWED = {value for value in OURS.values() if not value.startswith(names.OWN)}


@pytest.fixture(scope="module")
def theirs() -> set[str]:
    return _of_opentelemetry()


@pytest.mark.parametrize("name", sorted(BORROWED))
def test_a_borrowed_name_is_opentelemetrys(theirs: set[str], name: str) -> None:
    """Each name that is not our own stands in the package of semantic conventions."""
    assert name in theirs


@pytest.mark.parametrize("edition", ["latest", "1.36"])
def test_each_edition_names_what_there_is(theirs: set[str], edition: names.Conventions) -> None:
    """Both names of the provider are OpenTelemetry's, and so is that of the dimension."""
    chosen = names.names_of(edition)
    assert chosen.provider in theirs
    assert chosen.dimensions is None or chosen.dimensions in theirs


def test_our_own_names_do_not_collide(theirs: set[str]) -> None:
    """Nothing of OpenTelemetry's begins like ours, and ours are all different."""
    assert not any(name.startswith(names.OWN) for name in theirs)
    assert len(set(OURS.values())) == len(OURS)


def test_the_operation_is_opentelemetrys() -> None:
    """`embeddings` is the value that GenAI's conventions give the operation."""
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai

    assert gen_ai.GenAiOperationNameValues.EMBEDDINGS.value == names.EMBEDDINGS
