"""What each provider takes and how it answers and refuses, as its documentation says.

Written beside `config/providers.yaml` and not from it, so that a mistake there is found here.
"""

from dataclasses import dataclass, field
from typing import Any

OPENAI_FIELDS = frozenset({"model", "input"})
ALL_FIELDS = OPENAI_FIELDS | {"encoding_format", "dimensions", "user"}


@dataclass(frozen=True, slots=True)
class Manners:
    """One provider's ways. `error` shapes the body of a refusal."""

    fields: frozenset[str]
    max_inputs: int
    encodings: frozenset[str] = frozenset()
    has_usage: bool = True
    error: str = "openai"
    malformed_status: int = 400
    path: str = "/embeddings"
    required: dict[str, Any] = field(default_factory=dict)
    unit_length: bool = True
    limit_headers: dict[str, str] = field(default_factory=dict)
    allows_empty: bool = False


_BOTH = frozenset({"float", "base64"})
MANNERS = {
    "openai": Manners(
        ALL_FIELDS, 2048, _BOTH,
        limit_headers={
            "x-ratelimit-limit-requests": "3000", "x-ratelimit-remaining-requests": "2999",
            "x-ratelimit-reset-requests": "20ms", "x-ratelimit-limit-tokens": "1000000",
            "x-ratelimit-remaining-tokens": "999990", "x-ratelimit-reset-tokens": "6m0s",
        },
    ),
    "openai-ada-002": Manners(ALL_FIELDS - {"dimensions"}, 2048, _BOTH),
    "dashscope": Manners(ALL_FIELDS, 10, frozenset({"float"}), error="dashscope"),
    "qwen": Manners(ALL_FIELDS, 256, _BOTH),
    "fireworks": Manners(
        OPENAI_FIELDS | {"dimensions", "normalize"}, 256, error="openai", unit_length=False
    ),
    "together": Manners(
        OPENAI_FIELDS, 256, has_usage=False,
        limit_headers={
            "x-ratelimit-limit": "50", "x-ratelimit-remaining": "49", "x-ratelimit-reset": "1",
        },
    ),
    "deepinfra": Manners(ALL_FIELDS, 1024, _BOTH, error="detail", malformed_status=422),
    "siliconflow": Manners(ALL_FIELDS, 64, _BOTH, error="siliconflow"),
    "openrouter": Manners(
        ALL_FIELDS | {"input_type", "provider"}, 256, _BOTH,
        required={"provider": {"require_parameters": True}},
    ),
    "llm-api": Manners(ALL_FIELDS, 256, _BOTH),
    "cohere": Manners(
        frozenset(
            {"model", "texts", "input_type", "embedding_types", "truncate", "output_dimension"}
        ),
        96, error="message", path="/embed", required={"truncate": "NONE"},
    ),
    "voyage": Manners(
        frozenset(
            {"model", "input", "input_type", "truncation", "output_dimension", "output_dtype",
             "encoding_format"}
        ),
        128, frozenset({"base64"}), error="detail", required={"truncation": False},
    ),
}  # fmt: skip


def refusal(manners: Manners, message: str, code: str = "invalid_value") -> dict[str, Any]:
    """The body of an error in the provider's shape."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    shapes: dict[str, dict[str, Any]] = {
        "openai": {"error": error},
        "dashscope": {"error": error, "id": "id-1", "request_id": "request-1"},
        "detail": {"detail": [{"loc": ["body"], "msg": message, "type": code}]},
        "siliconflow": {"code": 20015, "message": message, "data": None},
        "message": {"message": message},
    }
    return shapes[manners.error]


def complaint(manners: Manners, body: dict[str, Any]) -> str | None:  # noqa: PLR0911 - one a rule
    """Why the provider would refuse the body, or None."""
    unknown = set(body) - manners.fields
    inputs = body.get("texts", body.get("input"))
    if unknown:
        return f"Extra inputs are not permitted: {sorted(unknown)}"
    if any(value is None for value in body.values()):
        return "none is not an allowed value"
    if not isinstance(inputs, list) or not inputs:
        return "input must be a list of strings"
    if len(inputs) > manners.max_inputs:
        return f"batch size is invalid, it should not be larger than {manners.max_inputs}"
    if not all(isinstance(text, str) and text for text in inputs):
        return "input cannot be an empty string"
    wanted = body.get("encoding_format")
    if wanted is not None and wanted not in manners.encodings:
        return f"encoding_format {wanted} is not supported"
    for name, value in manners.required.items():
        if body.get(name) != value:
            return f"{name} must be {value}"
    if manners.path == "/embed" and not body.get("input_type"):
        return "input_type is required"
    return None
