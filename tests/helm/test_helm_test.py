"""What `helm test` runs, run here: against a real router, and against ones that break promises."""

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import charts
from tests.support.router_under_test import RouterUnderTest
from tests.support.settings import KEY

Answer = Callable[[list[str]], tuple[int, dict[str, Any]]]
UNIT = {0: [1.0, 0.0], 1: [0.0, 1.0], 2: [0.6, 0.8]}


def run(url: str, model: str, tmp_path: Path, key: str = KEY, timeout_s: float = 0) -> Any:
    """The script out of the rendered ConfigMap, with the pod's variables and nothing installed."""
    script = tmp_path / "embed.py"
    rendered = charts.rendered("default")
    script.write_text(rendered.get("ConfigMap", "test")["data"]["embed.py"], encoding="utf-8")
    [pod] = rendered.of("Pod")
    names = [one["name"] for one in pod["spec"]["containers"][0]["env"]]
    values = dict(zip(names, (url, model, str(timeout_s), key), strict=True))
    return subprocess.run(
        [sys.executable, "-I", "-S", script],
        env=values, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """An endpoint that answers as it is told; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, reply = answer(body["input"])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_port}"
        finally:
            httpd.shutdown()
            thread.join()


def data(vectors: list[list[float]]) -> dict[str, Any]:
    return {"data": [{"index": i, "embedding": v} for i, v in enumerate(vectors)]}


def known() -> Callable[[list[str]], list[list[float]]]:
    """Vectors of texts by the order in which they were first seen."""
    seen: dict[str, int] = {}
    return lambda texts: [UNIT[seen.setdefault(text, len(seen))] for text in texts]


def test_it_passes_on_a_real_router(router: RouterUnderTest, tmp_path: Path) -> None:
    """Three texts give three vectors through a router, and the pod ends well."""
    done = run(router.url, "plain", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 texts gave 3 vectors of 384 dimensions\n"


def test_it_passes_on_a_real_model(triton_router: RouterUnderTest, tmp_path: Path) -> None:
    """The demonstration's model on a real Triton answers the same alone and in company."""
    done = run(triton_router.url, "minilm", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 texts gave 3 vectors of 384 dimensions" in done.stdout


def test_it_fails_with_a_wrong_key(router: RouterUnderTest, tmp_path: Path) -> None:
    """A key that the router does not know fails at once, with the router's answer."""
    done = run(router.url, "plain", tmp_path, key="ew-not-a-key-of-anyone")
    assert done.returncode == 1
    assert "answer 401" in done.stderr


def test_it_waits_for_a_router_no_longer_than_told(tmp_path: Path) -> None:
    """Where nobody answers it says so when time is over."""
    done = run("http://127.0.0.1:9", "plain", tmp_path)
    assert done.returncode == 1
    assert "not up in time" in done.stderr


NOT_YET: dict[str, tuple[int, dict[str, Any]]] = {
    "a model loads": (503, {}),
    "routers have no such route yet": (404, {"error": {"code": "model_not_found"}}),
}


@pytest.mark.parametrize("first", NOT_YET.values(), ids=NOT_YET)
def test_it_waits_while(first: tuple[int, dict[str, Any]], tmp_path: Path) -> None:
    """What comes true by itself is no failure: it asks again until the model is there."""
    vectors, asked = known(), []

    def answer(texts: list[str]) -> tuple[int, dict[str, Any]]:
        asked.append(texts)
        return first if len(asked) == 1 else (200, data(vectors(texts)))

    with server(answer) as url:
        done = run(url, "m", tmp_path, timeout_s=30)
    assert done.returncode == 0, done.stderr
    assert f"waiting: answer {first[0]}" in done.stdout


def test_it_waits_for_a_route_no_longer_than_told(router: RouterUnderTest, tmp_path: Path) -> None:
    """A route that a real router never gets is told of when time is over, with its answer."""
    done = run(router.url, "no-such-route", tmp_path)
    assert done.returncode == 1
    assert "not up in time: answer 404" in done.stderr
    assert "no-such-route" in done.stderr


def swapped(vectors: Callable[[list[str]], list[list[float]]]) -> Answer:
    return lambda texts: (200, data(list(reversed(vectors(texts)))))


BROKEN: dict[str, tuple[Answer, str]] = {
    "one too few": (
        lambda texts: (200, data([[1.0, 0.0]] * max(1, len(texts) - 1))),
        "another order",
    ),
    "swapped": (swapped(known()), "differ"),
    "not of unit length": (lambda texts: (200, data([[2.0, 0.0]] * len(texts))), "length"),
    "not a number": (lambda texts: (200, data([[float("nan"), 0.0]] * len(texts))), "length"),
    "no such path": (
        lambda _: (404, {"error": {"code": "not_found"}}),
        "failed: answer 404: ",
    ),
    "refused": (lambda _: (400, {"error": "no such model"}), "failed: answer 400: "),
}


@pytest.mark.parametrize(("answer", "reason"), BROKEN.values(), ids=BROKEN)
def test_it_fails_where_a_promise_is_broken(answer: Answer, reason: str, tmp_path: Path) -> None:
    """A router that breaks N in, N out, order or unit length fails the test, with a reason."""
    with server(answer) as url:
        done = run(url, "m", tmp_path)
    assert done.returncode == 1
    assert reason in done.stderr
