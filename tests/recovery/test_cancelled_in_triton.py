"""A client that leaves ends the work that was done for it, down in Triton."""

import http.client
import json
import re
import socket
import time
from contextlib import closing
from dataclasses import dataclass

import grpc
import pytest
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.triton import MINILM_NAME, SharedTriton
from tests.support.wire import AUTHORIZATION, connect, embed, request_bytes

# About eleven seconds of work on two CPU cores, in micro-batches of a tenth of a second. Triton
# counts a cancelled request like any other, so it is its time that tells: well under a second, and
# some more where the machine stands still for a moment.
SEQUENCES, LENGTH = 900, 250
_HEAD_START_S = 0.5
_MOST_S = 6.0
# Between two looks that find the same: Triton counts a request a moment after its answer.
_QUIET_S = 0.5


@dataclass(frozen=True)
class Metrics:
    """What Triton itself counts for the demo model."""

    triton: SharedTriton

    def count(self, name: str, *labels: str) -> float:
        address = ("127.0.0.1", self.triton.process.ports.metrics)
        with closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        wanted = [f'model="{MINILM_NAME}"', *labels]
        found = [
            line
            for line in lines
            if line.startswith(f"{name}{{") and all(w in line for w in wanted)
        ]
        return sum(float(re.split(r"\s+", line)[-1]) for line in found)

    @property
    def requests(self) -> float:
        """Requests that it has finished, in whatever way."""
        return self.count("nv_inference_request_success") + self.count(
            "nv_inference_request_failure"
        )

    def settled(self) -> tuple[float, float]:
        """`requests` and `spent_s` once those of earlier tests are all counted."""
        before, now = None, (self.requests, self.spent_s)
        while now != before:
            time.sleep(_QUIET_S)
            before, now = now, (self.requests, self.spent_s)
        return now

    @property
    def spent_s(self) -> float:
        """Seconds that all requests together were inside."""
        return self.count("nv_inference_request_duration_us") / 1e6


@pytest.fixture
def metrics(triton: SharedTriton) -> Metrics:
    return Metrics(triton)


def _ids() -> list[list[int]]:
    # Three digits each, and no blanks in the body: it stays below what a router takes.
    return [[100 + number] * LENGTH for number in range(SEQUENCES)]


@pytest.mark.parametrize("model", ["minilm", "unpacked"])
def test_a_client_that_leaves(triton_router: RouterUnderTest, metrics: Metrics, model: str) -> None:
    """Triton lets the work go that nobody waits for, and soon has its hands free for others."""
    requests, spent_s = metrics.settled()
    target = "packed-target" if model == "minilm" else "unpacked-target"
    body = json.dumps({"model": model, "input": _ids()}, separators=(",", ":")).encode()
    with connect(triton_router) as connection:
        connection.sendall(request_bytes(body))
        eventually(lambda: triton_router.room(target)[0] == 1)
        time.sleep(_HEAD_START_S)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    eventually(lambda: triton_router.under_way == 0, _MOST_S)
    assert embed(triton_router, model=model, input="a").status == 200
    eventually(lambda: metrics.requests == requests + 2)
    assert metrics.settled()[1] - spent_s < _MOST_S


def test_a_grpc_call_that_is_cancelled(triton_router: RouterUnderTest, metrics: Metrics) -> None:
    """A call cancelled at the gRPC door is let go in Triton too."""
    requests, spent_s = metrics.settled()
    request = messages.ModelInferRequest(model_name="minilm")
    for name, values in (
        ("INPUT_IDS", [token for ids in _ids() for token in ids]),
        ("LENGTHS", [LENGTH] * SEQUENCES),
    ):
        item = request.inputs.add(name=name, datatype="INT32", shape=[1, len(values)])
        item.contents.int_contents.extend(values)
    with grpc.insecure_channel(triton_router.grpc_host) as channel:
        ask = GRPCInferenceServiceStub(channel).ModelInfer
        running = ask.future(request, metadata=list(AUTHORIZATION.items()))
        eventually(lambda: triton_router.room("packed-target")[0] == 1)
        time.sleep(_HEAD_START_S)
        running.cancel()
    eventually(lambda: metrics.requests == requests + 1)
    assert metrics.settled()[1] - spent_s < _MOST_S
    eventually(lambda: triton_router.room("packed-target") == (0, 0), _MOST_S)
