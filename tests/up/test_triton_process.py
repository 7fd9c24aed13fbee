"""The life of a real Triton server with tiny models."""

import asyncio
import dataclasses
import http.client
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from router.up import triton_process
from router.up.errors import TritonDiedError
from router.up.triton_process import TritonProcess, region_prefix, sweep
from tests.support.families import living
from tests.support.triton import quiet_ports

_READY_S = 60.0


def _regions(triton: TritonProcess) -> list[Path]:
    return list(Path("/dev/shm").glob(region_prefix(triton.log.parent) + "*"))


def _status(triton: TritonProcess, method: str, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", triton.ports.http, timeout=30)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    finally:
        connection.close()


def _family(triton: TritonProcess) -> list[psutil.Process]:
    server = psutil.Process(triton.process_id)
    return [server, *server.children(recursive=True)]


async def test_life(echo_triton: Any) -> None:
    """Several models serve, dangerous endpoints are closed, and nothing is left after the end."""
    triton = await echo_triton.make("first", "second")
    triton.start()
    try:
        await triton.wait_ready(["first", "second"], _READY_S)
        family = _family(triton)
        assert len(_regions(triton)) == 2
        assert _status(triton, "GET", "/v2/models/second/ready") == 200
        assert _status(triton, "POST", "/v2/repository/index") == 403
        assert _status(triton, "GET", "/v2/systemsharedmemory/status") == 403
        assert _status(triton, "GET", "/v2/logging") == 403
    finally:
        await triton.stop()
    assert living(family) == []
    assert _regions(triton) == []


async def test_restart_after_kill(echo_triton: Any) -> None:
    """A server that was killed is started again on the same ports, its stubs and regions gone."""
    triton = await echo_triton.make("one")
    triton._ports = quiet_ports()
    triton.start()
    try:
        await triton.wait_ready(["one"], _READY_S)
        ports, family = triton.ports, _family(triton)
        os.kill(triton.process_id, signal.SIGKILL)
        await triton.wait_ended()
        triton.start()
        await triton.wait_ready(["one"], _READY_S)
        assert triton.ports == ports
        assert living(family) == []
        assert len(_regions(triton)) == 1
    finally:
        await triton.stop()


async def test_hurry(echo_triton: Any) -> None:
    """A second Ctrl-C ends the server at once, stubs and regions included."""
    triton = await echo_triton.make("one")
    triton.start()
    await triton.wait_ready(["one"], _READY_S)
    family = _family(triton)
    hurry = asyncio.Event()
    hurry.set()
    await asyncio.wait_for(triton.stop(hurry), 10.0)
    assert living(family) == []
    assert _regions(triton) == []


async def test_a_model_that_does_not_load(echo_triton: Any) -> None:
    """The reason is one sentence that names the log, which outlives the folder."""
    triton = await echo_triton.make("fine", "broken")
    triton.start()
    with pytest.raises(TritonDiedError) as caught:
        await triton.wait_ready(["fine", "broken"], _READY_S)
    await triton.stop()
    log = triton.log.parent.parent / "triton-failure.log"
    assert str(caught.value) == (
        f"Triton could not start: model broken: the weights are made of straw (log: {log})"
    )
    assert "made of straw" in log.read_text()
    assert _regions(triton) == []


async def test_a_port_taken_meanwhile(echo_triton: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A free port that somebody else takes first costs another try, not the start."""
    real, choices = triton_process.free_ports, []
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        taken = squatter.getsockname()[1]

        def free_ports() -> triton_process.Ports:
            ports = real()
            choices.append(ports)
            is_first = len(choices) == 1
            return dataclasses.replace(ports, http=taken) if is_first else ports

        monkeypatch.setattr(triton_process, "free_ports", free_ports)
        triton = await echo_triton.make("one")
        triton.start()
        try:
            await triton.wait_ready(["one"], _READY_S)
            assert len(choices) == 2
        finally:
            await triton.stop()


def test_sweep(tmp_path: Path) -> None:
    """Regions of a server whose router was killed are removed with its folder."""
    code = (
        "import os, sys; from pathlib import Path; from router.up.cache import LivingFolder;"
        "print(LivingFolder(Path(sys.argv[1])).path, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=False
    )
    left = Path(done.stdout.strip())
    region = Path("/dev/shm") / (region_prefix(left) + "x")
    region.touch()
    sweep(tmp_path)
    assert not region.exists()
    assert not left.exists()
