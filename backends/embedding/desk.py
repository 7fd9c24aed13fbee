"""Where Triton's requests become jobs and jobs become answers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import triton_python_backend_utils as pb_utils

from faults import BackendError, BadRequestError
from instance import Instance
from jobs import Job
from requests_codec import decode_ids, decode_texts
from triton_tensors import answer_of, array_of, refusal_of, warn_of_text


class Desk:
    """In front of one instance."""

    def __init__(self, instance: Instance) -> None:
        """Warn in the log where this server would misread TEXT."""
        self.instance = instance
        warn_of_text()

    def take(self, requests: Sequence[Any]) -> None:
        """Answer what can't be served at once, and hand the rest to the instance.

        Returns before the vectors are there: Triton then prepares the next batch, and what is
        short in it passes by a long document.
        """
        jobs = []
        for request in requests:
            sender = request.get_response_sender()
            try:
                self.instance.require_ready()
                jobs.append(self._job_of(request, sender))
            except BackendError as fault:
                _send(sender, refusal_of(fault))
        self.instance.submit(jobs)

    def _job_of(self, request: Any, sender: Any) -> Job:  # noqa: ANN401
        ids, lengths, texts = (array_of(request, name) for name in ("INPUT_IDS", "LENGTHS", "TEXT"))
        deliver = partial(self._deliver, sender)
        card = self.instance.card
        if texts is not None and ids is None and lengths is None:
            sequences = decode_texts(texts, card, self.instance.tokenise)
            return Job(sequences, texts.shape, sender.is_cancelled, deliver)
        if texts is None and ids is not None and lengths is not None:
            sequences = decode_ids(ids, lengths, card)
            return Job(sequences, lengths.shape, sender.is_cancelled, deliver)
        raise BadRequestError("give either INPUT_IDS and LENGTHS, or TEXT alone")

    def _deliver(self, sender: Any, job: Job) -> None:  # noqa: ANN401
        try:
            # Asked again: what was computed while a canary went wrong goes to nobody.
            self.instance.require_ready()
            answer = answer_of(job.vectors())
        except BackendError as fault:
            answer = refusal_of(fault)
        _send(sender, answer)


def _send(sender: Any, answer: Any) -> None:  # noqa: ANN401
    sender.send(answer, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
