"""The few requests that the operator makes of an API server, over aiohttp.

A client of our own, because it is this page: kopf brings the watches, and the official client would
bring thirty megabytes of models for seven verbs (docs/decisions/0027-the-operator.md).
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import kopf

from embedway_operator.errors import ClusterError, ConflictError
from embedway_operator.names import MANAGER
from embedway_operator.observed import Object
from embedway_operator.paths import PLACES, path_of

Login = Callable[[], kopf.ConnectionInfo]
# A leader may think itself one for this long after its last renewal: a write that hangs must end
# before another operator may lead.
TIMEOUT_S = 4.0
_PAGE = 500


class Cluster:
    """One namespace of a cluster. Every method raises ClusterError, ConflictError on 409."""

    def __init__(self, login: Login, namespace: str) -> None:
        """`login` is asked again when the server takes the credentials no longer."""
        self._login = login
        self._namespace = namespace
        self._session: aiohttp.ClientSession | None = None
        self._server = ""

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, kind: str, name: str) -> Object | None:
        """One object; None where it is not there."""
        try:
            return await self._ask("GET", path_of(kind, self._namespace, name))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, kind: str, selector: str = "") -> list[Object] | None:
        """All objects of a kind, chosen by labels; None where the cluster has no such kind."""
        version, _ = PLACES[kind]
        found: list[Object] = []
        query = {"limit": str(_PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            try:
                page = await self._ask("GET", path_of(kind, self._namespace), query)
            except ClusterError as error:
                if error.status == 404:
                    return None
                # The server has forgotten the list that the next page belongs to: from the start.
                if error.status == 410 and "continue" in query:
                    del query["continue"]
                    found.clear()
                    continue
                raise
            # Items of a list do not say what they are.
            found.extend({"apiVersion": version, "kind": kind, **one} for one in page["items"])
            rest = page["metadata"].get("continue")
            if not rest:
                return found
            query["continue"] = rest

    async def apply(self, body: Object) -> Object:
        """Server-side apply. What others own is left to them, unless this names the same field."""
        path = path_of(body["kind"], self._namespace, body["metadata"]["name"])
        query = {"fieldManager": MANAGER, "force": "true"}
        return await self._ask("PATCH", path, query, body, "application/apply-patch+yaml")

    async def patch_status(self, kind: str, name: str, status: Object) -> Object:
        """Set a status as a whole; fields that are null go."""
        path = path_of(kind, self._namespace, name, "status")
        query = {"fieldManager": MANAGER}
        return await self._ask(
            "PATCH", path, query, {"status": status}, "application/merge-patch+json"
        )

    async def create(self, body: Object) -> Object:
        """A new object; ConflictError where one of its name is there."""
        return await self._ask("POST", path_of(body["kind"], self._namespace), None, body)

    async def replace(self, body: Object) -> Object:
        """An object as a whole, if it is still the one that was read."""
        path = path_of(body["kind"], self._namespace, body["metadata"]["name"])
        return await self._ask("PUT", path, None, body)

    async def delete(self, kind: str, name: str, uid: str) -> None:
        """That very object; nothing where it is gone."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        try:
            await self._ask("DELETE", path_of(kind, self._namespace, name), None, body)
        except ClusterError as error:
            if error.status != 404:
                raise

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        async def once() -> tuple[int, bytes]:
            session = self._connected()
            data = None if body is None else json.dumps(body).encode()
            async with session.request(
                method,
                self._server + path,
                params=query,
                data=data,
                headers={"Content-Type": content_type, "Accept": "application/json"},
            ) as response:
                return response.status, await response.read()

        status, answer = await self._guarded(once, f"{method} {path}")
        if status == 401:
            # Tokens of service accounts are replaced from time to time.
            await self.close()
            status, answer = await self._guarded(once, f"{method} {path}")
        if status >= 400:
            kind = ConflictError if status == 409 else ClusterError
            sentence = _message(answer)
            raise kind(f"{method} {path}: {status} {sentence}", status, sentence)
        return _parsed(answer, f"{method} {path}")

    async def _guarded(
        self, once: Callable[[], Awaitable[tuple[int, bytes]]], what: str
    ) -> tuple[int, bytes]:
        try:
            return await once()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterError(f"{what}: {type(error).__name__}") from error

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            info = self._login()
            self._server = info.server.rstrip("/")
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=info.as_ssl_context(), limit=8),
                headers=info.as_http_headers(),
                proxy=info.proxy_url,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            )
        return self._session


def _parsed(answer: bytes, what: str) -> Object:
    try:
        found: Any = json.loads(answer)
    except ValueError as error:
        raise ClusterError(f"{what}: the answer is no JSON") from error
    return dict(found)


def _message(answer: bytes) -> str:
    """The server's own sentence, without the object that it may repeat."""
    try:
        return str(json.loads(answer).get("message", ""))[:300]
    except (ValueError, AttributeError):
        return ""
