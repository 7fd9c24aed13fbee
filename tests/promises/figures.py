"""Finds figures in Markdown, and the command that a reader is given to see them again."""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from router.cli import _parser

_HEADING = re.compile(r"^#{1,6} +(.*)$", re.MULTILINE)
_COMMAND = re.compile(r"^Command: .*?`([^`]+)`", re.MULTILINE)
# A measured number, or a table with a number in a cell.
_FIGURE = re.compile(
    r"\d[\d.,]*\s*(µs|ms|%|\u00d7|(requests|req|texts|inputs|vectors|tokens|tok)?/s\b|per second)"
    r"|^\|.*\|\s*[*`~<>≈±]*\d[\d.,\s]*[*`]*\s*\|",
    re.MULTILINE,
)
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Section:
    title: str
    text: str

    @property
    def has_figures(self) -> bool:
        return _FIGURE.search(_FENCED.sub("", self.text)) is not None

    @property
    def commands(self) -> list[str]:
        return _COMMAND.findall(self.text)


def sections(markdown: str) -> Iterator[Section]:
    """Headings with what stands below them up to the next one."""
    fences = [match.span() for match in _FENCED.finditer(markdown)]
    headings = [
        match
        for match in _HEADING.finditer(markdown)
        if not any(start <= match.start() < end for start, end in fences)
    ]
    ends = [match.start() for match in headings[1:]] + [len(markdown)]
    for heading, end in zip(headings, ends, strict=True):
        yield Section(heading[1].strip(), markdown[heading.end() : end])


def complaints(markdown: str, makefile: str) -> list[str]:
    """What stands between the figures of a page and its readers; empty where all is well."""
    found = []
    for section in sections(markdown):
        if section.has_figures and not section.commands:
            found.append(f"{section.title}: has figures and no line `Command: `")
        found += [
            f"{section.title}: there is no command {command}"
            for command in section.commands
            if not is_command(command, makefile)
        ]
    return found


def is_command(command: str, makefile: str) -> bool:
    """Whether it is `make TARGET` or `embedway VERB` of this project, settings aside."""
    words = [word for word in command.split() if "=" not in word]
    if words[:1] == ["make"]:
        targets = re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE)
        return len(words) > 1 and set(words[1:]) <= set(targets)
    return len(words) > 1 and words[0] == "embedway" and words[1] in verbs()


def verbs() -> set[str]:
    """Commands of the CLI."""
    (action,) = (
        action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return set(action.choices)


def root() -> Path:
    return Path(__file__).parents[2]
