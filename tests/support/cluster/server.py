"""A real control plane on loopback: etcd and kube-apiserver, with RBAC and no controllers."""

import signal
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import free_port
from tests.support.cluster.api import Api
from tests.support.cluster.binaries import Binaries
from tests.support.cluster.certificates import Authority, write_account_key
from tests.support.cluster.https import ask
from tests.support.cluster.kubectl import Kubectl, write_kubeconfig
from tests.support.cluster.processes import Child

ISSUER = "https://kubernetes.default.svc"
_READY_S = 90.0
_POLL_S = 0.05
# Forbids what OpenShift forbids too: blocking the deletion of an owner that one may not change.
_ADMISSION = "OwnerReferencesPermissionEnforcement"
# Needs controllers that make a token's Secret for each account; tokens are asked for here.
_NO_ADMISSION = "ServiceAccount"


class Cluster:
    """An API server that can be killed and started again on the same data and address."""

    def __init__(self, folder: Path, binaries: Binaries) -> None:
        """Start it in `folder` and return once it is ready."""
        self._folder = folder
        self._binaries = binaries
        self._etcd_port, self.port = free_port(), free_port()
        authority = Authority(folder)
        authority.server("apiserver")
        authority.client("admin", "system:masters")
        write_account_key(folder / "accounts.key")
        self.certificate = authority.certificate
        kubeconfig = write_kubeconfig(
            folder / "admin.yaml",
            self.url,
            {"client-certificate": f"{folder}/admin.crt", "client-key": f"{folder}/admin.key"},
            authority.certificate,
        )
        self.kubectl = Kubectl(binaries.kubectl, kubeconfig, folder)
        self._etcd = self._start_etcd()
        self._apiserver = self._start_apiserver()
        try:
            self.wait_ready()
        except AssertionError:
            self.close()
            raise

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def api(self, namespace: str) -> Api:
        """The REST interface in that namespace, as an administrator."""
        pair = (self._folder / "admin.crt", self._folder / "admin.key")
        return Api(self.url, self.certificate, namespace, certificate=pair)

    def kill_apiserver(self) -> None:
        """End the API server at once; what it has stored stays."""
        self._apiserver.kill()

    def start_apiserver(self) -> None:
        """Start it again; returns once it is ready."""
        self._apiserver = self._start_apiserver()
        self.wait_ready()

    def close(self) -> None:
        """End both."""
        self._apiserver.signal(signal.SIGTERM)
        self._etcd.stop(5)
        # It waits for a minute for requests under way; nobody will ask it again.
        self._apiserver.kill()

    def wait_ready(self) -> None:
        """Return once it says that it is ready; fails with the log where it does not."""
        wait_until(self._is_ready, _READY_S, self._apiserver.tail)

    def _is_ready(self) -> bool:
        for child in (self._etcd, self._apiserver):
            assert child.exit_code is None, child.tail()
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.load_cert_chain(self._folder / "admin.crt", self._folder / "admin.key")
        try:
            return ask(self.port, context, "GET", "/readyz")[0] == 200
        except OSError:
            return False

    def _start_etcd(self) -> Child:
        url = f"http://127.0.0.1:{self._etcd_port}"
        return Child(
            self._folder / "etcd.log",
            [
                self._binaries.etcd,
                f"--data-dir={self._folder}/etcd",
                f"--listen-client-urls={url}",
                f"--advertise-client-urls={url}",
                "--listen-peer-urls=http://127.0.0.1:0",
            ],
        )

    def _start_apiserver(self) -> Child:
        folder = self._folder
        return Child(
            folder / "apiserver.log",
            [
                self._binaries.apiserver,
                f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                f"--secure-port={self.port}",
                f"--cert-dir={folder}",
                f"--tls-cert-file={folder}/apiserver.crt",
                f"--tls-private-key-file={folder}/apiserver.key",
                f"--client-ca-file={self.certificate}",
                "--authorization-mode=RBAC",
                f"--service-account-issuer={ISSUER}",
                f"--service-account-key-file={folder}/accounts.pub",
                f"--service-account-signing-key-file={folder}/accounts.key",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--allow-privileged=true",
                f"--enable-admission-plugins={_ADMISSION}",
                f"--disable-admission-plugins={_NO_ADMISSION}",
            ],
        )


def wait_until(
    is_so: Callable[[], bool], timeout_s: float, explain: Callable[[], str] = lambda: ""
) -> None:
    """Return once `is_so()`; fail with `explain()` after `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {explain()}"
        time.sleep(_POLL_S)
