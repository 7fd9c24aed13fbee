"""One sentence out of a page of log."""

import pytest

from router.up.triton_log import load_failure, port_was_taken

_STAMP = "1124 02:09:52.870871 9372 "
_FAILED = f"E{_STAMP}m.cc:642] \"failed to load '{{}}' version 1: Internal: {{}}\""


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            _FAILED.format(r"m2", r"ValueError: no config.json: /x/y.\n\nAt:\n  /b.py(9): f\n"),
            "model m2: no config.json: /x/y",
        ),
        (_FAILED.format("m", r"weights are\ncut short"), "model m: weights are cut short"),
        (
            f"E{_STAMP}m.cc:1] \"Poll failed for model directory 'm': Invalid argument: no CPU\"",
            "model m: no CPU",
        ),
        (
            f"E{_STAMP}main.cc:257] \"failed to start HTTP service: Socket 'x' already in use \"",
            "failed to start HTTP service: Socket 'x' already in use",
        ),
        (
            "tritonserver: error while loading shared libraries: libz.so.1: cannot open",
            "tritonserver: error while loading shared libraries: libz.so.1: cannot open",
        ),
        ("error: creating server: Internal - failed", "creating server: Internal - failed"),
        ("I all is well", None),
    ],
    ids=["exception", "message", "configuration", "port", "library", "server", "nothing"],
)
def test_reasons(line: str, reason: str | None) -> None:
    """The reason stands alone: no stack trace, no stamp, no class of exception."""
    assert load_failure(f"I first line\n{line}\nI last line\n") == reason


def test_the_cause_comes_before_its_consequence() -> None:
    """A model's own reason is told, not the server's that it ends for."""
    log = (
        "error: creating server: Internal - failed to load all models\n"
        f"E{_STAMP}x.cc:1] \"failed to load 'm' version 1: Internal: straw\"\n"
    )
    assert load_failure(log) == "model m: straw"


def test_a_reason_is_never_a_page() -> None:
    """A message of ten thousand characters is cut."""
    line = f"E{_STAMP}x.cc:1] \"failed to load 'm' version 1: Internal: {'straw ' * 2000}\"\n"
    assert len(load_failure(line) or "") < 420


def test_a_taken_port_is_told_from_other_ends() -> None:
    """Only a port in use is worth another try."""
    taken = "\"failed to start GRPC service: Unavailable - Socket 'x' already in use \""
    assert port_was_taken(taken)
    assert not port_was_taken("\"failed to load 'm' version 1: already in use\"")
