"""Where the API server keeps each kind of object that the operator knows."""

from router.config.resources import GROUP, KINDS, VERSION

# (API version, plural) by kind.
PLACES: dict[str, tuple[str, str]] = {
    "ConfigMap": ("v1", "configmaps"),
    "Event": ("v1", "events"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "Pod": ("v1", "pods"),
    "Secret": ("v1", "secrets"),
    "Service": ("v1", "services"),
    "Deployment": ("apps/v1", "deployments"),
    "Job": ("batch/v1", "jobs"),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "ScaledObject": ("keda.sh/v1alpha1", "scaledobjects"),
    "Lease": ("coordination.k8s.io/v1", "leases"),
    **{kind.name: (f"{GROUP}/{VERSION}", kind.plural) for kind in KINDS},
}


def path_of(kind: str, namespace: str, name: str = "", subresource: str = "") -> str:
    """The path of a kind's objects in a namespace, or of one of them, or of a part of it."""
    version, plural = PLACES[kind]
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    parts = [f"{root}/namespaces/{namespace}/{plural}", name, subresource]
    return "/".join(part for part in parts if part)


def lacking(kind: str) -> str:
    """That a cluster does not have a kind in the version that the operator knows."""
    return f"this cluster has no {kind} of {PLACES[kind][0]}"
