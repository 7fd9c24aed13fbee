"""The objects of an EmbeddingModel: pods from the chart's template, an address, a volume."""

from typing import Any

from embedway_operator.documents import mapping_of
from embedway_operator.names import MANAGER, MODEL_LABEL, TRITON_GRPC_PORT, Installation
from embedway_operator.observed import Object, Resource
from embedway_operator.scaling import autoscaler
from router.config.resources import GROUP, VERSION
from router.domain.errors import ConfigurationError

_GPU = "nvidia.com/gpu"
# A client's connection stays on the replicas that it knew; when it ends, the client looks anew.
_MOST_CONNECTION_AGE_MS = 60_000
_CONNECTION_GRACE_MS = 120_000
# Beyond the longest start: for a pod to find a node, and the node its image.
_ROLL_MARGIN_S = 600


def objects_of(
    installation: Installation, resource: Resource, template: str, routes: list[str]
) -> list[Object]:
    """All that serves a model; ConfigurationError where the chart's template is no pod.

    `routes` are the names that clients reach it under.
    """
    made = [
        _deployment(installation, resource, _pod(installation, resource, template)),
        _service(installation, resource),
    ]
    if installation.has_disruption_budgets:
        made.append(_disruption_budget(installation, resource))
    cache = resource.spec.get("cache")
    if cache and not cache.get("existingClaim"):
        made.insert(0, _claim(installation, resource, cache))
    if resource.spec.get("autoscaling"):
        metadata = _metadata(installation, resource)
        made.append(autoscaler(installation, resource, metadata, routes))
    return made


def model_labels(installation: Installation, name: str) -> dict[str, str]:
    """Labels that select a model's pods."""
    return {**installation.labels("triton"), MODEL_LABEL: name}


def owner_of(resource: Resource) -> Object:
    """With the model go its objects: the cluster's garbage collection sees to it."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": resource.kind,
        "name": resource.name,
        "uid": resource.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _metadata(installation: Installation, resource: Resource) -> Object:
    return {
        "name": installation.workload(resource.name),
        "namespace": installation.namespace,
        "labels": {
            **model_labels(installation, resource.name),
            "app.kubernetes.io/managed-by": MANAGER,
        },
        "ownerReferences": [owner_of(resource)],
    }


def _deployment(installation: Installation, resource: Resource, pod: Object) -> Object:
    # A change inside the space rolls: the old pod goes when the new one serves. A volume of one
    # node may be where the new one is not, or has no room: there the old one goes first.
    surge = 0 if _is_of_one_node(resource) else 1
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(installation, resource),
        "spec": {
            "replicas": int(resource.spec.get("replicas", 1)),
            # Until routers had time to take the new pod up.
            "minReadySeconds": installation.min_ready_s,
            "progressDeadlineSeconds": installation.min_ready_s + _longest_start_s(pod),
            "selector": {"matchLabels": model_labels(installation, resource.name)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 1 - surge, "maxSurge": surge},
            },
            "template": pod,
        },
    }


def _longest_start_s(pod: Object) -> int:
    """Seconds without progress after which a roll has failed: the template says how long is long.

    A model may be downloaded at its start, which takes longer than the ten minutes of a
    Deployment that says nothing.
    """
    probe = pod["spec"]["containers"][0].get("startupProbe") or {}
    tries_s = int(probe.get("periodSeconds", 10)) * int(probe.get("failureThreshold", 0))
    return int(probe.get("initialDelaySeconds", 0)) + tries_s + _ROLL_MARGIN_S


def _service(installation: Installation, resource: Resource) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(installation, resource),
        "spec": {
            # Routers see every replica and spread calls themselves: gRPC keeps its connections, so
            # behind one address all calls of a router would go to one replica.
            "clusterIP": "None",
            "selector": model_labels(installation, resource.name),
            "ports": [
                {"name": "http", "port": 8000, "protocol": "TCP", "targetPort": "http"},
                {
                    "name": "grpc",
                    "port": TRITON_GRPC_PORT,
                    "protocol": "TCP",
                    "targetPort": "grpc",
                },
            ],
        },
    }


def _disruption_budget(installation: Installation, resource: Resource) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(installation, resource),
        "spec": {
            # One at a time and not "all but one": a single pod would block every drain for ever.
            "maxUnavailable": 1,
            "selector": {"matchLabels": model_labels(installation, resource.name)},
        },
    }


def _claim(installation: Installation, resource: Resource, cache: Object) -> Object:
    spec: Object = {
        "accessModes": [cache.get("accessMode", "ReadWriteOnce")],
        "resources": {"requests": {"storage": str(cache["size"])}},
    }
    if "storageClassName" in cache:
        spec["storageClassName"] = cache["storageClassName"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(installation, resource),
        "spec": spec,
    }


def _pod(installation: Installation, resource: Resource, template: str) -> Object:
    """The chart's pod, completed for one model."""
    pod = _parsed(template)
    spec, wish = pod["spec"], resource.spec
    labels = model_labels(installation, resource.name)
    metadata = pod.get("metadata") or {}
    pod["metadata"] = {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}
    for constraint in spec.get("topologySpreadConstraints") or []:
        constraint.setdefault("labelSelector", {})["matchLabels"] = labels
    spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **wish.get("nodeSelector", {})}
    spec["tolerations"] = [*(spec.get("tolerations") or []), *wish.get("tolerations", [])]
    if _is_of_one_node(resource) and _may_be_several(resource):
        _keep_together(spec, labels)
    _complete_container(spec["containers"][0], wish)
    _complete_cache(installation, resource, spec)
    return pod


