"""deploy/compose, read by Docker's own compose program and by the programs that are configured."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from router.config.load import load_settings, store_url
from router.config.settings import Settings
from router.domain.errors import ConfigurationError
from tests.support import compose
from tests.support.parts import program

_ROOT = compose.FOLDER.parents[1]
_STACKS = pytest.mark.parametrize("files", [compose.CPU, compose.GPU], ids=["cpu", "gpu"])


def _router_file(files: tuple[str, ...]) -> Path:
    return compose.mounts(files, "router")[compose.CONFIGURATION]


def _router(files: tuple[str, ...]) -> Settings:
    return load_settings(_router_file(files))


def _configuration(name: str) -> Any:
    return yaml.safe_load((compose.FOLDER / name).read_text())


@_STACKS
def test_what_is_mounted_exists(files: tuple[str, ...]) -> None:
    """Every file and folder that a container is given lies in the repository."""
    for name in compose.stack(files)["services"]:
        for target, source in compose.mounts(files, name).items():
            assert source.exists(), f"{name}: {target}"


@_STACKS
def test_every_container_is_shut_in(files: tuple[str, ...]) -> None:
    """No root, no capability, nothing written but volumes and tmpfs, no new privileges."""
    for name, service in compose.stack(files)["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        user, _, _ = service["user"].partition(":")
        assert int(user) > 0, name
        assert not service.get("privileged"), name
        assert all(
            volume.get("read_only")
            for volume in service.get("volumes", ())
            if volume["type"] == "bind"
        ), name


@_STACKS
def test_nothing_is_open_to_other_machines(files: tuple[str, ...]) -> None:
    """Ports are published on the loopback address only, and no two share one."""
    ports = [
        one for each in compose.stack(files)["services"].values() for one in each.get("ports", ())
    ]
    assert {one["host_ip"] for one in ports} == {"127.0.0.1"}
    assert len({one["published"] for one in ports}) == len(ports)


@_STACKS
def test_images_are_pinned(files: tuple[str, ...]) -> None:
    """Every image has a version; none floats."""
    for service in compose.stack(files)["services"].values():
        assert re.search(r":v?\d+\.\d+(\.\d+)?[\w.-]*$", service["image"]), service["image"]


@_STACKS
def test_passwords_are_secrets(files: tuple[str, ...]) -> None:
    """No password stands in the files: each is a file of its own, which git does not see."""
    stack = compose.stack(files)
    for secret in stack["secrets"].values():
        path = Path(secret["file"])
        assert path.parent == compose.FOLDER / "secrets"
        ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=_ROOT, check=False)
        assert ignored.returncode == 0
    for service in stack["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|KEY", name):
                assert value.startswith("/run/secrets/"), name


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """Each is random and long; what is there already is kept; the folder is closed to others."""
    script = tmp_path / "secrets.sh"
    script.write_bytes((compose.FOLDER / "secrets.sh").read_bytes())
    subprocess.run(["sh", script], check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert made.keys() == compose.stack(compose.CPU)["secrets"].keys()
    assert all(len(value) >= 48 for value in made.values())
    assert len(set(made.values())) == len(made)
    assert f":{made['postgres_password']}@" in made["store_url"]
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    subprocess.run(["sh", script], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made


@_STACKS
def test_the_router_finds_the_others(files: tuple[str, ...]) -> None:
    """Addresses in the router's configuration are services that it shares a network with."""
    stack, settings = compose.stack(files), _router(files)
    services = stack["services"]
    mine = set(services["router"]["networks"])
    [target] = settings.targets.values()
    assert target.url == "grpc://triton:8001"
    assert mine & set(services["triton"]["networks"])
    assert settings.telemetry.otlp.endpoint == "http://collector:4318"
    assert mine & set(services["collector"]["networks"])
    assert (settings.server.port, settings.server.grpc_port) == (8080, 8081)
    assert {one["target"] for one in services["router"]["ports"]} == {8080, 8081}


