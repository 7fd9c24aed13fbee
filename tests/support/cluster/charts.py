"""Helm's own engine, on a real API server."""

from pathlib import Path
from typing import Any

import helm_python
from helm_python.config import Config

CHARTS = Path(__file__).parents[3] / "helm"
CRDS = CHARTS / "embedway-crds"
EMBEDWAY = CHARTS / "embedway"


class Helm:
    """`helm` as an administrator, in one namespace."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._config = Config(kubeconfig_path=kubeconfig, namespace=namespace)

    def install(self, chart: Path, release: str, values: dict[str, Any] | None = None) -> str:
        """`helm install`; what it rendered."""
        done = self._config.install(chart, release, values, timeout=60)
        return str(done["manifest"])

    def upgrade(self, chart: Path, release: str, values: dict[str, Any] | None = None) -> str:
        """`helm upgrade`; what it rendered."""
        done = self._config.upgrade(chart, release, values, timeout=60)
        return str(done["manifest"])

    def uninstall(self, release: str) -> None:
        """`helm uninstall`."""
        self._config.uninstall(release, timeout=60)

    def close(self) -> None:
        """Forget the cluster."""
        self._config.close()


def packaged(chart: Path, folder: Path, version: str) -> Path:
    """That chart as an archive of another version."""
    return Path(helm_python.package(chart, destination=folder, version=version))
