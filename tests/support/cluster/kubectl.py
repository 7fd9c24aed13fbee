"""kubectl, and the files by which it and others find the cluster."""

import base64
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml


def write_kubeconfig(path: Path, url: str, user: dict[str, str], authority: Path | None) -> Path:
    """A kubeconfig for one user; `authority` is None where `url` is plain HTTP."""
    cluster = {"server": url}
    if authority is not None:
        # Its content and not its path: a Pod sees nothing of this machine's /tmp.
        cluster["certificate-authority-data"] = base64.b64encode(authority.read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "tests", "user": user}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        "current-context": "tests",
    }
    path.write_text(yaml.safe_dump(config))
    return path


class KubectlError(AssertionError):
    """kubectl said no; the message is what it wrote."""


class Kubectl:
    """Runs kubectl as one user, in one namespace."""

    def __init__(
        self, program: Path, kubeconfig: Path, home: Path, namespace: str = "default"
    ) -> None:
        """`home` keeps kubectl's cache of what the server offers."""
        self._program = program
        self._home = home
        self.kubeconfig = kubeconfig
        self.namespace = namespace

    def within(self, namespace: str) -> "Kubectl":
        """The same user in another namespace."""
        return Kubectl(self._program, self.kubeconfig, self._home, namespace)

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints; KubectlError where it fails."""
        done = subprocess.run(
            [
                str(self._program),
                f"--kubeconfig={self.kubeconfig}",
                f"--cache-dir={self._home}/kubectl-cache",
                f"--namespace={self.namespace}",
                *arguments,
            ],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> str:
        """`kubectl apply` of those objects."""
        return self("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """That object; KubectlError where there is none."""
        found: dict[str, Any] = json.loads(self("get", kind, name, "-o", "json"))
        return found

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """That object, or None."""
        printed = self("get", kind, name, "--ignore-not-found", "-o", "json")
        return json.loads(printed) if printed.strip() else None

    def list(self, kind: str, *selection: str) -> list[dict[str, Any]]:
        """Objects of a kind, of some labels where `selection` names them."""
        selector = [f"--selector={','.join(selection)}"] if selection else []
        found: list[dict[str, Any]] = json.loads(self("get", kind, *selector, "-o", "json"))[
            "items"
        ]
        return found

    def patch(self, kind: str, name: str, change: dict[str, Any]) -> None:
        """A merge patch of that object."""
        self("patch", kind, name, "--type=merge", "-p", json.dumps(change))

    def token(self, account: str, seconds: int = 3600) -> str:
        """A fresh token of a service account of this namespace (the TokenRequest API)."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        answer = json.loads(self("create", "--raw", path, "-f", "-", stdin=json.dumps(request)))
        token: str = answer["status"]["token"]
        return token

    def delete(self, kind: str, names: Iterable[str]) -> None:
        """Delete those, and wait for nothing."""
        self("delete", kind, *names, "--wait=false", "--ignore-not-found")
