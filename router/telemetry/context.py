"""The trace that a caller asks us to continue. Source: W3C Trace Context, level 1."""

import re

from router.domain.journal import Parent

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[ -+\--<>-~]{1,256}")
_MOST_MEMBERS = 32
_MOST_CHARACTERS = 512
_SAMPLED = 1


def parent_of(traceparent: str | None, tracestate: str | None) -> Parent | None:
    """The caller's span; None where there is no header, or none that means anything.

    What is not well-formed in `tracestate` makes all of it be dropped, never the trace.
    """
    match = _PARENT.fullmatch(traceparent) if traceparent is not None else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    # A later version may say more behind these fields; version 00 may not, and ff is none.
    if version == "ff" or (version == "00" and more is not None):
        return None
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    is_sampled = bool(int(flags, 16) & _SAMPLED)
    return Parent(trace_id, span_id, is_sampled, _state(tracestate))


def _state(tracestate: str | None) -> str:
    """The list of vendors' marks as it came, where it is one."""
    if not tracestate or len(tracestate) > _MOST_CHARACTERS:
        return ""
    members = [member.strip(" \t") for member in tracestate.split(",")]
    members = [member for member in members if member]
    if len(members) > _MOST_MEMBERS or not all(map(_MEMBER.fullmatch, members)):
        return ""
    return ",".join(members)
