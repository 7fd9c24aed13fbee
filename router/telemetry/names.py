"""Every name that the router gives to what it tells, in one place.

Those of OpenTelemetry are pinned by a test against its package of semantic conventions, which the
router itself does not need. GenAI's are still in development: `Names` is switchable, so that a
change of theirs need not break anybody's dashboards.
Source: OpenTelemetry semantic conventions, GenAI, HTTP, RPC and resources.
"""

from dataclasses import dataclass
from typing import Literal

# Which edition of the GenAI conventions spans follow: "1.36" is the last one with `gen_ai.system`.
Conventions = Literal["latest", "1.36"]

SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE_ID = "service.instance.id"

HTTP_REQUEST_METHOD = "http.request.method"
HTTP_RESPONSE_STATUS_CODE = "http.response.status_code"
HTTP_ROUTE = "http.route"
URL_PATH = "url.path"
URL_SCHEME = "url.scheme"
RPC_SYSTEM_NAME = "rpc.system.name"
RPC_METHOD = "rpc.method"
RPC_RESPONSE_STATUS_CODE = "rpc.response.status_code"
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"

GEN_AI_OPERATION_NAME = "gen_ai.operation.name"
GEN_AI_REQUEST_MODEL = "gen_ai.request.model"
GEN_AI_REQUEST_ENCODING_FORMATS = "gen_ai.request.encoding_formats"
GEN_AI_RESPONSE_MODEL = "gen_ai.response.model"
GEN_AI_USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens"
# The one operation of this router, as `gen_ai.operation.name` calls it.
EMBEDDINGS = "embeddings"
OTHER_METHOD = "_OTHER"

# Our own. What a phase of a request notes is called `embedway.PHASE.FACT`.
OWN = "embedway."
REQUEST_ID = "embedway.request.id"
TENANT = "embedway.tenant"
KEY = "embedway.key"
ROUTE = "embedway.route"
SPACE = "embedway.space"
TARGET = "embedway.target"
INPUTS = "embedway.inputs"
CACHED_TOKENS = "embedway.cached_tokens"
COST = "embedway.cost_nano_usd"
OUTCOME = "embedway.outcome"
KEPT = "embedway.trace.kept"
ATTEMPTS = "embedway.attempts"
ATTEMPT_REASON = "embedway.attempt.reason"
BATCH_REQUESTS = "embedway.batch.requests"


@dataclass(frozen=True, slots=True)
class Names:
    """Names that differ between editions of the conventions; None where one has no such name."""

    provider: str
    dimensions: str | None


_EDITIONS: dict[Conventions, Names] = {
    "latest": Names("gen_ai.provider.name", "gen_ai.embeddings.dimension.count"),
    "1.36": Names("gen_ai.system", None),
}


def names_of(conventions: Conventions) -> Names:
    """The names of an edition."""
    return _EDITIONS[conventions]
