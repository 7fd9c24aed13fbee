"""A real Prometheus that scrapes what a test runs, with the rules of the chart."""

import contextlib
import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.processes import free_port
from tests.support.parts import program

RULES = Path(__file__).parents[2] / "helm" / "embedway" / "files" / "rules"


def rules(file: str) -> list[dict[str, Any]]:
    """The rules of one of the chart's files."""
    groups = yaml.safe_load((RULES / file).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server."""

    url: str
    at_s: float | None = None
    """Unix time of which it is asked; None asks of now."""

    def get(self, path: str, **parameters: str) -> Any:
        """`data` of an answer of its HTTP API; an error of a query is the test's."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=60) as answer:
            return json.load(answer)["data"]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an expression at that moment."""
        when = {} if self.at_s is None else {"time": f"{self.at_s:.3f}"}
        found: list[dict[str, Any]] = self.get("query", query=expr, **when)["result"]
        return found


@contextlib.contextmanager
def running_prometheus(folder: Path, jobs: Mapping[str, list[str]]) -> Iterator[Prometheus]:
    """Scrapes each job's addresses (host:port) every second, and evaluates rules as often."""
    server = program("prometheus", "prometheus")
    port = free_port()
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in sorted(RULES.glob("*.yaml"))],
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": addresses}]}
            for name, addresses in jobs.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    options = [
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([server, *options], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_ready(url, process, folder / "log")
        yield Prometheus(url)
    finally:
        process.terminate()
        process.wait(60)


def _wait_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=2):
            return
        time.sleep(0.1)
    raise AssertionError(f"Prometheus is not ready: {log.read_text()}")
