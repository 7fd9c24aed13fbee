"""A Triton server of our own: started, watched, ended, and nothing left of it.

It writes its log beside its models and names its shared-memory regions after its folder, so that
the folder alone tells, even to a later process, what there is to clean.
"""

import asyncio
import contextlib
import http.client
import os
import secrets
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from router.domain.clock import Clock
from router.up.cache import abandoned_folders
from router.up.dependent import command_of
from router.up.errors import TritonDiedError, UpError
from router.up.free_ports import free_tcp_ports
from router.up.triton_files import Ports, TritonFiles, server_options, trace_options
from router.up.triton_log import load_failure, port_was_taken

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where the kernel keeps it, not a scratch folder
_LOG = "triton.log"
_PORT_TRIES = 3
_POLL_S = 0.05
_PROBE_TIMEOUT_S = 2.0
# Above the server's own --exit-timeout-secs and the unloading of its models.
_STOP_TIMEOUT_S = 20.0


class TritonProcess:
    """One server in a living folder: its log, its models and the names of its regions.

    `start` must run on a thread that lives as long as the server should (the event loop's):
    the kernel ends the server when that thread ends.
    """

    def __init__(
        self,
        files: TritonFiles,
        folder: Path,
        repository: Path,
        backends: Path,
        workplace: Path,
        environment: Mapping[str, str],
        clock: Clock,
        trace_url: str | None = None,
    ) -> None:
        """`folder` is a LivingFolder's; `repository` and `backends` are what the server reads.

        `workplace` is its working directory, where its Python models find modules first. Spans of
        requests that carry a sampled `traceparent` go to `trace_url`, by OTLP over HTTP.
        """
        self._files = files
        self._folder = folder
        self._repository = repository
        self._backends = backends
        self._workplace = workplace
        self._environment = environment
        self._clock = clock
        self._trace_url = trace_url
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: Ports | None = None
        self._was_ready = False
        self.log = folder / _LOG

    @property
    def ports(self) -> Ports:
        """Where it listens; the same after a restart."""
        if self._ports is None:
            raise UpError("Triton was not started yet")
        return self._ports

    @property
    def process_id(self) -> int:
        """Process id that leads the group of the server and its stubs (see dependent.py)."""
        if self._process is None:
            raise UpError("Triton is not running")
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it on free ports, or on those that it had; `wait_ready` says how that went."""
        self._ports = self._ports or free_ports()
        self.kill()
        prefix = region_prefix(self._folder)
        options = server_options(
            self._ports, self._repository, self._backends, prefix, secrets.token_hex(16)
        )
        if self._trace_url is not None:
            options += trace_options(self._trace_url)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                command_of([str(self._files.server), *options], _STOP_TIMEOUT_S),
                cwd=self._workplace,
                env=self._files.environment(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A session of its own: Ctrl-C in the terminal reaches us, and we end it.
                start_new_session=True,
            )

    async def wait_ready(self, models: Iterable[str], timeout_s: float) -> None:
        """Return once every model serves; UpError with the reason where that is not to be."""
        deadline_s = self._clock.monotonic_s() + timeout_s
        waiting = list(models)
        # Once it was ready, others know its ports.
        moves_left = 0 if self._was_ready else _PORT_TRIES - 1
        while waiting:
            if not self.is_running():
                if moves_left == 0 or not port_was_taken(self._read_log()):
                    raise TritonDiedError(self._explain("Triton could not start"))
                # Somebody took one of the free ports before the server did.
                moves_left -= 1
                self._ports = None
                self.start()
            elif self._clock.monotonic_s() > deadline_s:
                raise UpError(self._explain(f"Triton was not ready after {timeout_s:.0f} s"))
            elif await asyncio.to_thread(self._is_ready, waiting[0]):
                waiting.pop(0)
            else:
                await asyncio.sleep(_POLL_S)
        self._was_ready = True

    async def wait_ended(self) -> None:
        """Return once the server has ended, for whatever reason."""
        # Polled: the end of a child is learned by asking the kernel, and nothing sets an event.
        while self.is_running():  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """End it, kindly at first and at once when `hurry` is set; safe to call at any time."""
        # A server that still loads hears SIGTERM only afterwards, and has nothing to finish.
        if self._process is None or not self._was_ready:
            self.kill()
            return
        self._process.terminate()
        ends: list[asyncio.Task[object]] = [asyncio.create_task(self.wait_ended())]
        if hurry is not None:
            ends.append(asyncio.create_task(hurry.wait()))
        try:
            await asyncio.wait(ends, timeout=_STOP_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            self.kill()

    def kill(self) -> None:
        """End it and its stubs without asking, and remove its shared memory."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        _remove_regions(self._folder)

    def _is_ready(self, model: str) -> bool:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.ports.http, timeout=_PROBE_TIMEOUT_S
        )
        with contextlib.closing(connection):
            try:
                # A model's own readiness: the server's flaps while models load.
                connection.request("GET", f"/v2/models/{model}/ready")
                return connection.getresponse().status == http.client.OK
            except (OSError, http.client.HTTPException):
                return False

    def _explain(self, what: str) -> str:
        """One sentence; the log outlives the folder, because it is all there is to look into."""
        log = self._read_log()
        kept = self._folder.parent / "triton-failure.log"
        kept.write_text(log, encoding="utf-8")
        reason = load_failure(log) or self._ending()
        return f"{what}: {reason} (log: {kept})"

    def _ending(self) -> str:
        status = self._process.poll() if self._process is not None else None
        if status is None:
            return "a model is still loading"
        return f"it was ended by signal {-status}" if status < 0 else f"it exited with {status}"

    def _read_log(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


def free_ports() -> Ports:
    """Three ports of 127.0.0.1 that nobody listens on right now."""
    return Ports(*free_tcp_ports(3))


def region_prefix(folder: Path) -> str:
    """How the shared-memory regions of the server in `folder` begin."""
    return f"embedway-{folder.name}-"


def sweep(parent: Path) -> None:
    """Clean what servers left whose process was killed: their folders in `parent` and regions."""
    for folder in abandoned_folders(parent):
        _remove_regions(folder)


def _remove_regions(folder: Path) -> None:
    for region in _SHARED_MEMORY.glob(region_prefix(folder) + "*"):
        region.unlink(missing_ok=True)
