"""Names of metrics: those of the conventions are spelled as there, ours stay as they are."""

import re
from pathlib import Path

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics, process_metrics
from opentelemetry.semconv.attributes import error_attributes, http_attributes, url_attributes
from opentelemetry.semconv.metrics import http_metrics

from router.telemetry import metric_names as names
from router.telemetry.metric_names import CATALOGUE
from router.telemetry.metric_reference import FILE, metric_reference

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_names_of_the_conventions_are_theirs() -> None:
    """The published constants are what we send."""
    assert names.HTTP_DURATION.name == http_metrics.HTTP_SERVER_REQUEST_DURATION
    assert names.OPERATION_DURATION.name == gen_ai_metrics.GEN_AI_CLIENT_OPERATION_DURATION
    assert names.TOKEN_USAGE.name == gen_ai_metrics.GEN_AI_CLIENT_TOKEN_USAGE
    assert names.CPU_TIME.name == process_metrics.PROCESS_CPU_TIME
    assert names.MEMORY.name == process_metrics.PROCESS_MEMORY_USAGE


def test_labels_of_the_conventions_are_theirs() -> None:
    """So are the attributes; the dimension is none of them."""
    assert names.HTTP_DURATION.labels == (
        http_attributes.HTTP_REQUEST_METHOD,
        http_attributes.HTTP_ROUTE,
        http_attributes.HTTP_RESPONSE_STATUS_CODE,
        url_attributes.URL_SCHEME,
        error_attributes.ERROR_TYPE,
    )
    about = (gen_ai.GEN_AI_OPERATION_NAME, gen_ai.GEN_AI_PROVIDER_NAME, gen_ai.GEN_AI_REQUEST_MODEL)
    assert names.OPERATION_DURATION.labels == (*about, "target", error_attributes.ERROR_TYPE)
    assert names.TOKEN_USAGE.labels == (*about, "target", gen_ai.GEN_AI_TOKEN_TYPE)
    assert not any("dimension" in label for metric in CATALOGUE for label in metric.labels)


def test_buckets_are_those_of_the_conventions_and_finer_below() -> None:
    """0.005 … 10 s of HTTP; 0.01 · 2ⁿ up to 81.92 s and 4ⁿ up to 67108864 tokens of GenAI."""
    assert names.HTTP_DURATION.bounds[0] == 0.005
    assert names.HTTP_DURATION.bounds[-1] == 10.0
    doubled = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96]
    assert list(names.OPERATION_DURATION.bounds) == [0.001, 0.0025, 0.005, *doubled, 81.92]
    assert list(names.TOKEN_USAGE.bounds) == [4**n for n in range(14)]
    assert names.TOKEN_USAGE.bounds[-1] == 67108864


@pytest.mark.parametrize(
    "sample",
    [
        "embedway_predicted_wait_seconds",
        "embedway_configuration_generation",
        "embedway_configuration_info",
        "embedway_requests_total",
        "embedway_spool_depth",
        "http_server_request_duration_seconds",
        "gen_ai_client_operation_duration_seconds",
        "gen_ai_client_token_usage",
    ],
)
def test_names_that_others_rely_on_stay(sample: str) -> None:
    """Autoscalers, charts and alerts ask for these."""
    assert sample in {metric.sample for metric in CATALOGUE}


def test_no_two_metrics_share_a_name_and_all_are_valid() -> None:
    """Names hold what Prometheus allows, and every metric says what it means."""
    samples = [metric.sample for metric in CATALOGUE]
    assert len(samples) == len(set(samples))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]+", sample) for sample in samples)
    assert all(metric.meaning.endswith(".") for metric in CATALOGUE)


def test_the_reference_of_metrics_is_up_to_date() -> None:
    """The page is what the definitions give (`make format` writes it)."""
    assert (REFERENCE / FILE).read_text() == metric_reference()
