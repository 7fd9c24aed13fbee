"""`helm install` with the CPU profile: operator, router and Triton really run."""

from pathlib import Path

from tests.support.cluster.images import triton_program
from tests.support.cluster.installation import (
    MODEL,
    OPERATOR,
    RELEASE,
    ROUTER,
    Installation,
    embed,
    values,
)
from tests.support.cluster.server import wait_until

TRITON = f"{RELEASE}-triton-{MODEL}"


async def test_the_cpu_profile_embeds(
    installation: Installation, tmp_path: Path, minilm: Path
) -> None:
    """From one `helm install` to vectors: every resource Ready, the space verified by probing.

    The operator acts under the chart's own ServiceAccount and Role; operator, router and Triton
    run with the chart's arguments, mounts, user and read-only file systems.
    """
    installation.install(values(minilm))
    triton = await triton_program(tmp_path / "image", minilm, "all_minilm_l6_v2")
    with installation.kubelet({"tritonserver": triton}) as kubelet:
        kubelet.run("deployments", OPERATOR)
        wait_until(lambda: bool(installation.configuration), 60, kubelet.explain)
        kubelet.run("statefulsets", ROUTER)
        kubelet.run("deployments", TRITON)
        wait_until(lambda: bool(kubelet.ready(ROUTER)), 60, kubelet.explain)
        address, key = kubelet.ready(ROUTER)[0], installation.key()
        # Ready is a promise: the first request after it is answered.
        installation.wait_for("embeddingroutes", MODEL, "Ready", "True", kubelet, 90)
        status, answer = embed(address, key, MODEL, "one", "two")
        assert status == 200, answer
        assert [len(one["embedding"]) for one in answer["data"]] == [384, 384]
        for plural in ("vectorspaces", "embeddingmodels"):
            installation.wait_for(plural, MODEL, "Ready", "True", kubelet, 90)
        installation.wait_for("embeddingroutes", MODEL, "Programmed", "True", kubelet)
        installation.wait_for("vectorspaces", MODEL, "SpaceVerified", "True", kubelet)
        installation.wait_for("embeddingtenants", "default", "Programmed", "True", kubelet)
