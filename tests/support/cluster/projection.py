"""Files of a ConfigMap or Secret, changed all at once as a kubelet changes them."""

import base64
import itertools
from pathlib import Path
from typing import Any

from tests.support.cluster.api import Api

_fresh = itertools.count()


class ProjectedVolume:
    """A folder with a file a key: NAME → ..data/NAME, and ..data is swapped as a whole."""

    def __init__(self, folder: Path, sources: list[dict[str, Any]]) -> None:
        """`sources` are those of a projected volume of a Pod."""
        folder.mkdir(parents=True)
        # The bind mount follows the folder, and a process of another user reads it.
        folder.chmod(0o755)
        self.folder = folder
        self._sources = sources
        self._content: dict[str, bytes] | None = None
        self._last: Path | None = None

    def refresh(self, api: Api) -> bool:
        """Write what the sources hold now; False while one is missing that is not optional."""
        content: dict[str, bytes] = {}
        for source in self._sources:
            found = _read(api, source)
            if found is None:
                return False
            content |= found
        if content != self._content:
            self._swap(content)
            self._content = content
        return True

    def _swap(self, content: dict[str, bytes]) -> None:
        version = f"..{next(_fresh)}"
        (self.folder / version).mkdir()
        for name, data in content.items():
            (self.folder / version / name).write_bytes(data)
        link = self.folder / "..data_tmp"
        link.symlink_to(version)
        link.replace(self.folder / "..data")
        for name in content:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        for stale in self.folder.iterdir():
            if not stale.name.startswith("..") and stale.name not in content:
                stale.unlink()
        self._drop_older(self.folder / version)

    def _drop_older(self, current: Path) -> None:
        """All but this version and the last: somebody may be about to open a file of that."""
        for old in self.folder.iterdir():
            if old.is_dir() and not old.is_symlink() and old not in (current, self._last):
                for file in old.iterdir():
                    file.unlink()
                old.rmdir()
        self._last = current


def sources_of(volume: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The sources of a Pod's volume; None where it is no projection."""
    if "projected" in volume:
        sources: list[dict[str, Any]] = volume["projected"]["sources"]
        return sources
    if "configMap" in volume:
        return [{"configMap": volume["configMap"]}]
    if "secret" in volume:
        named = volume["secret"]
        return [{"secret": named | {"name": named["secretName"]}}]
    return None


def _read(api: Api, source: dict[str, Any]) -> dict[str, bytes] | None:
    (kind, wanted) = next(iter(source.items()))
    if kind == "serviceAccountToken":
        return {}
    if kind == "downwardAPI":
        return {}
    found = api.get("secrets" if kind == "secret" else "configmaps", wanted["name"])
    if found is None:
        return {} if wanted.get("optional") else None
    data = found.get("data") or {}
    if kind == "secret":
        content = {name: base64.b64decode(value) for name, value in data.items()}
    else:
        content = {name: value.encode() for name, value in data.items()}
    if "items" in wanted:
        return {item["path"]: content[item["key"]] for item in wanted["items"]}
    return content
