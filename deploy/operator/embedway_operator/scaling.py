"""Autoscalers of a model; they act on its scale subresource, and the operator on the pods."""

import json
import re

from embedway_operator.names import Installation, target_name
from embedway_operator.observed import Object, Resource
from router.config.resources import GROUP, VERSION

# The highest recommendation of this long holds before a replica is taken away.
_DOWN_AFTER_S = 300


def autoscaler(
    installation: Installation, resource: Resource, metadata: Object, routes: list[str]
) -> Object:
    """The object that scales it, by the wait that routers predict."""
    wish = resource.spec["autoscaling"]
    if wish.get("by") == "ScaledObject":
        return _scaled_object(installation, resource, metadata, routes)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": _scaled(resource),
            "minReplicas": wish.get("minReplicas", 1),
            "maxReplicas": wish["maxReplicas"],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": _DOWN_AFTER_S}},
            "metrics": [
                {
                    "type": "External",
                    "external": {
                        "metric": {
                            "name": "embedway_predicted_wait_seconds",
                            "selector": {
                                "matchLabels": {"target": target_name(resource.kind, resource.name)}
                            },
                        },
                        "target": {
                            "type": "Value",
                            "value": _quantity(wish.get("targetWaitSeconds", 2)),
                        },
                    },
                }
            ],
        },
    }


def _scaled_object(
    installation: Installation, resource: Resource, metadata: Object, routes: list[str]
) -> Object:
    wish = resource.spec["autoscaling"]
    fewest = wish.get("minReplicas", 1)
    where = f'namespace="{installation.namespace}"'
    target = json.dumps(target_name(resource.kind, resource.name))
    wait = f"max(embedway_predicted_wait_seconds{{{where},target={target}}})"
    triggers = [_trigger("predicted-wait", wish, wait, str(wish.get("targetWaitSeconds", 2)))]
    if fewest == 0:
        # From zero only routers know that somebody asks: Triton is not there to be asked.
        names = json.dumps("|".join(re.escape(name) for name in sorted(routes)))
        demand = f"sum(rate(embedway_requests_total{{{where},route=~{names}}}[2m])) or vector(0)"
        trigger = _trigger("demand", wish, demand, "1000000000")
        trigger["metadata"]["activationThreshold"] = "0"
        triggers.append(trigger)
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": _scaled(resource),
            "minReplicaCount": fewest,
            "maxReplicaCount": wish["maxReplicas"],
            "advanced": {
                "horizontalPodAutoscalerConfig": {
                    "behavior": {"scaleDown": {"stabilizationWindowSeconds": _DOWN_AFTER_S}}
                }
            },
            # A Prometheus that does not answer is no reason to take replicas away.
            "fallback": {
                "failureThreshold": 3,
                "replicas": max(1, fewest),
                "behavior": "currentReplicasIfHigher",
            },
            "triggers": triggers,
        },
    }


def _trigger(name: str, wish: Object, query: str, threshold: str) -> Object:
    return {
        "type": "prometheus",
        "name": name,
        "metricType": "Value",
        "metadata": {
            "serverAddress": wish.get("prometheusUrl", ""),
            "query": query,
            "threshold": threshold,
            # No data is an error and not a wait of zero.
            "ignoreNullValues": "false",
        },
    }


def _scaled(resource: Resource) -> Object:
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": resource.kind, "name": resource.name}


def _quantity(seconds: float) -> str:
    """A number as the cluster writes it."""
    return str(int(seconds)) if seconds == int(seconds) else f"{round(1000 * seconds)}m"
