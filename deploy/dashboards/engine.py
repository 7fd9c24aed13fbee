"""Triton: its queue against its work, batches, padding, tokens a second."""

from deploy.dashboards.panels import Board, Panel, Query

_T = 'job=~"$job", target=~"$target"'
_M = 'model=~"$model"'


def _each(metric: str) -> str:
    """Seconds of a request in a phase."""
    requests = f"sum by (model) (rate(nv_inference_request_success{{{_M}}}[$__rate_interval]))"
    spent = f"sum by (model) (rate({metric}{{{_M}}}[$__rate_interval]))"
    return f"{spent} / ({requests} > 0) / 1e6"


_DEMAND = (
    Panel(
        "Predicted wait", "Tokens in flight by measured tokens a second: what scaling should obey.",
        (Query(f"embedway_predicted_wait_seconds{{{_T}}}", "{{target}}"),), "s",
    ),
    Panel(
        "Tokens in flight", "Sent to the target and not yet answered.",
        (Query(f"sum by (target) (embedway_target_tokens_in_flight{{{_T}}})", "{{target}}"),),
    ),
    Panel(
        "Tokens a second", "Computed by each target.",
        (Query(
            f"sum by (target) (rate(embedway_target_tokens_total{{{_T}}}[$__rate_interval]))",
            "{{target}}",
        ),),
    ),
    Panel(
        "Seen at best", "Tokens a second while busy; the measure of predicted wait.",
        (Query(f"sum by (target) (embedway_target_tokens_per_second{{{_T}}})", "{{target}}"),),
    ),
)  # fmt: skip
_BATCHES = (
    Panel(
        "Requests a call", "Requests that the router joins into one call.",
        (Query(
            f"sum by (target) (rate(embedway_batch_requests_total{{{_T}}}[$__rate_interval])) / "
            f"(sum by (target) (rate(embedway_batch_calls_total{{{_T}}}[$__rate_interval])) > 0)",
            "{{target}}",
        ),), "short", "lines", 8,
    ),
    Panel(
        "Inferences an execution", "Triton's batches: what one execution of the model serves.",
        (Query(
            f"sum by (model) (rate(nv_inference_count{{{_M}}}[$__rate_interval])) / "
            f"(sum by (model) (rate(nv_inference_exec_count{{{_M}}}[$__rate_interval])) > 0)",
            "{{model}}",
        ),), "short", "lines", 8,
    ),
    Panel(
        "Padding", "Share of padded batches that is padding; packed targets have none.",
        (Query(
            f"1 - sum by (target) (rate(embedway_batch_tokens_total{{{_T}}}[$__rate_interval])) / "
            "(sum by (target) (rate(embedway_batch_padded_tokens_total"
            f"{{{_T}}}[$__rate_interval])) > 0)", "{{target}}",
        ),), "percentunit", "lines", 8,
    ),
)  # fmt: skip
_PHASES = (
    Panel(
        "Queue", "Of a request in Triton's queue.",
        (Query(_each("nv_inference_queue_duration_us"), "{{model}}"),), "s", "lines", 8,
    ),
    Panel(
        "Work", "Of a request in the model.",
        (Query(_each("nv_inference_compute_infer_duration_us"), "{{model}}"),), "s", "lines", 8,
    ),
    Panel(
        "Whole", "Of a request in Triton.",
        (Query(_each("nv_inference_request_duration_us"), "{{model}}"),), "s", "lines", 8,
    ),
    Panel(
        "Pending", "Requests that wait in Triton.",
        (Query(f"sum by (model) (nv_inference_pending_request_count{{{_M}}})", "{{model}}"),),
    ),
    Panel(
        "Failures", "By Triton's reason.",
        (Query(
            "sum by (model, reason) "
            f"(rate(nv_inference_request_failure{{{_M}}}[$__rate_interval]))",
            "{{model}} {{reason}}",
        ),), "reqps",
    ),
)  # fmt: skip
_MACHINE = (
    Panel(
        "CPU", "Of the machine that Triton runs on.",
        (Query("nv_cpu_utilization", "{{instance}}"),), "percentunit", "lines", 8,
    ),
    Panel(
        "GPU", "It is busy while healthy: scale by predicted wait instead.",
        (Query("nv_gpu_utilization", "{{gpu_uuid}}"),), "percentunit", "lines", 8,
    ),
    Panel(
        "GPU memory", "In use.",
        (Query("nv_gpu_memory_used_bytes", "{{gpu_uuid}}"),), "bytes", "lines", 8,
    ),
)  # fmt: skip

ENGINE = Board(
    "embedway-engine",
    "Embedway / Engine",
    "Triton and its models: demand, batches, and where a request's time goes.",
    (
        ("job", "label_values(embedway_workers, job)"),
        ("target", "label_values(embedway_target_ready, target)"),
        ("model", "label_values(nv_inference_count, model)"),
    ),
    (
        ("Demand", _DEMAND),
        ("Batches", _BATCHES),
        ("Where time goes", _PHASES),
        ("Machine", _MACHINE),
    ),
)
