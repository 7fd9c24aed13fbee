"""What every operation of `/openapi.json` is put together from."""

from typing import Any

Schema = dict[str, Any]

ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
_REASONS = {
    400: "The request is at fault; the message says where.",
    401: "No key, or not one of ours.",
    402: "A budget does not cover the request; the message says which.",
    403: "The key has not the scope for this.",
    404: "No such model, tenant or key.",
    408: "The request's body did not come in time.",
    409: "The model answers in another space than is asked for, or the name is taken.",
    413: "The body is larger than the router reads.",
    429: "No room now; see Retry-After.",
    502: "The target broke its contract.",
    503: "No target is ready, or the key cannot be looked up; see Retry-After.",
    504: "The deadline has passed.",
}


def operation(
    summary: str,
    answer: Schema,
    problems: tuple[int, ...],
    *,
    body: Schema | None = None,
    parameters: list[Schema] | None = None,
    error: Schema = ERROR,
    open_to_all: bool = False,
    status: int = 200,
) -> Schema:
    """One operation; `problems` are the statuses of its errors, `status` that of its answer."""
    described: Schema = {
        "summary": summary,
        "security": [] if open_to_all else [{"key": []}],
        "responses": {
            str(status): _response("The answer.", answer),
            **{str(problem): _response(_REASONS[problem], error) for problem in problems},
        },
    }
    if body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
    if parameters:
        described["parameters"] = parameters
    return described


def _response(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
