"""The operator's rights are the chart's Role and nothing more."""

from pathlib import Path

from tests.support.cluster.installation import OPERATOR, Installation, values

ALLOWED = [
    ("list", "vectorspaces.embedway.dev"),
    ("watch", "embeddingmodels.embedway.dev"),
    ("patch", "embeddingroutes.embedway.dev/status"),
    ("create", "deployments.apps"),
    ("patch", "services"),
    ("get", "secrets"),
    ("patch", "secrets:embedway-router-secrets"),
    ("patch", "configmaps:embedway-router-config"),
    ("update", "leases.coordination.k8s.io"),
    ("create", "events"),
    ("list", "pods"),
    ("create", "jobs.batch"),
    ("patch", "vectorspacemigrations.embedway.dev/status"),
]
FORBIDDEN = [
    ("list", "secrets"),
    ("watch", "secrets"),
    ("delete", "secrets"),
    ("patch", "secrets:embedway-key"),
    ("patch", "configmaps:embedway-router-base"),
    ("delete", "configmaps"),
    ("create", "pods"),
    ("create", "pods/exec"),
    ("get", "pods/log"),
    ("delete", "pods"),
    ("update", "embeddingroutes.embedway.dev"),
    ("delete", "embeddingmodels.embedway.dev"),
    ("create", "vectorspaces.embedway.dev"),
    ("create", "serviceaccounts/token:embedway-operator"),
    ("create", "roles.rbac.authorization.k8s.io"),
    ("create", "rolebindings.rbac.authorization.k8s.io"),
    ("impersonate", "serviceaccounts"),
    ("create", "cronjobs.batch"),
    ("list", "nodes"),
    ("list", "namespaces"),
    ("get", "customresourcedefinitions.apiextensions.k8s.io"),
]


def test_the_role_is_enough_and_no_more(installation: Installation, minilm: Path) -> None:
    """What `kubectl auth can-i` says to the operator's own token, needs and temptations alike."""
    installation.install(values(minilm))
    operator = installation.as_account(OPERATOR)
    table = [*ALLOWED, *FORBIDDEN]
    answers = {entry: operator.may(*entry) for entry in table}
    assert answers == {entry: entry in ALLOWED for entry in table}
    for namespace in ("default", "kube-system"):
        elsewhere = installation.as_account(OPERATOR, namespace)
        assert not any(elsewhere.may(*entry) for entry in table)


def test_routers_and_models_have_no_rights(installation: Installation, minilm: Path) -> None:
    """A router or a Triton that is taken over can ask the API server for nothing."""
    installation.install(values(minilm))
    for name in ("embedway-router", "embedway-triton"):
        account = installation.as_account(name)
        assert not any(account.may(*entry) for entry in [*ALLOWED, *FORBIDDEN])
