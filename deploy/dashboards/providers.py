"""Targets beside each other, and what happens when one of them fails."""

from deploy.dashboards.panels import Board, Panel, Query

_T = 'job=~"$job", target=~"$target"'
_CALLS = f"embedway_target_calls_total{{{_T}}}"


def _by_target(metric: str) -> str:
    return f"sum by (target) (rate({metric}[$__rate_interval]))"


def _quantile(quantile: float) -> str:
    buckets = f"gen_ai_client_operation_duration_seconds_bucket{{{_T}}}"
    by = f"sum by (le, target) (rate({buckets}[$__rate_interval]))"
    return f"histogram_quantile({quantile}, {by})"


_OK = f'embedway_target_calls_total{{{_T}, outcome="ok"}}'
_COMPARISON = (
    Panel(
        "Comparison",
        "Calls and tokens a second, share answered, durations, price, USD an hour, and what the "
        "target bills by what the router counts.",
        (
            Query(_by_target(_CALLS), "calls a second"),
            Query(f"{_by_target(_OK)} / ({_by_target(_CALLS)} > 0)", "answered"),
            Query(_quantile(0.5), "half"),
            Query(_quantile(0.99), "99 of 100"),
            Query(_by_target(f"embedway_target_tokens_total{{{_T}}}"), "tokens a second"),
            Query(f"max by (target) (embedway_target_price_usd{{{_T}}})", "USD a million tokens"),
            Query(_by_target(f"embedway_target_cost_usd_total{{{_T}}}") + " * 3600", "USD an hour"),
            Query(
                _by_target(f"embedway_target_billed_tokens_total{{{_T}}}")
                + " / ("
                + _by_target(f"embedway_target_counted_tokens_total{{{_T}}}")
                + " > 0)",
                "billed by counted",
            ),
        ),
        "short",
        "table",
        24,
    ),
)
_CALLED = (
    Panel(
        "Calls by end", "ok, cancelled (a hedge that lost, a caller that left), or the error.",
        (Query(
            f"sum by (target, outcome) (rate({_CALLS}[$__rate_interval]))",
            "{{target}} {{outcome}}",
        ),), "reqps", "stacked",
    ),
    Panel(
        "Half of calls", "Duration.", (Query(_quantile(0.5), "{{target}}", exemplars=True),), "s"
    ),
    Panel(
        "99 of 100 calls", "Duration.", (Query(_quantile(0.99), "{{target}}", exemplars=True),), "s"
    ),
    Panel(
        "Tokens a call", "Half of calls have no more.",
        (Query(
            "histogram_quantile(0.5, sum by (le, target) (rate("
            f"gen_ai_client_token_usage_bucket{{{_T}}}[$__rate_interval])))", "{{target}}",
        ),),
    ),
)  # fmt: skip
_FALLBACK = (
    Panel(
        "Fallback share", "Fallbacks by answered requests.",
        (Query('embedway:fallback:ratio_rate15m{job=~"$job"}', "{{route}}"),), "percentunit",
    ),
    Panel(
        "Further calls", "Fallbacks, retries, hedges and splits, by the error before them.",
        (Query(
            'sum by (kind, reason) (rate(embedway_reroutes_total{job=~"$job", target=~"$target"}'
            "[$__rate_interval]))", "{{kind}} {{reason}}",
        ),), "reqps", "stacked",
    ),
    Panel(
        "Away from", "Further calls by the target that failed before.",
        (Query(
            'sum by (target) (rate(embedway_reroutes_total{job=~"$job", target=~"$target"}'
            "[$__rate_interval]))", "{{target}}",
        ),), "reqps", "stacked",
    ),
    Panel(
        "Retry budget", "Calls that may be repeated at once.",
        (Query('min(embedway_retry_balance{job=~"$job"})', "calls"),),
    ),
)  # fmt: skip
_STATE = (
    Panel(
        "Breakers", "Share of workers whose breaker is open.",
        (Query(f"max by (target) (embedway_breaker_open{{{_T}}})", "{{target}}"),),
        "percentunit", "lines", 8,
    ),
    Panel(
        "Ready", "Share of workers that take the target for ready.",
        (Query(f"min by (target) (embedway_target_ready{{{_T}}})", "{{target}}"),),
        "percentunit", "lines", 8,
    ),
    Panel(
        "Left alone", "Seconds for which a target asked to be left alone.",
        (Query(f"max by (target) (embedway_target_resting_seconds{{{_T}}})", "{{target}}"),),
        "s", "lines", 8,
    ),
    Panel(
        "Targets that may be called", "Of each route, beside all that it has.",
        (
            Query(
                'min by (route) (embedway_route_targets_callable{job=~"$job"})', "{{route}}: may"
            ),
            Query('max by (route) (embedway_route_targets{job=~"$job"})', "{{route}}: all"),
        ), "short", "lines", 24,
    ),
)  # fmt: skip

PROVIDERS = Board(
    "embedway-providers",
    "Embedway / Providers and fallback",
    "Every target beside the others: speed, errors, price; and where requests went instead.",
    (
        ("job", "label_values(embedway_workers, job)"),
        ("target", "label_values(embedway_target_ready, target)"),
    ),
    (
        ("Comparison", _COMPARISON),
        ("Calls", _CALLED),
        ("Fallback", _FALLBACK),
        ("State", _STATE),
    ),
)
