"""The operator's client against an API server that misbehaves (kmock)."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import kmock as mock
import kopf
import pytest

from embedway_operator.client import Cluster
from embedway_operator.errors import ClusterError, ConflictError

pytestmark = pytest.mark.kmock(cls=mock.RawHandler)
PODS = "/api/v1/namespaces/ns/pods"
SPACES = "/apis/embedway.dev/v1alpha1/namespaces/ns/vectorspaces"


class Server:
    """kmock, scripted: each request gets the next answer, the last one for ever."""

    def __init__(self, kmock: Any) -> None:
        self.kmock = kmock
        self.logins = 0

    def answers(self, criteria: Any, *answers: Any) -> None:
        for number, one in enumerate(answers):
            is_last = number == len(answers) - 1
            reaction = (
                self.kmock[criteria] if is_last else self.kmock[criteria][number : number + 1]
            )
            for part in one if isinstance(one, tuple) else (one,):
                reaction = reaction << part

    def login(self) -> kopf.ConnectionInfo:
        self.logins += 1
        return kopf.ConnectionInfo(server=str(self.kmock.url), token=f"token-{self.logins}")


def status(code: int, message: str = "") -> Any:
    return code, {"kind": "Status", "message": message}


def page(*names: str, rest: str = "") -> dict[str, Any]:
    items = [{"metadata": {"name": name}} for name in names]
    return {"items": items, "metadata": {"continue": rest} if rest else {}}


@pytest.fixture
def server(kmock: Any) -> Server:
    return Server(kmock)


@pytest.fixture
async def cluster(server: Server) -> AsyncIterator[Cluster]:
    made = Cluster(server.login, "ns")
    yield made
    await made.close()


async def test_a_list_is_read_page_by_page(server: Server, cluster: Cluster) -> None:
    """All pages, and each object says what it is."""
    server.answers(f"get {PODS}", page("a", rest="more"), page("b"))
    found = await cluster.list("Pod", "app=x") or []
    assert [one["metadata"]["name"] for one in found] == ["a", "b"]
    assert found[0]["kind"] == "Pod"
    assert server.kmock["get"][0].params["labelSelector"] == "app=x"
    assert server.kmock["get"][1].params["continue"] == "more"


async def test_a_list_that_expired_between_pages_is_read_anew(
    server: Server, cluster: Cluster
) -> None:
    """410 Gone: what was read belongs to a list that nobody remembers."""
    server.answers(
        f"get {PODS}", page("old", rest="more"), status(410), page("a", rest="x"), page("b")
    )
    found = await cluster.list("Pod") or []
    assert [one["metadata"]["name"] for one in found] == ["a", "b"]


async def test_a_first_page_that_is_gone_is_an_error(server: Server, cluster: Cluster) -> None:
    """Without a page to go back to, 410 is no invitation to ask for ever."""
    server.answers(f"get {PODS}", status(410, "too old"))
    with pytest.raises(ClusterError, match="410 too old"):
        await cluster.list("Pod")


async def test_a_kind_that_the_cluster_does_not_have_is_no_empty_list(
    server: Server, cluster: Cluster
) -> None:
    """None tells apart "there are none" and "there can be none"."""
    server.answers(f"get {SPACES}", status(404))
    server.answers(f"get {PODS}", page())
    assert await cluster.list("VectorSpace") is None
    assert await cluster.list("Pod") == []


async def test_an_object_that_is_not_there_is_none(server: Server, cluster: Cluster) -> None:
    """404 of one object is an answer; 403 is not."""
    server.answers(f"get {PODS}/a", status(404))
    server.answers(f"get {PODS}/b", status(403, "pods is forbidden"))
    assert await cluster.get("Pod", "a") is None
    with pytest.raises(ClusterError, match="forbidden") as caught:
        await cluster.get("Pod", "b")
    assert caught.value.status == 403


CALLS: list[Any] = [
    pytest.param(
        mock.method.PATCH, lambda c: c.apply({"kind": "Pod", "metadata": {"name": "a"}}), id="apply"
    ),
    pytest.param(mock.method.PATCH, lambda c: c.patch_status("VectorSpace", "a", {}), id="status"),
    pytest.param(
        mock.method.POST,
        lambda c: c.create({"kind": "Pod", "metadata": {"name": "a"}}),
        id="create",
    ),
    pytest.param(
        mock.method.PUT,
        lambda c: c.replace({"kind": "Pod", "metadata": {"name": "a"}}),
        id="replace",
    ),
    pytest.param(mock.method.DELETE, lambda c: c.delete("Pod", "a", "uid"), id="delete"),
]


@pytest.mark.parametrize(("method", "call"), CALLS)
async def test_a_conflict_is_told_apart(
    server: Server, cluster: Cluster, method: Any, call: Callable[[Cluster], Any]
) -> None:
    """409 means: look again. Every write says so."""
    server.answers(method, status(409, "the object has been modified"))
    with pytest.raises(ConflictError, match="modified"):
        await call(cluster)


@pytest.mark.parametrize(("method", "call"), CALLS)
async def test_a_server_that_fails_is_an_error_of_the_cluster(
    server: Server, cluster: Cluster, method: Any, call: Callable[[Cluster], Any]
) -> None:
    """500 reaches the caller as one kind of error, with its code."""
    server.answers(method, status(500, "etcdserver: request timed out"))
    with pytest.raises(ClusterError, match="timed out") as caught:
        await call(cluster)
    assert caught.value.status == 500


async def test_apply_is_server_side_and_by_our_manager(server: Server, cluster: Cluster) -> None:
    """The field manager and the content type are what makes it one."""
    server.answers(mock.method.PATCH, {"metadata": {}})
    await cluster.apply({"kind": "Secret", "metadata": {"name": "s"}, "data": {}})
    request = server.kmock[mock.method.PATCH][0]
    assert request.params == {"fieldManager": "embedway-operator", "force": "true"}
    assert request.headers["Content-Type"] == "application/apply-patch+yaml"
    assert request.url.path == "/api/v1/namespaces/ns/secrets/s"


async def test_a_status_goes_to_its_subresource(server: Server, cluster: Cluster) -> None:
    """The spec is never written by the operator."""
    server.answers(mock.method.PATCH, {"metadata": {}})
    await cluster.patch_status("VectorSpace", "a", {"observedGeneration": 2})
    request = server.kmock[mock.method.PATCH][0]
    assert request.url.path == f"{SPACES}/a/status"
    assert request.data == {"status": {"observedGeneration": 2}}


async def test_a_deletion_means_that_very_object(server: Server, cluster: Cluster) -> None:
    """By its uid, so that a successor of the same name is safe; one that is gone is fine."""
    server.answers(mock.method.DELETE, status(404))
    await cluster.delete("Pod", "a", "uid-1")
    assert server.kmock[mock.method.DELETE][0].data["preconditions"] == {"uid": "uid-1"}


async def test_expired_credentials_are_read_again(server: Server, cluster: Cluster) -> None:
    """A 401 logs in once more: tokens of service accounts are replaced on the disk."""
    server.answers(f"get {PODS}/a", status(401), {"metadata": {"name": "a"}})
    assert await cluster.get("Pod", "a") is not None
    sent = [one.headers["Authorization"] for one in server.kmock["get"]]
    assert sent == ["Bearer token-1", "Bearer token-2"]


async def test_credentials_that_are_wrong_are_an_error(server: Server, cluster: Cluster) -> None:
    """After the second 401 it is said, and not tried for ever."""
    server.answers(f"get {PODS}/a", status(401, "Unauthorized"))
    with pytest.raises(ClusterError, match="401"):
        await cluster.get("Pod", "a")
    assert len(server.kmock["get"]) == 2


async def test_a_server_that_is_not_there_is_an_error_of_the_cluster() -> None:
    """A refused connection has no HTTP code."""
    cluster = Cluster(lambda: kopf.ConnectionInfo(server="http://127.0.0.1:9"), "ns")
    with pytest.raises(ClusterError) as caught:
        await cluster.get("Pod", "a")
    assert caught.value.status == 0
    await cluster.close()


async def test_an_answer_that_is_no_json_is_an_error(server: Server, cluster: Cluster) -> None:
    """A proxy's page is not an object."""
    server.answers(f"get {PODS}/a", b"<html>bad gateway</html>")
    with pytest.raises(ClusterError, match="no JSON"):
        await cluster.get("Pod", "a")
