"""How the operator proves who it is: its pod's service account, or a kubeconfig."""

import kopf

from embedway_operator.errors import ClusterError


def login() -> kopf.ConnectionInfo:
    """The credentials as they are now, by kopf's own means; ClusterError where there are none."""
    settings = kopf.OperatorSettings()
    # A kubeconfig that is named is meant, also inside of a pod.
    info = kopf.login_with_kubeconfig(settings=settings)
    info = info or kopf.login_with_service_account(settings=settings)
    if info is not None:
        return info
    raise ClusterError("no credentials: neither a service account nor KUBECONFIG")
