"""The chart without its operator: everything comes from values."""

from pathlib import Path

from tests.support.cluster.images import triton_program
from tests.support.cluster.installation import MODEL, RELEASE, ROUTER, Installation, embed, values
from tests.support.cluster.server import wait_until

TRITON = f"{RELEASE}-triton-{MODEL}"


async def test_the_cpu_profile_embeds_without_an_operator(
    installation: Installation, tmp_path: Path, minilm: Path
) -> None:
    """The chart renders Triton and the router's configuration itself, and the model answers."""
    manifest = installation.install(values(minilm, operator={"enabled": False}))
    assert "kind: Deployment" not in manifest
    triton = await triton_program(tmp_path / "image", minilm, "all_minilm_l6_v2")
    with installation.kubelet({"tritonserver": triton}) as kubelet:
        kubelet.run("statefulsets", TRITON)
        kubelet.run("statefulsets", ROUTER)
        wait_until(lambda: bool(kubelet.ready(ROUTER)), 60, kubelet.explain)
        wait_until(lambda: bool(kubelet.ready(TRITON)), 90, kubelet.explain)
        address, key = kubelet.ready(ROUTER)[0], installation.key()
        wait_until(lambda: embed(address, key, MODEL, "x")[0] != 503, 60, kubelet.explain)
        status, answer = embed(address, key, MODEL, "one", "two")
        assert status == 200, answer
        assert [len(one["embedding"]) for one in answer["data"]] == [384, 384]
