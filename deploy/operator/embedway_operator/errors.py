"""What may go wrong with the cluster; everything else is an EmbedwayError of the router's tree."""

from router.domain.errors import EmbedwayError


class ClusterError(EmbedwayError):
    """The API server refused a request, or could not be asked.

    `status` is its HTTP code, or 0; `sentence` its own words, where it had any.
    """

    code = "cluster_error"
    retryable = True

    def __init__(self, message: str, status: int = 0, sentence: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.sentence = sentence


class ConflictError(ClusterError):
    """Somebody else has written meanwhile: look again."""

    code = "cluster_conflict"


class NotLeadingError(ClusterError):
    """Another operator may lead by now, so nothing may be written."""

    code = "cluster_not_leading"
