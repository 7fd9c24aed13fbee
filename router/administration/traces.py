"""Where the time and the money of one request went, from this machine's traces and the ledger."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from router.domain.errors import UnknownRecordError
from router.domain.ports import RecordReader
from router.domain.usage import UsageRecord
from router.policy.pricing import usd
from router.telemetry.reading import read_spans
from router.telemetry.shelf import KeptTrace

Find = Callable[[str], list[KeptTrace]]


class TraceAdministration:
    """Looks requests up. Its methods wait for disk and database: not on a loop."""

    def __init__(self, find: Find, records: RecordReader) -> None:
        """`find` gives kept traces by request or trace id, the newest last."""
        self._find = find
        self._records = records

    def trace(self, name: str) -> dict[str, Any]:
        """What is known of a request by its id or its trace's; UnknownRecordError.

        `spans` is null where its trace was not kept, `record` where the ledger has none (yet).
        Clients choose ids, and may use one again: the newest request of that name is told of.
        """
        traces = self._find(name)
        kept = traces[-1] if traces else None
        request_id = name if kept is None else kept.request_id
        records = self._records.of_request(request_id)
        record = _matching(records, kept)
        if kept is None and record is None:
            raise UnknownRecordError(
                f"nothing is known of a request {name[:128]!r}: it was not metered, its trace was "
                "not kept here, or it is not even a second old"
            )
        return {
            "object": "trace",
            "request_id": request_id,
            "trace_id": kept.trace_id if kept is not None else record.trace_id if record else "",
            "record": None if record is None else _told(record),
            "spans": None if kept is None else [asdict(one) for one in read_spans(kept.spans)],
        }


def _matching(records: list[UsageRecord], kept: KeptTrace | None) -> UsageRecord | None:
    """The record of the kept trace's request, or the newest where nothing tells them apart."""
    if kept is None:
        return records[0] if records else None
    return next((one for one in records if one.trace_id == kept.trace_id), None)


def _told(record: UsageRecord) -> dict[str, Any]:
    cost = record.cost_nano_usd
    return asdict(record) | {"cost_usd": None if cost is None else usd(cost)}
