"""Finds in the server's log why it would not start."""

import re

_MAX_REASON_LENGTH = 400
# Most telling first. Triton writes a message as a quoted string with its line ends escaped.
_REASONS = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r'"failed to load \'(?P<model>[^\']+)\' version \d+: (?P<reason>.*)"\s*$',
        r'"Poll failed for model directory \'(?P<model>[^\']+)\': (?P<reason>.*)"\s*$',
        r'^E\d+.*\] "(?P<reason>failed to start .*|failed to parse .*)"\s*$',
        r"^(?P<reason>Bad option: .+)$",
        r"^error: (?P<reason>.+)$",
        r"^(?P<reason>.*error while loading shared libraries.*)$",
    )
)
_KIND = re.compile(
    r"^(?:Internal|Invalid argument|Unavailable|Not found|Unsupported|Unknown)(?::| -) "
)
_EXCEPTION = re.compile(r"^(?:[\w.]+(?:Error|Exception)): ")


def load_failure(log: str) -> str | None:
    """The reason that a model did not load or the server did not start, as one sentence."""
    for pattern in _REASONS:
        if found := pattern.search(log):
            model = found.groupdict().get("model")
            reason = _shortened(found["reason"])
            return f"model {model}: {reason}" if model else reason
    return None


def port_was_taken(log: str) -> bool:
    """Whether the server ended because one of its ports was in use."""
    return re.search(r"failed to start .* already in use", log) is not None


def _shortened(reason: str) -> str:
    # A stack trace begins at "At:", after an empty line; what stands before it is the message.
    message = reason.partition(r"\n\nAt:")[0].replace(r"\n", " ")
    message = _EXCEPTION.sub("", _KIND.sub("", message))
    message = " ".join(message.split()).rstrip(".")
    if len(message) > _MAX_REASON_LENGTH:
        message = message[:_MAX_REASON_LENGTH].rsplit(" ", 1)[0] + " …"
    return message
