"""The one place that knows HTTP and gRPC codes, and what callers may see of an error."""

import traceback
from dataclasses import asdict, dataclass

import grpc
import orjson

from router.api.metering import QuotaFacts, quota_facts
from router.domain import errors


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as callers see it. `kind` is OpenAI's `type`; `retry_after_s` in seconds."""

    status: int
    kind: str
    code: str
    message: str
    param: str | None
    grpc_status: grpc.StatusCode
    retry_after_s: int | None = None
    quota: QuotaFacts | None = None


_INVALID = "invalid_request_error"
_SERVER = "server_error"
_LIMIT = "rate_limit_error"
_QUOTA = "insufficient_quota"

# Found by the class itself or the nearest of its parents.
_TABLE: dict[type[errors.EmbedwayError], tuple[int, str, grpc.StatusCode]] = {
    errors.EmbedwayError: (500, _SERVER, grpc.StatusCode.INTERNAL),
    errors.RequestError: (400, _INVALID, grpc.StatusCode.INVALID_ARGUMENT),
    errors.AuthenticationError: (401, _INVALID, grpc.StatusCode.UNAUTHENTICATED),
    errors.ScopeError: (403, _INVALID, grpc.StatusCode.PERMISSION_DENIED),
    errors.UnknownModelError: (404, _INVALID, grpc.StatusCode.NOT_FOUND),
    errors.UnknownRecordError: (404, _INVALID, grpc.StatusCode.NOT_FOUND),
    errors.RecordExistsError: (409, _INVALID, grpc.StatusCode.ALREADY_EXISTS),
    errors.DeclaredInFileError: (409, _INVALID, grpc.StatusCode.FAILED_PRECONDITION),
    errors.SpaceMismatchError: (409, _INVALID, grpc.StatusCode.FAILED_PRECONDITION),
    errors.BodyTooLargeError: (413, _INVALID, grpc.StatusCode.RESOURCE_EXHAUSTED),
    errors.RequestTimeoutError: (408, _INVALID, grpc.StatusCode.DEADLINE_EXCEEDED),
    errors.DeadlineExceededError: (504, _SERVER, grpc.StatusCode.DEADLINE_EXCEEDED),
    errors.OverloadedError: (429, _LIMIT, grpc.StatusCode.RESOURCE_EXHAUSTED),
    errors.QuotaError: (402, _QUOTA, grpc.StatusCode.RESOURCE_EXHAUSTED),
    errors.RateLimitedError: (429, _LIMIT, grpc.StatusCode.RESOURCE_EXHAUSTED),
    errors.PriceUnknownError: (402, _QUOTA, grpc.StatusCode.FAILED_PRECONDITION),
    errors.KeysUnavailableError: (503, _SERVER, grpc.StatusCode.UNAVAILABLE),
    errors.StoreUnavailableError: (503, _SERVER, grpc.StatusCode.UNAVAILABLE),
    errors.CacheUnavailableError: (503, _SERVER, grpc.StatusCode.UNAVAILABLE),
    errors.UpstreamError: (502, _SERVER, grpc.StatusCode.INTERNAL),
    errors.UpstreamUnavailableError: (503, _SERVER, grpc.StatusCode.UNAVAILABLE),
    errors.UpstreamOverloadedError: (429, _LIMIT, grpc.StatusCode.RESOURCE_EXHAUSTED),
}


def problem_of(error: BaseException) -> Problem:
    """The problem that an error is; whatever is not of our tree says nothing but "internal"."""
    if not isinstance(error, errors.EmbedwayError):
        error = errors.EmbedwayError("The server had an error while processing your request.")
    status, kind, grpc_status = next(_TABLE[step] for step in type(error).__mro__ if step in _TABLE)
    retry_after_s = getattr(error, "retry_after_s", None) if status in (429, 503) else None
    return Problem(
        status=status,
        kind=kind,
        code=error.code,
        message=str(error),
        param=getattr(error, "param", None),
        grpc_status=grpc_status,
        retry_after_s=retry_after_s,
        quota=quota_facts(error) if isinstance(error, errors.QuotaError) else None,
    )


def openai_body(problem: Problem) -> bytes:
    """The error body of OpenAI's API."""
    error = {
        "message": problem.message,
        "type": problem.kind,
        "param": problem.param,
        "code": problem.code,
    }
    if problem.quota is not None:
        return orjson.dumps({"error": error | {"quota": asdict(problem.quota)}})
    return orjson.dumps({"error": error})


def kserve_body(problem: Problem) -> bytes:
    """The error body of the Open Inference Protocol."""
    return orjson.dumps({"error": problem.message})


def places_of(error: BaseException) -> str:
    """Where it happened, without the message: a message may hold what it failed on."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
