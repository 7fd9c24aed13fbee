"""Asks every router which configuration it serves, and how its targets stand."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp

from embedway_operator.observed import Object, RouterReport

HEALTH_URL = "embedway.dev/health-url"
_TIMEOUT_S = 2.0
_MOST_AT_ONCE = 16

# The address of a pod's GET /health/configuration; None where it has none yet.
Address = Callable[[Object], str | None]


def pod_address(pod: Object) -> str | None:
    """The pod's own address, at the port that the router's image opens."""
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        return None
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:8080/health/configuration"


def annotated_address(pod: Object) -> str | None:
    """What the pod's annotation says; for routers that run outside of the cluster's network."""
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    return annotations.get(HEALTH_URL) or pod_address(pod)


class Routers:
    """The routers of one installation."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def reports(self, pods: Sequence[Object]) -> tuple[RouterReport, ...]:
        """What each pod that is not on its way out answers, sorted by name. Raises nothing."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_MOST_AT_ONCE),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            )
        session = self._session
        asked = sorted(
            (one for one in pods if _is_running(one)), key=lambda one: str(one["metadata"]["name"])
        )
        return tuple(await asyncio.gather(*(self._report(session, pod) for pod in asked)))

    async def _report(self, session: aiohttp.ClientSession, pod: Object) -> RouterReport:
        name, is_ready = str(pod["metadata"]["name"]), _is_ready(pod)
        url = self._address(pod)
        if url is None:
            return RouterReport(name, is_ready)
        try:
            async with session.get(url) as response:
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return RouterReport(name, is_ready)
        return report_of(name, answer, is_ready=is_ready)


def report_of(pod: str, answer: Any, *, is_ready: bool) -> RouterReport:  # noqa: ANN401 - JSON
    """What a router's answer says; nothing where it is no such answer."""
    if not isinstance(answer, dict) or not isinstance(answer.get("hash"), str):
        return RouterReport(pod, is_ready)
    generation, targets = answer.get("generation"), answer.get("targets")
    pending = answer.get("pending_error")
    told: dict[str, Object] | None = None
    if isinstance(targets, dict):
        told = {str(name): one for name, one in targets.items() if isinstance(one, dict)}
    return RouterReport(
        pod=pod,
        is_ready=is_ready,
        hash=answer["hash"],
        generation=generation if isinstance(generation, int) else 0,
        pending_error=None if pending is None else str(pending),
        standings=None
        if told is None
        else {name: str(one.get("standing")) for name, one in told.items()},
        up=_with_flag(told, "up"),
        measured=_with_flag(told, "measured"),
    )


def _with_flag(told: Mapping[str, Object] | None, flag: str) -> frozenset[str] | None:
    """Targets of which a router says so; None where it knows no such flag."""
    if told is None or any(flag not in one for one in told.values()):
        return None
    return frozenset(name for name, one in told.items() if one[flag] is True)


def _is_running(pod: Object) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return "deletionTimestamp" not in pod["metadata"] and phase not in {"Succeeded", "Failed"}


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