@_STACKS
def test_the_router_writes_to_its_volume(files: tuple[str, ...]) -> None:
    """The spool lies on the volume, and secrets are where they are mounted."""
    service, settings = compose.stack(files)["services"]["router"], _router(files)
    [volume] = [one["target"] for one in service["volumes"] if one["type"] == "volume"]
    assert settings.store.state.is_relative_to(volume)
    mounted = {f"/run/secrets/{one['source']}" for one in service["secrets"]}
    [key] = settings.tenants["default"].keys
    assert {str(key.file), str(settings.store.url_file)} == mounted


@_STACKS
def test_triton_loads_what_is_asked_of_it(files: tuple[str, ...]) -> None:
    """The model that is loaded is in the repository, asked for by the router and by the check."""
    triton, settings = compose.stack(files)["services"]["triton"], _router(files)
    [model] = re.findall(r"--load-model=(\w+)", " ".join(triton["command"]))
    [target] = settings.targets.values()
    assert target.model == model
    assert (_ROOT / "model_repository" / model / "config.pbtxt").is_file()
    assert triton["healthcheck"]["test"][-1].endswith(f"/v2/models/{model}/ready")
    config = (_ROOT / "model_repository" / model / "config.pbtxt").read_text()
    [space] = settings.spaces.values()
    assert f'string_value: "{space.model}"' in config
    assert f"dims: [ -1, {space.dimensions} ]" in config


def test_only_the_gpu_stack_asks_for_gpus() -> None:
    """The CPU stack takes torch without CUDA and no device; the GPU stack the other way."""
    cpu, gpu = (compose.stack(files)["services"]["triton"] for files in (compose.CPU, compose.GPU))
    assert "deploy" not in cpu
    assert cpu["build"]["args"]["TORCH_INDEX_URL"].endswith("/cpu")
    [device] = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert gpu["build"]["args"]["TORCH_INDEX_URL"] == ""
    assert cpu["image"] != gpu["image"]


def test_the_database_has_no_way_out() -> None:
    """PostgreSQL is on one network, closed to the outside, with router and migration alone."""
    stack = compose.stack(compose.CPU)
    [network] = stack["services"]["postgres"]["networks"]
    assert stack["networks"][network]["internal"]
    members = [name for name, one in stack["services"].items() if network in one["networks"]]
    assert sorted(members) == ["migrate", "postgres", "router"]
    assert "ports" not in stack["services"]["postgres"]


