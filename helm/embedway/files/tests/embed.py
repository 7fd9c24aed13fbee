"""What `helm test` runs: real embeddings through the router, held against its promises.

N inputs give N vectors, in order, finite, of unit length; a text alone gives the vector that it
has in company. Ends with 0, or with 1 and one sentence. Waits for a model that is still loading,
and for a route that no router has been told of yet.
"""

import http.client
import json
import math
import os
import sys
import time
import urllib.parse

TEXTS = ["Tokyo is the capital of Japan.", "Bananas are rich in potassium.", "東京是日本的首都。"]
# Bfloat16 rounds a text alone and in company differently.
LEAST_COSINE = 0.99
BETWEEN_TRIES_S = 2.0


class NotYetError(Exception):
    """The router or its model is not up yet."""


def main() -> int:
    """Embed until it succeeds or time is over."""
    deadline_s = time.monotonic() + float(os.environ["EMBEDWAY_TIMEOUT_S"])
    while True:
        try:
            check()
        except NotYetError as reason:
            if time.monotonic() > deadline_s:
                return failed(f"not up in time: {reason}")
            print(f"waiting: {reason}", flush=True)
            time.sleep(BETWEEN_TRIES_S)
        except ValueError as reason:
            return failed(str(reason))
        else:
            return 0


def check() -> None:
    """One call with all texts and one for each; ValueError says what is wrong."""
    together = embed(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        if not abs(length(vector) - 1) <= 1e-3:
            raise ValueError(f"a vector has the length {length(vector):.4f} instead of one")
        alone = embed([text])[0]
        if len(alone) != len(vector):
            raise ValueError("vectors differ in their dimension")
        cosine = sum(left * right for left, right in zip(alone, vector, strict=True))
        if not cosine >= LEAST_COSINE:
            raise ValueError(f"a text alone and in company differ (cosine {cosine:.4f})")
    print(f"{len(TEXTS)} texts gave {len(together)} vectors of {len(together[0])} dimensions")


def embed(texts: list[str]) -> list[list[float]]:
    """Vectors of the texts, in order."""
    address = urllib.parse.urlsplit(os.environ["EMBEDWAY_URL"])
    body = {"model": os.environ["EMBEDWAY_MODEL"], "input": texts, "cache": False}
    headers = {
        "authorization": "Bearer " + os.environ["EMBEDWAY_API_KEY"],
        "content-type": "application/json",
    }
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    try:
        connection.request("POST", "/v1/embeddings", json.dumps(body), headers)
        response = connection.getresponse()
        answer = response.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise NotYetError(f"no answer ({type(error).__name__})") from error
    finally:
        connection.close()
    if response.status in (429, 502, 503, 504):
        raise NotYetError(f"answer {response.status}")
    if response.status != 200:
        is_early = response.status == 404 and code_of(answer) == "model_not_found"
        raise (NotYetError if is_early else ValueError)(f"answer {response.status}: {answer[:500]}")
    items = json.loads(answer)["data"]
    if [item["index"] for item in items] != list(range(len(texts))):
        raise ValueError(f"{len(texts)} texts gave {len(items)} vectors, or in another order")
    return [item["embedding"] for item in items]


def code_of(answer: str) -> object:
    """The code of an error's body, None where it has none.

    A route is `model_not_found` at first: routers get it only once one of them has found its target
    in the space, and by the kubelet's next look at their configuration, up to a minute later.
    """
    try:
        return json.loads(answer)["error"]["code"]
    except (ValueError, LookupError, TypeError):
        return None


def length(vector: list[float]) -> float:
    """Euclidean."""
    return math.sqrt(math.fsum(number * number for number in vector))


def failed(reason: str) -> int:
    """Say why, for people who read the pod's log."""
    print(f"failed: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
