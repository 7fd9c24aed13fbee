"""What can stand between `embedway up` and a running stack."""

from router.domain.errors import ConfigurationError


class UpError(ConfigurationError):
    """The machine, a download or the chosen model does not allow a start; one clear sentence."""

    code = "up_failed"


class TritonDiedError(UpError):
    """The server ended, or was ended, before it was ready."""

    code = "triton_died"
