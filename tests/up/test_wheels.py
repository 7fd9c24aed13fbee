"""Fetching what is pinned."""

import asyncio
import dataclasses
import os
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from router.up.errors import UpError
from router.up.wheels import Wheel, fetch


def _offline(tmp_path: Path, **more: str) -> dict[str, str]:
    """An environment whose only source of packages is `tmp_path`."""
    return {
        **os.environ,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
        **more,
    }


@pytest.fixture
def tiny(tmp_path: Path) -> Wheel:
    """A wheel of one file, made here."""
    path = tmp_path / "ewtiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("ewtiny/data.txt", "data")
        info = "ewtiny-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: ewtiny\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return Wheel("ewtiny", "1.0", sha256(path.read_bytes()).hexdigest(), "the tiny one", 1)


async def test_two_at_once(tiny: Wheel, tmp_path: Path) -> None:
    """Two that fetch the same wheel at once both get it, whole, and leave nothing half-made."""
    cache = tmp_path / "cache"
    first, second = await asyncio.gather(
        *(fetch(tiny, cache, _offline(tmp_path)) for _ in range(2))
    )
    assert first == second
    assert (first / "ewtiny/data.txt").read_text() == "data"
    assert list((cache / "fetching").iterdir()) == []


async def test_a_fetched_wheel_needs_no_index(tiny: Wheel, tmp_path: Path) -> None:
    """What lies in the cache is used without asking anybody."""
    cache = tmp_path / "cache"
    folder = await fetch(tiny, cache, _offline(tmp_path))
    assert await fetch(tiny, cache, _offline(tmp_path, PIP_FIND_LINKS="/nowhere")) == folder


async def test_damage_is_repaired(tiny: Wheel, tmp_path: Path) -> None:
    """A folder without its marker counts as damaged and is fetched again."""
    cache = tmp_path / "cache"
    folder = await fetch(tiny, cache, _offline(tmp_path))
    (folder / ".complete").unlink()
    (folder / "ewtiny/data.txt").write_text("cut")
    await fetch(tiny, cache, _offline(tmp_path))
    assert (folder / "ewtiny/data.txt").read_text() == "data"


async def test_another_file_is_refused(tiny: Wheel, tmp_path: Path) -> None:
    """A package with another hash than the pinned one is not installed."""
    other = dataclasses.replace(tiny, sha256="0" * 64)
    with pytest.raises(UpError, match="another file than the one that is pinned"):
        await fetch(other, tmp_path / "cache", _offline(tmp_path))


async def test_a_missing_build_is_one_sentence(tmp_path: Path) -> None:
    """A package that the index does not have is named, with this machine."""
    wheel = Wheel("ew-no-such", "1.0", "0" * 64, "the server", 1)
    with pytest.raises(UpError) as caught:
        await fetch(wheel, tmp_path / "cache", _offline(tmp_path))
    assert str(caught.value).startswith(
        "the server could not be fetched (ew-no-such 1.0): the package index has no build"
    )
    assert "\n" not in str(caught.value)


async def test_an_unreachable_index_is_one_sentence(tmp_path: Path) -> None:
    """An index that refuses connections is told from one that lacks the package."""
    wheel = Wheel("ew-no-such", "1.0", "0" * 64, "the server", 1)
    # Nobody listens on the discard port; the proxy variables would hide that.
    environment = {n: v for n, v in os.environ.items() if not n.lower().endswith("_proxy")}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    environment |= {"PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""}
    with pytest.raises(UpError, match="the package index cannot be reached"):
        await fetch(wheel, tmp_path / "cache", environment)
