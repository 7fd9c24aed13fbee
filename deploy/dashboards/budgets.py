"""Who spends what, how near to which limit, and who was refused."""

from deploy.dashboards.panels import Board, Panel, Query

_T = 'job=~"$job", tenant=~"$tenant"'
_QUOTA = "scope, subject, unit, window, mode"
_NAMED = "{{subject}} {{unit}} a {{window}}"


def _by_tenant(metric: str) -> str:
    return f"sum by (tenant) (rate({metric}{{{_T}}}[$__rate_interval]))"


_QUOTAS = (
    Panel(
        "Quotas", "Spent, limit and their quotient in the window that runs now.",
        (
            Query(f'max by ({_QUOTA}) (embedway_quota_spent{{job=~"$job"}})', "spent"),
            Query(f'max by ({_QUOTA}) (embedway_quota_limit{{job=~"$job"}})', "limit"),
            Query(f'max by ({_QUOTA}) (embedway_quota_used_ratio{{job=~"$job"}})', "used"),
        ), "short", "table", 24,
    ),
    Panel(
        "Used", "By the ledger; at 100 % hard quotas refuse.",
        (Query(f'max by ({_QUOTA}) (embedway_quota_used_ratio{{job=~"$job"}})', _NAMED),),
        "percentunit",
    ),
    Panel(
        "Refused", "Requests that a quota refused, by its unit and window.",
        (Query(
            "sum by (subject, unit, window, reason) "
            '(rate(embedway_quota_refusals_total{job=~"$job"}[$__rate_interval]))',
            "{{subject}} {{unit}} a {{window}}: {{reason}}",
        ),), "reqps", "stacked",
    ),
)  # fmt: skip
_SPENDING = (
    Panel(
        "USD an hour by tenant", "At this rate.",
        (Query(_by_tenant("embedway_tenant_cost_usd_total") + " * 3600", "{{tenant}}"),),
        "currencyUSD", "stacked",
    ),
    Panel(
        "USD an hour by target", "Every call that gave vectors, at the target's price.",
        (Query(
            "sum by (target) "
            '(rate(embedway_target_cost_usd_total{job=~"$job"}[$__rate_interval])) * 3600',
            "{{target}}",
        ),), "currencyUSD", "stacked",
    ),
    Panel(
        "Tokens a second by tenant", "Input tokens of answered requests.",
        (Query(_by_tenant("embedway_tenant_tokens_total"), "{{tenant}}"),), "short", "stacked",
    ),
    Panel(
        "Requests by tenant and end", "ok, or the code of the error.",
        (Query(
            "sum by (tenant, outcome) "
            f"(rate(embedway_tenant_requests_total{{{_T}}}[$__rate_interval]))",
            "{{tenant}} {{outcome}}",
        ),), "reqps", "stacked",
    ),
)  # fmt: skip
_BOOKS = (
    Panel(
        "Leases", "Asks by their end, transactions, and leases given back.",
        (
            Query(
                "sum by (outcome) "
                '(rate(embedway_leases_asks_total{job=~"$job"}[$__rate_interval]))',
                "{{outcome}}",
            ),
            Query(
                'sum(rate(embedway_leases_transactions_total{job=~"$job"}[$__rate_interval]))',
                "transactions",
            ),
            Query(
                'sum(rate(embedway_leases_returns_total{job=~"$job"}[$__rate_interval]))',
                "given back",
            ),
        ), "ops", "lines", 8,
    ),
    Panel(
        "Leases held", "Quotas of which a process holds a slice.",
        (Query('sum by (instance) (embedway_leases_held{job=~"$job"})', "{{instance}}"),),
        "short", "lines", 8,
    ),
    Panel(
        "Behind", "Bytes of spools that the ledger has not seen.",
        (Query('embedway_spool_size_bytes{job=~"$job"}', "{{instance}}"),), "bytes", "lines", 8,
    ),
)  # fmt: skip

BUDGETS = Board(
    "embedway-budgets",
    "Embedway / Budgets and cost",
    "Spending by tenant and target, quotas and refusals, and the books behind them.",
    (
        ("job", "label_values(embedway_workers, job)"),
        ("tenant", "label_values(embedway_tenant_tokens_total, tenant)"),
    ),
    (("Quotas", _QUOTAS), ("Spending", _SPENDING), ("Books", _BOOKS)),
)
