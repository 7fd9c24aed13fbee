"""The script for a GPU, tried at a tiny size where there is none."""

import sys
from pathlib import Path

import pytest

from benchmarks.gpu.__main__ import main


def test_it_measures_and_writes_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row of a CPU is printed, and stands in the page's marked place and nowhere else."""
    page = tmp_path / "performance.md"
    page.write_text("before\n<!-- bench-gpu begins -->\nold\n<!-- bench-gpu ends -->\nafter\n")
    arguments = ["bench-gpu", "--size", "tiny", "--cpu", "--write", str(page)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert main() == 0
    printed = capsys.readouterr().out.strip()
    assert "packed against alone, smallest cosine | 1.0" in printed
    assert "a query's wait behind a document" in printed
    written = page.read_text()
    assert printed in written
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "old" not in written


def test_a_page_without_the_place_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that has no marked place is not written to."""
    page = tmp_path / "other.md"
    page.write_text("nothing here\n")
    monkeypatch.setattr(sys, "argv", ["bench-gpu", "--size", "tiny", "--cpu", "--write", str(page)])
    with pytest.raises(SystemExit, match="has no place"):
        main()
    assert page.read_text() == "nothing here\n"
