"""The backend's errors.

BackendError
├── BadRequestError        the caller's: answered INVALID_ARG, never worth a retry
├── EngineError            ours: answered INTERNAL, a retry elsewhere may help
├── NotReadyError          ours: answered UNAVAILABLE while a canary is wrong
├── RequestCancelledError  the caller left: answered CANCELLED
└── ModelLoadError         the operator's: one sentence, shown by Triton as the load error

No message ever holds input text or token ids, only counts and limits.
"""


class BackendError(Exception):
    """Any failure that this backend explains."""


class BadRequestError(BackendError):
    """The request cannot be served by this model, whoever serves it."""


class EngineError(BackendError):
    """The model failed on a micro-batch that was valid."""


class NotReadyError(BackendError):
    """The model answers its canaries wrongly, so it answers nobody else."""


class RequestCancelledError(BackendError):
    """The caller no longer waits for the answer."""


class ModelLoadError(BackendError):
    """The model cannot be served: its folder, its weights or its settings are not usable."""