@_STACKS
def test_tables_are_made_before_the_router_starts(files: tuple[str, ...]) -> None:
    """One container migrates the database, once, by the router's own image and configuration."""
    services = compose.stack(files)["services"]
    migrate, router = services["migrate"], services["router"]
    assert router["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert migrate["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert migrate["restart"] == "no"
    assert migrate["image"] == router["image"]
    assert migrate["command"] == ["db", "upgrade", "--config", compose.CONFIGURATION]
    configured = compose.mounts(files, "migrate")[compose.CONFIGURATION]
    assert configured == _router_file(files)
    mounted = {f"/run/secrets/{one['source']}" for one in migrate["secrets"]}
    assert str(load_settings(configured).store.url_file) in mounted
    assert set(migrate["networks"]) & set(services["postgres"]["networks"])


def test_drain_fits_into_the_grace_period() -> None:
    """Docker waits longer than the router takes to finish what is under way."""
    grace = compose.stack(compose.CPU)["services"]["router"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > _router(compose.CPU).server.drain_timeout_s


def test_prometheus_takes_its_file(tmp_path: Path) -> None:
    """Promtool accepts the configuration, with the rules that are mounted."""
    mounts = compose.mounts(compose.CPU, "prometheus")
    rules = mounts["/etc/prometheus/rules"]
    text = (
        (compose.FOLDER / "prometheus.yaml")
        .read_text()
        .replace("/etc/prometheus/rules", str(rules))
    )
    (tmp_path / "prometheus.yaml").write_text(text)
    promtool = program("promtool", "prometheus")
    done = subprocess.run(
        [promtool, "check", "config", tmp_path / "prometheus.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "rules found" in done.stdout


def test_prometheus_asks_where_metrics_are() -> None:
    """Each scraped address is a service on one of its networks, at a port that is served there."""
    services = compose.stack(compose.CPU)["services"]
    scrape = _configuration("prometheus.yaml")["scrape_configs"]
    static = [t for job in scrape for one in job.get("static_configs", ()) for t in one["targets"]]
    assert static == ["router:8080", "triton:8002", "tempo:3200"]
    [found] = [one for job in scrape for one in job.get("dns_sd_configs", ())]
    assert found["port"] == 8888
    names = [address.partition(":")[0] for address in static] + found["names"]
    mine = set(services["prometheus"]["networks"])
    assert all(mine & set(services[name]["networks"]) for name in names)
    assert _configuration("tempo.yaml")["server"]["http_listen_port"] == 3200


@pytest.mark.parametrize("name", ["collector.yaml", "sampler.yaml"])
def test_pipelines_name_what_is_there(name: str) -> None:
    """Every receiver, processor and exporter of a pipeline is defined, and none is idle."""
    collector = _configuration(name)
    pipelines = collector["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        used = {part for pipeline in pipelines for part in pipeline[kind]}
        assert used == collector[kind].keys()
    assert set(collector["service"]["extensions"]) == collector["extensions"].keys()
    [reader] = collector["service"]["telemetry"]["metrics"]["readers"]
    assert reader["pull"]["exporter"]["prometheus"]["port"] == 8888


def test_a_trace_is_decided_on_as_a_whole() -> None:
    """Spans go by trace to one sampler, are decided on before batching, and end in the store."""
    first, second = _configuration("collector.yaml"), _configuration("sampler.yaml")
    balancing = first["exporters"]["load_balancing"]
    assert balancing["routing_key"] == "traceID"
    dns = balancing["resolver"]["dns"]
    port = second["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].rpartition(":")[2]
    assert (dns["hostname"], dns["port"]) == ("sampler", port)
    processors = second["service"]["pipelines"]["traces"]["processors"]
    assert processors == ["memory_limiter", "tail_sampling", "batch"]
    store = _configuration("tempo.yaml")["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]
    taken = second["exporters"]["otlp_grpc"]["endpoint"]
    assert taken == "tempo:" + store["endpoint"].rpartition(":")[2]


def test_what_is_looked_for_is_kept() -> None:
    """Failures, refusals, slow requests and 1 % of the rest are each kept by a policy."""
    policies = _configuration("sampler.yaml")["processors"]["tail_sampling"]["policies"]
    assert all(policy["type"] in policy for policy in policies)
    kinds = {policy["name"]: policy[policy["type"]] for policy in policies}
    assert kinds["failures"] == {"status_codes": ["ERROR"]}
    assert kinds["refusals"]["key"] == "http.response.status_code"
    refused = range(kinds["refusals"]["min_value"], kinds["refusals"]["max_value"] + 1)
    assert {402, 403, 429, 503} <= set(refused)
    assert kinds["slow"]["threshold_ms"] <= 1000
    assert kinds["rest"] == {"sampling_percentage": 1}


def test_grafana_finds_its_sources() -> None:
    """Its data sources are services on its networks, and dashboards lie where it looks for them."""
    services = compose.stack(compose.CPU)["services"]
    sources = _configuration("grafana/datasources/embedway.yaml")["datasources"]
    assert [one["url"] for one in sources] == ["http://prometheus:9090", "http://tempo:3200"]
    mine = set(services["grafana"]["networks"])
    assert all(mine & set(services[one]["networks"]) for one in ("prometheus", "tempo"))
    [provider] = _configuration("grafana/dashboards/embedway.yaml")["providers"]
    dashboards = compose.mounts(compose.CPU, "grafana")[provider["options"]["path"]]
    assert list(dashboards.glob("*.json"))
    exemplars = sources[0]["jsonData"]["exemplarTraceIdDestinations"]
    assert [one["datasourceUid"] for one in exemplars] == [sources[1]["uid"]]


def test_the_address_comes_from_a_file(tmp_path: Path) -> None:
    """store.url_file holds the address; one that is missing or empty is a sentence."""
    settings = _router(compose.CPU)
    file = tmp_path / "store_url"
    store = settings.store.model_copy(update={"url_file": file})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        store_url(store, {})
    file.write_text(" \n")
    with pytest.raises(ConfigurationError, match="is empty"):
        store_url(store, {})
    file.write_text("postgresql://embedway:secret@postgres/embedway\n")
    assert store_url(store, {}) == "postgresql://embedway:secret@postgres/embedway"
