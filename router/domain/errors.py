"""The one tree of errors. `api/problems.py` alone turns them into HTTP and gRPC codes.

EmbedwayError
├── ConfigurationError            the configuration, or the machine, does not allow a start
├── RequestError                  the caller's request is at fault: as a rule it has to be changed
│   ├── AuthenticationError
│   ├── ScopeError
│   ├── UnknownModelError
│   ├── UnknownRecordError
│   ├── RecordExistsError
│   ├── DeclaredInFileError
│   ├── InvalidInputError
│   │   ├── TooManyInputsError
│   │   └── TextTooLongError
│   ├── DimensionError
│   ├── SpaceMismatchError
│   ├── BodyTooLargeError
│   └── RequestTimeoutError       it did not arrive; nothing of ours was slow
├── DeadlineExceededError         the time that the request was given is over
├── OverloadedError               no room now; the same request may succeed later
├── QuotaError                    a quota does not allow the request
│   ├── BudgetExhaustedError      a sum is used up; waiting does not help before it starts anew
│   ├── RateLimitedError          a rate is used up; it recovers by itself
│   └── PriceUnknownError         a budget applies, and a target that may be called has no price
├── KeysUnavailableError          nobody can say now whether a key is good; never "it is wrong"
├── StoreUnavailableError         the database is needed now and cannot be reached
├── CacheUnavailableError         the cache that routers share; no caller ever hears of it
└── UpstreamError                 a target failed
    ├── UpstreamUnavailableError  it cannot be reached, is starting, or is going away
    ├── UpstreamOverloadedError   it has no room now
    ├── UpstreamRejectedError     it refused what the router had checked; another try is no help
    └── UpstreamContractError     it answered, but not with the vectors that were asked for
        └── UpstreamSpaceError    its vectors are not of the space that it is said to serve

Messages may be shown to callers, so they never hold input text, keys or addresses.
"""

from typing import ClassVar


class EmbedwayError(Exception):
    """Root of the tree. `code` is stable and documented; `retryable` says if a retry may help."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False


class ConfigurationError(EmbedwayError):
    """A setting, a file or the machine stands in the way of a start."""

    code = "configuration_error"


class RequestError(EmbedwayError):
    """The caller's request is at fault; `param` names the field, if one is."""

    code = "invalid_request"

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class AuthenticationError(RequestError):
    """No key, or one that nobody was given."""

    code = "invalid_api_key"


class ScopeError(RequestError):
    """The key is good, but not for what was asked."""

    code = "insufficient_scope"


class UnknownRecordError(RequestError):
    """There is no tenant, key or quota of that name."""

    code = "record_not_found"


class RecordExistsError(RequestError):
    """The name is taken."""

    code = "already_exists"


class DeclaredInFileError(RequestError):
    """The configuration file declares it, so only the file can change it."""

    code = "declared_in_file"


class UnknownModelError(RequestError):
    """No route has the name that was asked for."""

    code = "model_not_found"


class InvalidInputError(RequestError):
    """A field is missing, malformed or contradicts another."""

    code = "invalid_input"


class TooManyInputsError(InvalidInputError):
    """More inputs in one request than are allowed."""

    code = "too_many_inputs"


class TextTooLongError(InvalidInputError):
    """An input has more tokens than its model takes."""

    code = "context_length_exceeded"


class DimensionError(RequestError):
    """The space cannot give the dimension that was asked for."""

    code = "invalid_dimensions"


class SpaceMismatchError(RequestError):
    """The caller pinned a space, and the route belongs to another."""

    code = "space_mismatch"


class BodyTooLargeError(RequestError):
    """The request body is larger than the router reads."""

    code = "body_too_large"


class RequestTimeoutError(RequestError):
    """The request's body did not come in the time that a request is given."""

    code = "request_timeout"
    retryable = True


class DeadlineExceededError(EmbedwayError):
    """The answer was not there when the request's time was over."""

    code = "deadline_exceeded"
    retryable = True


class OverloadedError(EmbedwayError):
    """The router has no room; `retry_after_s` (seconds) is when to ask again."""

    code = "overloaded"
    retryable = True

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QuotaError(EmbedwayError):
    """A quota stands in the way. `quota` is its id; amounts are in its `unit` (usd: nano-USD).

    `reset_s` (seconds since the Unix epoch) is when it starts anew, None for never;
    `retry_after_s` is how long that is from now.
    """

    code = "quota_exceeded"

    def __init__(
        self,
        message: str,
        *,
        quota: str = "",
        unit: str = "",
        limit: int = 0,
        used: int = 0,
        reset_s: int | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.quota = quota
        self.unit = unit
        self.limit = limit
        self.used = used
        self.reset_s = reset_s
        self.retry_after_s = retry_after_s


class BudgetExhaustedError(QuotaError):
    """A budget does not cover what the request may cost."""

    code = "budget_exhausted"


class RateLimitedError(QuotaError):
    """A rate limit leaves no room for the request in this window."""

    code = "rate_limit_exceeded"
    retryable = True


class PriceUnknownError(QuotaError):
    """A budget applies, and what the request may cost cannot be known."""

    code = "price_unknown"


class KeysUnavailableError(EmbedwayError):
    """What knows the key cannot be asked; `retry_after_s` (seconds) is when to ask again."""

    code = "keys_unavailable"
    retryable = True

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreUnavailableError(EmbedwayError):
    """The database is needed and cannot be reached; `retry_after_s` (seconds) is when to retry."""

    code = "store_unavailable"
    retryable = True

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CacheUnavailableError(EmbedwayError):
    """The cache that routers share cannot be asked. Requests go on without it."""

    code = "cache_unavailable"
    retryable = True


class UpstreamError(EmbedwayError):
    """A target failed; `retry_after_s` (seconds) is when to ask again.

    `position` is the one input that it fails on, where that was found out.
    """

    code = "upstream_error"
    retryable = True

    def __init__(self, message: str, retry_after_s: int = 1, position: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.position = position

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.position is None else f"{message} (input {self.position})"


class UpstreamUnavailableError(UpstreamError):
    """The target cannot be reached, is starting, or is going away."""

    code = "upstream_unavailable"


class UpstreamOverloadedError(UpstreamError):
    """The target's queue is full, or the request waited in it too long."""

    code = "upstream_overloaded"


class UpstreamRejectedError(UpstreamError):
    """The target refused the request as malformed, though the router had checked it."""

    code = "upstream_rejected"
    retryable = False


class UpstreamContractError(UpstreamError):
    """The target's answer breaks "N in, N out, finite, unit length, right dimension"."""

    code = "upstream_contract"


class UpstreamSpaceError(UpstreamContractError):
    """The target's vector of a known text is not the one of its space: another model answers."""

    code = "upstream_space"
