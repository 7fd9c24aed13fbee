"""Measured equivalence with a real model: what agrees joins, what does not never serves."""

from pathlib import Path

import numpy as np
import yaml

from benchmarks.chaos.local_provider import API_KEY
from router.routing.targets import Standing
from tests.support.provider_thread import providers
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import triton_settings
from tests.support.triton import SharedTriton
from tests.support.wire import embed, vectors


def test_two_ways_to_one_model_agree_and_a_stranger_stays_out(
    minilm: Path, triton: SharedTriton
) -> None:
    """A provider with other vectors never serves the route that names it first; the model does."""
    settings = yaml.safe_load(triton_settings(minilm, triton.process.ports.grpc))
    settings["spaces"]["minilm-space"]["verification"] = {"reference": "packed-target"}
    with providers("qwen") as (stranger,):
        settings["targets"]["stranger"] = {
            "space": "minilm-space",
            "upstream": "openai",
            "url": stranger.url,
            "model": "right-name",
            "api_key": {"env": "PROVIDER_KEY"},
        }
        settings["routes"]["minilm"]["targets"] = ["stranger", "unpacked-target", "packed-target"]
        with RouterUnderTest(yaml.safe_dump(settings), {"PROVIDER_KEY": API_KEY}) as router:
            fleet = router.app.fleet
            eventually(lambda: fleet.is_up("unpacked-target"), within_s=60)
            eventually(
                lambda: fleet.states["stranger"].standing is Standing.QUARANTINED, within_s=60
            )
            found = fleet.prober.records["unpacked-target"].last
            assert found is not None
            assert found.least_cosine > 0.9999
            assert found.rank_agreement > 0.999
            answer = embed(router, model="minilm", input="import numpy as np")
            assert answer.headers["x-embedway-target"] == "unpacked-target"
            assert np.isfinite(np.array(vectors(answer))).all()
            line = router.logged("standing", target="stranger", standing="quarantined")
            assert line["reason"].startswith("cosine ")
