"""What a log that cannot be written costs: lines, and nothing else."""

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
import tritonclient.grpc as triton

from router.domain.clock import SystemClock
from router.telemetry.logs import Log
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import KEY, fake_settings
from tests.support.tensors import text_inputs
from tests.support.wire import call, embed

LOST = 'embedway_telemetry_dropped_total{signal="logs"}'


@contextlib.contextmanager
def full_disk() -> Iterator[IO[bytes]]:
    with open("/dev/full", "wb", buffering=0) as stream:  # noqa: PTH123 - unbuffered
        yield stream


@contextlib.contextmanager
def broken_pipe() -> Iterator[IO[bytes]]:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as stream:
        yield stream


@contextlib.contextmanager
def stuck_pipe() -> Iterator[IO[bytes]]:
    """Nobody reads, and a writer is not held up."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"." * 65536)
    stream = os.fdopen(writer, "wb")
    yield stream
    os.close(reader)
    with contextlib.suppress(OSError):
        stream.close()


@pytest.mark.parametrize(
    "broken", [full_disk, broken_pipe, stuck_pipe], ids=lambda one: one.__name__
)
def test_a_line_that_cannot_be_written_is_counted(
    broken: Callable[[], contextlib.AbstractContextManager[IO[bytes]]],
) -> None:
    """Who logs never hears of it."""
    with broken() as stream:
        log = Log(SystemClock(), stream)
        for _ in range(3):
            log.event("something")
        assert log.failed == 3


def test_lines_are_written_again_once_they_can_be() -> None:
    """One JSON object a line, the first one after the disk has room."""
    stream = io.BytesIO()
    with full_disk() as full:
        log = Log(SystemClock(), full)
        log.event("lost")
        log._stream = stream
        log.event("kept", count=1)
    assert log.failed == 1
    assert json.loads(stream.getvalue())["event"] == "kept"


def _lost(router: RouterUnderTest) -> float:
    page = call(router, "GET", "/metrics", headers={"accept": "*/*"}).body.decode()
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(LOST))


def test_a_router_serves_on_while_its_log_cannot_be_written(minilm: Path) -> None:
    """Answers leave by both doors, a target that goes and comes back is seen, lines are counted."""
    with full_disk() as full, RouterUnderTest(fake_settings(minilm)) as router:
        eventually(lambda: all(map(router.app.fleet.is_up, router.app.fleet.states)))
        log = router.app._log
        stream, log._stream = log._stream, full
        assert embed(router, input="harbour").status == 200
        with triton.InferenceServerClient(router.grpc_host) as client:
            inputs = text_inputs(triton, ["harbour"], (1, 1))
            headers = {"authorization": f"Bearer {KEY}"}
            answer = client.infer("plain", inputs, headers=headers)
            assert answer.as_numpy("EMBEDDING").shape[-1] == 384
        fake, is_ready = router.fake("plain-target"), router.app.fleet.watch.is_ready
        fake.is_ready = False
        eventually(lambda: not is_ready("plain-target"))
        fake.is_ready = True
        eventually(lambda: is_ready("plain-target"))
        # A request's line is written last, when its answer may have been read already.
        eventually(lambda: _lost(router) >= 4)
        log._stream = stream
        assert embed(router, input="harbour").status == 200
