"""A whole router on a thread of its own, and what a test may see and change of it."""

import asyncio
import io
import json
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import uvloop

from router.app import App
from router.authentication.changes import ChangeWatch
from router.config.file import ConfigurationFile
from router.config.load import parse_settings
from router.domain.clock import Clock, SystemClock
from router.domain.ports import Upstream
from router.reloading.board import Board
from router.reloading.reloader import Reloader, Take
from router.telemetry.logs import Log
from router.telemetry.tracer import Tracer
from router.upstreams.fake import FakeUpstream

T = TypeVar("T")
_END_S = 60.0


class RouterUnderTest:
    """`router.app.App` built from YAML, on free ports, with its log in memory."""

    def __init__(
        self,
        settings: str,
        environment: Mapping[str, str] | None = None,
        config: Path | None = None,
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        """`config` is a file that the settings are written to, and that is watched.

        `clock` stands in for the machine's. `options` are those of the App that commands give it.
        """
        self.clock = clock or SystemClock()
        # A database of its own, unless the settings name one.
        self._folder = tempfile.TemporaryDirectory(prefix="embedway-test-")
        folder = self._folder.name
        own = f"store: {{url: 'sqlite:///{folder}/embedway.db', state: '{folder}/state'}}\n"
        text = settings if "\nstore:" in settings else settings + own
        self._own = "" if "\nstore:" in settings else own
        self._settings = parse_settings(text, origin="test")
        self._config = config
        if config is not None:
            config.write_text(text)
        self._environment = dict(environment or {})
        self._options = options
        self._stream = io.BytesIO()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._app: App | None = None
        self._looks = 0
        self._polls = self._heard = 0

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.run(self._start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.app.stop(drain_s=0))
        self._end()

    @property
    def app(self) -> App:
        assert self._app is not None
        return self._app

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.app.http.port

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.app.http.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def grpc_host(self) -> str:
        assert self.app.grpc is not None
        return f"127.0.0.1:{self.app.grpc.port}"

    @property
    def under_way(self) -> int:
        """HTTP requests that are being answered right now."""
        return self.app.under_way

    @property
    def log(self) -> bytes:
        return self._stream.getvalue()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log lines of that name, oldest first."""
        lines = map(json.loads, self.log.splitlines())
        return [line for line in lines if line["event"] == name]

    def logged(self, name: str, **fields: Any) -> dict[str, Any]:
        """The newest line of that name with those fields, waited for: it is written last."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [line for line in self.events(name) if fields.items() <= line.items()]
            return bool(found)

        eventually(is_there)
        return found[-1]

    @property
    def tracer(self) -> Tracer:
        tracer = self.app._ground.tracer
        assert isinstance(tracer, Tracer)
        return tracer

    def fake(self, target: str) -> FakeUpstream:
        upstream = self.upstream(target)
        assert isinstance(upstream, FakeUpstream)
        return upstream

    def upstream(self, target: str) -> Upstream:
        return self.app.fleet.upstreams[target]

    def replace(self, target: str, upstream: Upstream) -> Upstream:
        """Put another upstream in a target's place; returns the one that stood there."""
        before = self.app.fleet.upstreams[target]
        self.app.fleet.upstreams[target] = upstream
        return before

    def recover(self, target: str) -> None:
        """Forget that the target ever failed."""
        state = self.app.fleet.states[target]
        state.breaker.reset()
        state._resting_until_s = 0.0

    def room(self, target: str) -> tuple[int, int]:
        """Requests and tokens that count as under way at the target."""
        room = self.app.fleet.rooms[target]
        return room.requests, room.tokens

    def up(self) -> Self:
        """Itself, once every target was found ready and of its space."""
        eventually(lambda: all(map(self.app.fleet.is_up, self.app.fleet.upstreams)))
        return self

    def hear(self) -> None:
        """Wait until it has asked the store what changed, in a question that begins after this."""
        polls = self._polls
        eventually(lambda: self._heard > polls, 20.0)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it on the router's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def rewrite(self, settings: str, within_s: float = 30.0) -> str | None:
        """Put another configuration in the file's place; what was wrong with it, once known."""
        assert self._config is not None
        data = (settings + self._own).encode()
        new = self._config.with_suffix(".new")
        new.write_bytes(data)
        new.replace(self._config)
        return self.reread(within_s)

    def reread(self, within_s: float = 30.0) -> str | None:
        """Have the file looked at; what was wrong with it, once known."""
        looks = self._looks
        self._loop.call_soon_threadsafe(self.app.reload_soon)
        # The first look may have begun before the file was changed.
        eventually(lambda: self._looks >= looks + 1, within_s)
        self._loop.call_soon_threadsafe(self.app.reload_soon)
        eventually(lambda: self._looks >= looks + 2, within_s)
        return self.app.served().served.pending_error

    async def _start(self) -> None:
        log, reloader = Log(self.clock, self._stream), None
        if self._config is not None:
            reloader = Reloader(ConfigurationFile(self._config), Board(None), log)
            self._settings = reloader.first().settings
            look = reloader.look

            async def counted(take: Take) -> None:
                await look(take)
                self._looks += 1

            reloader.look = counted  # type: ignore[method-assign]
        options = {"reloader": reloader} | self._options
        self._app = App(self._settings, self._environment, self.clock, log, **options)
        self._count_polls(self._app.authenticator.watch)
        await self._app.start()

    def _count_polls(self, watch: ChangeWatch) -> None:
        poll = watch.poll

        async def counted() -> None:
            self._polls += 1
            number = self._polls
            await poll()
            if watch.is_reachable:
                self._heard = number

        watch.poll = counted  # type: ignore[method-assign]

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END_S)
        self._loop.close()
        self._folder.cleanup()


def eventually(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    """Return as soon as the condition holds; fail where it never does.

    The time is for a machine that stands still now and then, and says nothing of how soon it is.
    """
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"did not come true within {within_s} s"
        time.sleep(0.01)
