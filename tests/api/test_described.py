"""The router against its own description: schemathesis asks all that /openapi.json allows."""

import re
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

from router.api.openapi import openapi_document
from tests.support.router_under_test import RouterUnderTest
from tests.support.wire import AUTHORIZATION, call

CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.unsupported_method,
    openapi_checks.ignored_auth,
    openapi_checks.missing_required_header,
]


schema = schemathesis.openapi.from_dict(openapi_document(["org/wide", "plain", "small"]))


def test_the_description_is_served(router: RouterUnderTest) -> None:
    """The router serves the very description that it is tested against, to everyone."""
    answer = call(router, "GET", "/openapi.json", headers={})
    assert (answer.status, answer.json) == (200, schema.raw_schema)


def test_the_page_for_people(router: RouterUnderTest) -> None:
    """The page names every path and every field, and loads nothing from elsewhere."""
    answer = call(router, "GET", "/docs", headers={})
    page = answer.body.decode()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    fields = schema.raw_schema["components"]["schemas"]["EmbeddingsBody"]["properties"]
    for name in [*schema.raw_schema["paths"], *fields]:
        assert f"<code>{name}</code>" in page
    assert not re.search(r"src=|https?://|@import|url\(", page)


@schema.parametrize()
@settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_the_router_is_as_described(case: Any, router: RouterUnderTest) -> None:
    """Whatever is sent, the answer has a described status, type and body, and never a 5xx."""
    # Capitalised, or the check that leaves the key out does not find it.
    headers = {name.title(): value for name, value in AUTHORIZATION.items()}
    case.call_and_validate(base_url=router.url, headers=headers, checks=CHECKS)
