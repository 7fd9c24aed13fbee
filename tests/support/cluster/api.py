"""The API server's REST interface, for what tests ask often: each kubectl costs 0.1 s of CPU."""

import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.cluster.https import ask

MERGE = "application/merge-patch+json"
_GROUPS = {
    "pods": "api/v1",
    "services": "api/v1",
    "endpoints": "api/v1",
    "secrets": "api/v1",
    "configmaps": "api/v1",
    "events": "api/v1",
    "persistentvolumeclaims": "api/v1",
    "serviceaccounts": "api/v1",
    "deployments": "apis/apps/v1",
    "statefulsets": "apis/apps/v1",
    "jobs": "apis/batch/v1",
    "leases": "apis/coordination.k8s.io/v1",
}
_OURS = "apis/embedway.dev/v1alpha1"


class ApiError(AssertionError):
    """The server said no; `status` is its HTTP status."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status


class Api:
    """Objects of one namespace, as one user sees them."""

    def __init__(
        self,
        url: str,
        authority: Path,
        namespace: str,
        *,
        certificate: tuple[Path, Path] | None = None,
        token: str | None = None,
    ) -> None:
        """A user by a client certificate (file, key file) or by a token."""
        self._address = urlsplit(url)
        self._context = ssl.create_default_context(cafile=str(authority))
        if certificate is not None:
            self._context.load_cert_chain(*certificate)
        self._headers = {"accept": "application/json"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self.namespace = namespace

    def get(self, resource: str, name: str) -> dict[str, Any] | None:
        """That object, or None where there is none."""
        try:
            found: dict[str, Any] = self.request("GET", self.path(resource, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    def list(self, resource: str, **labels: str) -> list[dict[str, Any]]:
        """Objects of a kind that have those labels."""
        selector = ",".join(f"{name}%3D{value}" for name, value in labels.items())
        found: list[dict[str, Any]] = self.request(
            "GET", f"{self.path(resource)}?labelSelector={selector}"
        )["items"]
        return found

    def create(self, resource: str, body: dict[str, Any]) -> dict[str, Any]:
        """Make it."""
        return self.request("POST", self.path(resource), body)

    def patch(self, resource: str, name: str, change: dict[str, Any]) -> dict[str, Any]:
        """A merge patch; `name` may end in /status."""
        return self.request("PATCH", self.path(resource, name), change, MERGE)

    def delete(self, resource: str, name: str) -> None:
        """Remove it, with what it owns left to others."""
        self.request("DELETE", self.path(resource, name))

    def may(self, verb: str, what: str) -> bool:
        """Whether this user may do that, as `kubectl auth can-i` asks.

        `what` is RESOURCE[.GROUP][/SUBRESOURCE][:NAME].
        """
        kind, _, name = what.partition(":")
        full, _, subresource = kind.partition("/")
        resource, _, group = full.partition(".")
        asked = {
            "namespace": self.namespace,
            "verb": verb,
            "group": group,
            "resource": resource,
            "subresource": subresource,
            "name": name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        place = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self.request("POST", place, review)["status"]["allowed"])

    def path(self, resource: str, name: str = "") -> str:
        """Where that object, or with no name the whole kind, lies."""
        group = _GROUPS.get(resource, _OURS)
        return f"/{group}/namespaces/{self.namespace}/{resource}/{name}".rstrip("/")

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """The decoded answer; ApiError for any status but 2xx."""
        payload = None if body is None else json.dumps(body)
        headers = self._headers | {"content-type": content_type}
        port = self._address.port or 443
        status, content = ask(port, self._context, method, path, payload, headers)
        if status >= 300:
            raise ApiError(status, content)
        decoded: dict[str, Any] = json.loads(content)
        return decoded