def _is_of_one_node(resource: Resource) -> bool:
    """Whether its pods share a volume that only one node may have at a time."""
    cache: Object = resource.spec.get("cache") or {}
    return bool(cache) and cache.get("accessMode", "ReadWriteOnce") == "ReadWriteOnce"


def _may_be_several(resource: Resource) -> bool:
    """A model that never has two pods is left free to follow its volume to another node."""
    scaling = resource.spec.get("autoscaling") or {}
    return max(int(resource.spec.get("replicas", 1)), int(scaling.get("maxReplicas", 1))) > 1


def _keep_together(spec: Object, labels: dict[str, str]) -> None:
    """On one node: elsewhere a pod would wait for ever for a volume that is in use."""
    affinity = {**(spec.get("affinity") or {})}
    pods = {**(affinity.get("podAffinity") or {})}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    rule = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}
    pods[required] = [*(pods.get(required) or []), rule]
    spec["affinity"] = {**affinity, "podAffinity": pods}


def _complete_container(container: Object, wish: Object) -> None:
    if "image" in wish:
        container["image"] = wish["image"]
    ours = ("--load-model=", "--grpc-max-connection-age")
    container["args"] = [
        *(one for one in container.get("args") or [] if not one.startswith(ours)),
        f"--load-model={wish['model']}",
        f"--grpc-max-connection-age={_MOST_CONNECTION_AGE_MS}",
        f"--grpc-max-connection-age-grace={_CONNECTION_GRACE_MS}",
    ]
    # The model's own readiness: the server's flaps while models load.
    probe = container.setdefault("readinessProbe", {})
    probe["httpGet"] = {
        **(probe.get("httpGet") or {"port": "http"}), "path": f"/v2/models/{wish['model']}/ready"
    }  # fmt: skip
    own = wish.get("env", {})
    container["env"] = [
        *(one for one in container.get("env") or [] if one["name"] not in own),
        *({"name": name, "value": value} for name, value in sorted(own.items())),
    ]
    container["resources"] = _resources(container.get("resources") or {}, wish)


def _resources(template: Object, wish: Object) -> Object:
    own = wish.get("resources") or {}
    merged: dict[str, dict[str, str]] = {}
    for part in ("requests", "limits"):
        values = {**(template.get(part) or {}), **(own.get(part) or {})}
        merged[part] = {name: str(value) for name, value in values.items()}
    # What the cluster calls a GPU stands in the template, as the only resource with a domain.
    gpu = next((name for name in merged["limits"] if "/" in name), _GPU)
    merged["limits"].pop(gpu, None)
    merged["requests"].pop(gpu, None)
    if gpus := int(wish.get("gpus", 1)):
        merged["limits"][gpu] = str(gpus)
    return {part: values for part, values in merged.items() if values}


def _complete_cache(installation: Installation, resource: Resource, spec: Object) -> None:
    cache = resource.spec.get("cache")
    if not cache:
        return
    claim = cache.get("existingClaim") or installation.workload(resource.name)
    others = [one for one in spec.get("volumes") or [] if one["name"] != "cache"]
    spec["volumes"] = [
        *others, {"name": "cache", "persistentVolumeClaim": {"claimName": claim}}
    ]  # fmt: skip


def _parsed(template: str) -> dict[str, Any]:
    pod = mapping_of(template)
    if pod is None or not (pod.get("spec") or {}).get("containers"):
        raise ConfigurationError("the pod template is no YAML of a pod with a container")
    return pod
