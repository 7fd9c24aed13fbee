"""Is all well, how fast, and how much of the error budget is left."""

from deploy.dashboards.panels import Board, Panel, Query

_REQUESTS = 'embedway_requests_total{job=~"$job", route=~"$route"}'
_BUCKETS = 'embedway_request_duration_seconds_bucket{job=~"$job", route=~"$route"}'
_SELECTED = '{job=~"$job", route=~"$route"}'


def _quantile(quantile: float, by: str) -> str:
    return f"histogram_quantile({quantile}, sum by ({by}) (rate({_BUCKETS}[$__rate_interval])))"


_NOW = (
    Panel(
        "Requests a second", "Embedding requests of all routes, however they ended.",
        (Query(f"sum(rate({_REQUESTS}[$__rate_interval]))"),), "reqps", "stat", 6,
    ),
    Panel(
        "Failing", "Share of requests that failed through no fault of the caller.",
        (Query(f"max(embedway:errors:ratio_rate5m{_SELECTED})"),), "percentunit", "stat", 6,
    ),
    Panel(
        "99th percentile", "Duration of answered requests.",
        (Query(_quantile(0.99, "le")),), "s", "stat", 6,
    ),
    Panel(
        "USD an hour", "What requests cost at this rate.",
        (Query('sum(rate(embedway_tenant_cost_usd_total{job=~"$job"}[$__rate_interval])) * 3600'),),
        "currencyUSD", "stat", 6,
    ),
)  # fmt: skip
_TRAFFIC = (
    Panel(
        "Requests by end", "ok, or the code of the error that the caller got.",
        (Query(f"sum by (outcome) (rate({_REQUESTS}[$__rate_interval]))", "{{outcome}}"),),
        "reqps", "stacked",
    ),
    Panel(
        "Requests by route", "An empty name is a model that there is none of.",
        (Query(f"sum by (route) (rate({_REQUESTS}[$__rate_interval]))", "{{route}}"),),
        "reqps", "stacked",
    ),
    Panel(
        "Duration", "Of answered requests; points are exemplars: they lead to traces.",
        (
            Query(_quantile(0.5, "le"), "half", exemplars=True),
            Query(_quantile(0.95, "le"), "95 of 100", exemplars=True),
            Query(_quantile(0.99, "le"), "99 of 100", exemplars=True),
        ), "s",
    ),
    Panel(
        "99th percentile by route", "Duration of answered requests.",
        (Query(_quantile(0.99, "le, route"), "{{route}}"),), "s",
    ),
    Panel(
        "HTTP by status", "All paths, health and administration included.",
        (Query(
            "sum by (http_response_status_code) "
            '(rate(http_server_request_duration_seconds_count{job=~"$job"}[$__rate_interval]))',
            "{{http_response_status_code}}",
        ),), "reqps", "stacked",
    ),
    Panel(
        "Input tokens", "Of answered requests: computed, or saved by the cache and by sharing.",
        (Query(
            "sum by (source) "
            '(rate(embedway_tokens_total{job=~"$job", route=~"$route"}[$__rate_interval]))',
            "{{source}}",
        ),), "short", "stacked",
    ),
)  # fmt: skip
_OBJECTIVE = (
    Panel(
        "Burn rate", "How many times faster than allowed (0.1 % in 30 days) errors come.",
        tuple(
            Query(f"max(embedway:errors:ratio_rate{window}{_SELECTED}) / 0.001", window)
            for window in ("5m", "30m", "1h", "6h", "3d")
        ), "short",
    ),
    Panel(
        "Failing by route", "Over five minutes.",
        (Query(f"embedway:errors:ratio_rate5m{_SELECTED}", "{{route}}"),), "percentunit",
    ),
)  # fmt: skip
_ROUTER = (
    Panel(
        "Processes", "CPU cores in use, and worker processes.",
        (
            Query(
                'sum by (instance) (rate(process_cpu_time_seconds_total{job=~"$job"}'
                "[$__rate_interval]))", "cores {{instance}}",
            ),
            Query('sum by (instance) (embedway_workers{job=~"$job"})', "workers {{instance}}"),
        ), "short", "lines", 8,
    ),
    Panel(
        "Memory", "Physical memory of all workers.",
        (Query('process_memory_usage_bytes{job=~"$job"}', "{{instance}}"),), "bytes", "lines", 8,
    ),
    Panel(
        "Event loop", "How late it was at worst; above 0.1 s everybody waits.",
        (Query('embedway_event_loop_lag_seconds{job=~"$job"}', "{{instance}}"),), "s", "lines", 8,
    ),
    Panel(
        "Configuration", "Generation of each router; they should be one line.",
        (Query('embedway_configuration_generation{job=~"$job"}', "{{instance}}"),),
        "none", "lines", 8,
    ),
    Panel(
        "Spool", "Usage records that the ledger does not have yet.",
        (Query('embedway_spool_depth{job=~"$job"}', "{{instance}}"),), "short", "lines", 8,
    ),
    Panel(
        "Store", "1 where the store answers.",
        (Query('min by (part) (embedway_store_reachable{job=~"$job"})', "{{part}}"),),
        "bool_yes_no", "lines", 8,
    ),
    Panel(
        "Telemetry given up", "Exports, spans and series; any is too many.",
        (Query(
            "sum by (signal) "
            '(rate(embedway_telemetry_dropped_total{job=~"$job"}[$__rate_interval]))',
            "{{signal}}",
        ),), "short",
    ),
    Panel(
        "Versions", "What is in service: builds, and configurations by hash.",
        (
            Query('count by (version) (embedway_build_info{job=~"$job"})', "{{version}}"),
            Query('count by (hash) (embedway_configuration_info{job=~"$job"})', "{{hash}}"),
        ),
    ),
    Panel(
        "Ends in", "The next key to expire.",
        (Query('min(embedway_key_expiry_seconds{job=~"$job"})', "key"),), "s",
    ),
    Panel(
        "Certificates end in", "Those that the router is told to watch.",
        (Query('min by (file) (embedway_certificate_expiry_seconds{job=~"$job"})', "{{file}}"),),
        "s",
    ),
)  # fmt: skip

OVERVIEW = Board(
    "embedway-overview",
    "Embedway / Overview and objective",
    "Requests, errors and durations of the router, and what is left of the error budget.",
    (
        ("job", "label_values(embedway_workers, job)"),
        ("route", "label_values(embedway_route_targets, route)"),
    ),
    (
        ("Now", _NOW),
        ("Traffic", _TRAFFIC),
        ("Objective: 99.9 % of requests", _OBJECTIVE),
        ("Router", _ROUTER),
    ),
)
