"""The reference of metrics, written from their definitions.

`python -m router.telemetry.metric_reference FOLDER` writes metrics.md there.
"""

import sys
from pathlib import Path

from router.telemetry.metric import Metric, prometheus_name
from router.telemetry.metric_names import CATALOGUE

FILE = "metrics.md"
_INTRODUCTION = """\
# Metrics reference

Made from `router/telemetry/metric_names.py` by `make format`; a test fails when it is out of date.
`GET /metrics` on the router's HTTP port tells them to Prometheus, as text or, where it is asked
for, as OpenMetrics with exemplars; `telemetry.otlp.endpoint` has them sent by OTLP under the names
of OpenTelemetry. With several workers any of them tells what all have counted; of gauges the last
column says how one figure is made of theirs. Labels that are empty are left out.

| in queries | OpenTelemetry | kind | labels | meaning | workers |
|---|---|---|---|---|---|
"""


def metric_reference() -> str:
    """The page."""
    return _INTRODUCTION + "".join(f"{_row(metric)}\n" for metric in CATALOGUE)


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{prometheus_name(label)}`" for label in metric.labels)
    together: str = metric.merge if metric.kind == "gauge" else "sum"
    if metric.numerator is not None:
        together = "quotient of sums"
    return (
        f"| `{metric.sample}` | `{metric.name}` ({metric.unit or '1'}) | {metric.kind} "
        f"| {labels} | {metric.meaning} | {together} |"
    )


if __name__ == "__main__":
    (Path(sys.argv[1]) / FILE).write_text(metric_reference(), encoding="utf-8")
