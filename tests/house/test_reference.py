"""The reference says what the code does."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.api.problems import problem_of
from router.config.reference import reference_files
from router.domain import errors

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def subclasses(kind: type[errors.EmbedwayError]) -> Iterator[type[errors.EmbedwayError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from subclasses(child)


def rows() -> dict[str, list[str]]:
    """Cells of the table of errors by code."""
    lines = (REFERENCE / "errors.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "| `" in line]
    return {row[0].strip("`"): row for row in cells}


@pytest.mark.parametrize("name", sorted(reference_files()))
def test_the_configuration_reference_is_up_to_date(name: str) -> None:
    """The files in docs/reference are those that the models give (`make format` writes them)."""
    assert (REFERENCE / name).read_text() == reference_files()[name]


@pytest.mark.parametrize("kind", sorted(subclasses(errors.EmbedwayError), key=lambda k: k.__name__))
def test_every_error_is_documented_with_its_codes(kind: type[errors.EmbedwayError]) -> None:
    """Each error has a row, and the row has the HTTP and gRPC codes that callers get."""
    row = rows()[kind.code]
    if kind is errors.ConfigurationError:
        return
    problem = problem_of(kind("message"))
    assert row[1:3] == [str(problem.status), problem.grpc_status.name]


def test_the_tree_in_the_docstring_is_the_tree_of_the_code() -> None:
    """errors.py draws every class once, and none that is not there."""
    drawn = set(re.findall(r"\b\w+Error\b", errors.__doc__ or ""))
    assert drawn == {kind.__name__ for kind in subclasses(errors.EmbedwayError)} | {"EmbedwayError"}


def test_no_two_errors_share_a_code() -> None:
    """A code tells a client one thing."""
    codes = [kind.code for kind in subclasses(errors.EmbedwayError)]
    assert len(codes) == len(set(codes))
