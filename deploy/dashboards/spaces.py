"""Whether every target still answers in its space, and what memory saves."""

from deploy.dashboards.panels import Board, Panel, Query

_S = 'job=~"$job", space=~"$space"'

_AGREEMENT = (
    Panel(
        "Cosine with the reference", "Worst of the golden texts, at the last check.",
        (Query(
            f"min by (space, target) (embedway_space_agreement_cosine{{{_S}}})",
            "{{space}} {{target}}",
        ),), "none",
    ),
    Panel(
        "Agreement of rankings", "Spearman's, over all pairs of golden texts.",
        (Query(
            f"min by (space, target) (embedway_space_agreement_rank{{{_S}}})",
            "{{space}} {{target}}",
        ),), "none",
    ),
    Panel(
        "Drift", "How far the worst cosine has moved within a day.",
        (Query(
            f"max by (space, target) (max_over_time(embedway_space_agreement_cosine{{{_S}}}[1d])"
            f" - embedway_space_agreement_cosine{{{_S}}})", "{{space}} {{target}}",
        ),), "none",
    ),
    Panel(
        "Standing", "Share of workers by what they think of the target.",
        (Query(
            f"max by (target, standing) (embedway_target_standing{{{_S}}})",
            "{{target}} {{standing}}",
        ),), "percentunit",
    ),
    Panel(
        "Quarantined", "Targets that answer in another space: they get no requests.",
        (Query(
            f'sum by (space) (embedway_target_standing{{{_S}, standing="quarantined"}})',
            "{{space}}",
        ),),
    ),
    Panel(
        "Ready", "Share of workers that take the target for ready.",
        (Query(
            f"min by (space, target) (embedway_target_ready{{{_S}}})", "{{space}} {{target}}"
        ),), "percentunit",
    ),
)  # fmt: skip
_MEMORY = (
    Panel(
        "Tokens saved", "Share of input tokens that no target had to compute.",
        (Query(
            'sum by (route) (rate(embedway_tokens_total{job=~"$job", source="saved"}'
            "[$__rate_interval])) / (sum by (route) "
            '(rate(embedway_tokens_total{job=~"$job"}[$__rate_interval])) > 0)', "{{route}}",
        ),), "percentunit",
    ),
    Panel(
        "Look-ups", "Inputs found in memory, or not.",
        (Query(
            "sum by (outcome) "
            '(rate(embedway_cache_lookups_total{job=~"$job"}[$__rate_interval]))', "{{outcome}}",
        ),), "ops", "stacked",
    ),
    Panel(
        "Size", "Bytes of remembered vectors.",
        (Query('sum by (instance) (embedway_cache_size_bytes{job=~"$job"})', "{{instance}}"),),
        "bytes",
    ),
    Panel(
        "Vectors", "Remembered.",
        (Query('sum by (instance) (embedway_cache_entries{job=~"$job"})', "{{instance}}"),),
    ),
)  # fmt: skip

SPACES = Board(
    "embedway-spaces",
    "Embedway / Spaces and drift",
    "Agreement of targets with their space, and the memory of vectors.",
    (
        ("job", "label_values(embedway_workers, job)"),
        ("space", "label_values(embedway_target_ready, space)"),
    ),
    (("Agreement", _AGREEMENT), ("Memory", _MEMORY)),
)
