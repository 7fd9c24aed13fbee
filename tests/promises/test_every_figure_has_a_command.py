"""Promise 7: whoever reads a figure is told how to see it on their own machine."""

import pytest

from tests.promises.figures import complaints, is_command, root, sections, verbs

MAKEFILE = ".PHONY: test\ntest: $(VENV)/.dev\n\t@pytest\nbench:\n\t@python -m benchmarks\n"
TABLE = "## Load\n\n| clients | p50 |\n|---|---|\n| many | 12 |\n"


@pytest.mark.parametrize("page", ["README.md", "docs/performance.md"])
def test_the_pages_of_this_project(page: str) -> None:
    """Every section with figures names a command, and every command named is there."""
    makefile = (root() / "Makefile").read_text()
    assert complaints((root() / page).read_text(), makefile) == []


def test_the_page_of_figures_has_some() -> None:
    """docs/performance.md is not passed over for want of anything that looks like a figure."""
    page = (root() / "docs/performance.md").read_text()
    assert any(section.has_figures and section.commands for section in sections(page))


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        (TABLE, "has figures and no line"),
        ("## Load\n\nThe router adds 0.3 ms.\n", "has figures and no line"),
        ("## Load\n\n1,200 requests/s on one core.\n", "has figures and no line"),
        ("## A\n\nCommand: `make bench`\n\n## B\n\n5 % slower.\n", "B: has figures"),
        (TABLE + "\nCommand: `make load`\n", "no command make load"),
        (TABLE + "\nCommand: `embedway load`\n", "no command embedway load"),
        (TABLE + "\nCommand: `python load.py`\n", "no command python load.py"),
        (TABLE + "\nCommand: make bench\n", "has figures and no line"),
        (TABLE + "\n```\nCommand `make bench`\n```\n", "has figures and no line"),
    ],
    ids=["table", "time", "rate", "next section", "no target", "no verb", "neither", "no backticks",
         "no colon"],
)  # fmt: skip
def test_what_is_complained_about(page: str, complaint: str) -> None:
    """A figure without a command, and a command that is not there, are each found."""
    assert any(complaint in found for found in complaints(page, MAKEFILE))


@pytest.mark.parametrize(
    "page",
    [
        TABLE + "\nCommand: `make bench`\n",
        TABLE + "\nCommand: `make bench MODEL=Qwen/Qwen3-Embedding-0.6B`, on two cores\n",
        TABLE + "\nCommand: `embedway check --config embedway.yaml`\n",
        "## Start\n\nPython 3.11 and two ports (8080, 8081) are needed.\n",
        "## Start\n\n```\n# 12 ms\nsleep 5 # 3 req/s\n```\n",
    ],
    ids=["make", "setting", "verb", "no figures", "code"],
)
def test_what_is_not_complained_about(page: str) -> None:
    """Figures with their command pass, and so does prose without figures."""
    assert complaints(page, MAKEFILE) == []


def test_commands_are_looked_up_in_the_real_parser() -> None:
    """The verbs are those of the CLI itself."""
    assert {"up", "serve", "check", "keys"} <= verbs()
    assert is_command("embedway serve --config x.yaml", "")
    assert not is_command("embedway", "")
    assert not is_command("make", "all:\n")
