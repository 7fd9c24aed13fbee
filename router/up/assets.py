"""The project's files that are not Python of the router: backend, model repository, C source."""

import re
from dataclasses import dataclass
from pathlib import Path

import router
from router.up.errors import UpError


@dataclass(frozen=True, slots=True)
class Assets:
    """A folder that holds `backends`, `model_repository` and `deploy/triton`."""

    root: Path

    @property
    def backend(self) -> Path:
        """The embedding backend."""
        return self.root / "backends/embedding"

    @property
    def models(self) -> Path:
        """The model repository as it is published."""
        return self.root / "model_repository"

    @property
    def batch_strategy(self) -> Path:
        """C source of the batch strategy."""
        return self.root / "deploy/triton/batch_strategy.c"

    @property
    def rules(self) -> list[Path]:
        """Prometheus's recording and alerting rules; none where the installation has none."""
        return sorted((self.root / "helm/embedway/files/rules").glob("*.yaml"))


def published_golden(model: str) -> Path | None:
    """The golden vectors or scores that the repository holds of a model, however it is spelt."""
    spelt = re.sub(r"[^a-z0-9]+", "_", model.rpartition("/")[2].lower()).strip("_")
    path = find_assets().models / spelt / "golden.json"
    return path if path.is_file() else None


def find_assets() -> Assets:
    """Those of an installed wheel, else of the checkout; UpError where neither is whole."""
    package = Path(router.__file__).resolve().parent
    for root in (package / "_bundled", package.parent):
        assets = Assets(root)
        if assets.models.is_dir() and assets.backend.is_dir() and assets.batch_strategy.is_file():
            return assets
    raise UpError(f"this installation has no backend and no model repository beside {package}")
