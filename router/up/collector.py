"""The OpenTelemetry collector beside the stack, and the Prometheus: what each is started with."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from router.up.companion import Program

_SCRAPE_EVERY = "5s"
_RETENTION = "2d"


def collector_program(wheel: Path, port: int, grpc_port: int) -> Program:
    """Rotel, listening for OTLP over HTTP on `port` and over gRPC on `grpc_port`."""
    agent = wheel / "rotel/rotel-agent"
    # An unpacked wheel may have lost the bit.
    agent.chmod(0o755)
    return Program("Collector", [str(agent), "start"], port)


def collector_environment(
    inherited: Mapping[str, str], folder: Path, ports: Sequence[int], book_url: str
) -> dict[str, str]:
    """Its settings: traces go to `book_url`; metrics, which Prometheus fetches, and logs nowhere.

    `ports` are those of HTTP and gRPC.
    """
    http, grpc = ports
    settings = {
        "ROTEL_OTLP_HTTP_ENDPOINT": f"127.0.0.1:{http}",
        "ROTEL_OTLP_GRPC_ENDPOINT": f"127.0.0.1:{grpc}",
        "ROTEL_PID_FILE": str(folder / "collector.pid"),
        "ROTEL_LOG_FILE": str(folder / "collector.log"),
        "ROTEL_EXPORTERS": "book:otlp,nowhere:blackhole",
        "ROTEL_EXPORTERS_TRACES": "book",
        "ROTEL_EXPORTERS_METRICS": "nowhere",
        "ROTEL_EXPORTERS_LOGS": "nowhere",
        "ROTEL_EXPORTER_BOOK_ENDPOINT": book_url,
        "ROTEL_EXPORTER_BOOK_PROTOCOL": "http",
    }
    # Nothing of ours is its business, and a stray ROTEL_ variable would change what it does.
    kept = {"PATH", "HOME", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"}
    return {name: value for name, value in inherited.items() if name in kept} | settings


def find_prometheus(environment: Mapping[str, str]) -> str | None:
    """The program on PATH; None where it is not installed."""
    return shutil.which("prometheus", path=environment.get("PATH", ""))


def prometheus_program(
    program: str, folder: Path, port: int, scraped: Mapping[str, str], rules: Sequence[Path]
) -> Program:
    """Write its configuration into `folder`; `scraped` is an address (host:port) by job."""
    config = folder / "prometheus.yml"
    settings = {
        "global": {"scrape_interval": _SCRAPE_EVERY, "evaluation_interval": _SCRAPE_EVERY},
        "rule_files": [str(rule) for rule in rules],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address]}]}
            for job, address in scraped.items()
        ],
    }
    config.write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
    options = [
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--storage.tsdb.retention.time={_RETENTION}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    return Program("Prometheus", [program, *options], port)
