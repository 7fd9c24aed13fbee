"""Secrets whose files arrive after the configuration that names them, as kubelets bring them."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from router.config.file import ConfigurationFile, hash_of
from router.domain.clock import SystemClock
from router.domain.serving import WorkerPlace
from router.reloading.board import Board
from router.reloading.reloader import Reloader
from router.telemetry.logs import Log
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import fake_settings
from tests.support.wire import call

OLD, NEW = "ew-the-old-key-of-a-tenant", "ew-the-new-key-of-a-tenant"


class Mount:
    """A mounted Secret: all its files change at once, by the turn of one link."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self._version = folder, 0

    def hold(self, **files: str) -> None:
        """Hold these files, and no other."""
        self._version += 1
        data = self.folder / f"..{self._version}"
        data.mkdir()
        for name, value in files.items():
            (data / name).write_text(value)
        turned = self.folder / "..data_tmp"
        turned.symlink_to(data.name)
        turned.replace(self.folder / "..data")
        for name in files:
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")


def configuration(minilm: Path, mount: Mount, generation: int, file: str) -> str:
    """A provider and a tenant whose keys lie in files of this name."""
    parsed: dict[str, Any] = yaml.safe_load(fake_settings(minilm))
    path = str(mount.folder / file)
    parsed["generation"] = generation
    parsed["tenants"]["acme"] = {"keys": [{"name": "k", "file": path}]}
    parsed["targets"]["cloud"] = {
        "space": "plain-space", "upstream": "openai", "profile": "generic",
        "url": "http://127.0.0.1:9/v1", "model": "m", "api_key": {"file": path},
    }  # fmt: skip
    return str(yaml.safe_dump(parsed))


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    made = Mount(tmp_path / "secrets")
    made.hold(one=OLD)
    return made


@pytest.fixture
def router(minilm: Path, mount: Mount, tmp_path: Path) -> Iterator[RouterUnderTest]:
    text = configuration(minilm, mount, 1, "one")
    with RouterUnderTest(text, {}, tmp_path / "embedway.yaml") as running:
        yield running


def status(router: RouterUnderTest, key: str) -> int:
    shown = {"authorization": f"Bearer {key}"}
    return call(router, "GET", "/v1/models", headers=shown).status


def served(router: RouterUnderTest) -> dict[str, Any]:
    told: dict[str, Any] = call(router, "GET", "/health/configuration", headers={}).json
    return told


def test_a_configuration_waits_for_the_files_that_it_names(
    router: RouterUnderTest, minilm: Path, mount: Mount
) -> None:
    """It is not acknowledged before; then it is, by itself, and no file has to change for it."""
    first = served(router)
    error = router.rewrite(configuration(minilm, mount, 2, "two"))
    assert error is not None
    assert error.endswith(f"file {mount.folder / 'two'} cannot be read")
    told = served(router)
    assert (told["generation"], told["hash"]) == (1, first["hash"])
    assert (status(router, OLD), status(router, NEW)) == (200, 401)
    mount.hold(one=OLD, two=NEW)
    eventually(lambda: served(router)["generation"] == 2)
    assert served(router)["pending_error"] is None
    assert (status(router, OLD), status(router, NEW)) == (401, 200)
    # The old file is named by nothing any more.
    mount.hold(two=NEW)
    assert router.reread() is None
    assert (served(router)["generation"], status(router, NEW)) == (2, 200)


def test_another_name_of_the_same_key_opens_no_new_connection(
    router: RouterUnderTest, minilm: Path, mount: Mount
) -> None:
    """Only its value says how a provider is spoken to."""
    before = router.app.fleet.upstreams["cloud"]
    mount.hold(one=OLD, same=OLD)
    assert router.rewrite(configuration(minilm, mount, 2, "same")) is None
    assert router.app.fleet.upstreams["cloud"] is before
    mount.hold(one=OLD, same=OLD, two=NEW)
    assert router.rewrite(configuration(minilm, mount, 3, "two")) is None
    assert router.app.fleet.upstreams["cloud"] is not before


async def test_a_worker_that_starts_meanwhile_serves_what_the_others_do(
    minilm: Path, mount: Mount, tmp_path: Path
) -> None:
    """It would end at once with a file whose secrets are not there yet, and again and again."""
    file = tmp_path / "embedway.yaml"
    last = configuration(minilm, mount, 1, "one")
    file.write_text(configuration(minilm, mount, 2, "two"))
    board = Board(WorkerPlace(0, 2, tmp_path, 0, 0))
    board.remember(last.encode())
    reloader = Reloader(ConfigurationFile(file), board, Log(SystemClock(), io.BytesIO()))
    assert reloader.first().hash == hash_of(last.encode())
    assert reloader.pending_error is not None
    assert "cannot be read" in reloader.pending_error
    taken: list[str] = []

    async def take(loaded: Any) -> None:
        taken.append(loaded.hash)

    await reloader.look(take)
    assert taken == []
    mount.hold(one=OLD, two=NEW)
    await reloader.look(take)
    assert taken == [hash_of(file.read_bytes())]
    assert reloader.pending_error is None
