"""The measurement of a migration: a Job that runs `embedway overlap`, and what it found.

The result comes as the pod's termination message, so that the operator needs no volume and no log.
"""

import hashlib
import json
from typing import Any

from embedway_operator.documents import mapping_of
from embedway_operator.move import Move
from embedway_operator.names import MANAGER, MEASUREMENT_LABEL, Installation
from embedway_operator.observed import Object, Observed
from embedway_operator.workload import owner_of
from router.domain.errors import ConfigurationError

_KEY = "EMBEDWAY_OVERLAP_KEY"
_MESSAGE = "/dev/termination-log"
_SAMPLE = "/etc/embedway/sample"
_DEADLINE_S = 4 * 3600
_RETRIES = 2
# The result's names in a status.
_FIGURES = {
    "documents": "documents", "queries": "queries", "k": "k", "recall": "recall",
    "recall_p10": "recallP10", "rank_agreement": "rankAgreement", "by_chance": "byChance",
}  # fmt: skip


def measurement_name(installation: Installation, move: Move) -> str:
    """What the Job is called: another name for everything that would give another result."""
    asked = {**move.wish["measurement"], "min_overlap": None}
    inputs = [move.resource.name, move.asked, move.answering, *move.spaces, asked]
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:10]
    return f"{installation.release[:44]}-overlap-{digest}"


def result_of(observed: Observed, move: Move) -> tuple[dict[str, Any] | None, str | None]:
    """What was measured, and why it failed where it did."""
    noted = move.resource.status.get("overlap") or {}
    if noted.get("measurement") == move.measurement:
        return dict(noted), None
    job = next((one for one in _jobs(observed, move)), None)
    messages = [text for one in observed.job_pods for text in _messages(one, move)]
    for code, text in messages:
        figures = _figures(text, move) if code == 0 else None
        if figures is not None:
            return figures, None
    conditions = ((job or {}).get("status") or {}).get("conditions") or []
    failed = [one for one in conditions if one["type"] == "Failed" and one["status"] == "True"]
    if not failed:
        return None, None
    said = [text.strip() for code, text in messages if code != 0 and text.strip()]
    why = said[-1] if said else str(failed[0].get("message", ""))
    return None, f"the measurement failed: {why[-300:]}; raise spec.measurement.run to try again"


def waiting_for(observed: Observed, move: Move) -> str | None:
    """What a pod of the measurement waits for: a Secret that is not there, an image."""
    for pod in observed.job_pods:
        for one in _containers(pod, move):
            waiting = (one.get("state") or {}).get("waiting") or {}
            if waiting.get("message"):
                return f"the measurement's pod waits: {waiting['message']}"
    return None


def wants_measuring(move: Move) -> bool:
    """Whether it has come to its measurement, and there is no result yet."""
    is_there = move.phase == "Shadow" and not move.is_rolled_back
    return move.accepted and is_there and move.figures is None and all(move.spaces)


def job_of(installation: Installation, move: Move, template: str) -> Object:
    """The Job; ConfigurationError where the chart's template is no pod."""
    pod = mapping_of(template)
    if pod is None or not (pod.get("spec") or {}).get("containers"):
        raise ConfigurationError("the template of the measurement is no YAML of a pod")
    labels = {**installation.labels("overlap"), MEASUREMENT_LABEL: move.measurement}
    metadata = pod.get("metadata") or {}
    pod["metadata"] = {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}
    _complete(pod["spec"], move)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": move.measurement,
            "namespace": installation.namespace,
            "labels": {**labels, "app.kubernetes.io/managed-by": MANAGER},
            "ownerReferences": [owner_of(move.resource)],
        },
        "spec": {
            "backoffLimit": _RETRIES, "activeDeadlineSeconds": _DEADLINE_S, "template": pod
        },
    }  # fmt: skip


def _complete(spec: Object, move: Move) -> None:
    spec["restartPolicy"] = "Never"
    wish = move.wish["measurement"]
    container = spec["containers"][0]
    container["args"] = [
        *(container.get("args") or []),
        f"--key-env={_KEY}",
        f"--model={move.asked}",
        f"--other={move.answering}",
        f"--space={move.spaces[0]}",
        f"--other-space={move.spaces[1]}",
        f"--k={wish.get('k', 10)}",
        f"--documents={_SAMPLE}/documents.jsonl",
        f"--queries={_SAMPLE}/queries.jsonl",
        f"--json={_MESSAGE}",
    ]
    secret = wish["key_secret"]
    reference = {"name": secret["name"], "key": secret.get("key", "key")}
    container["env"] = [
        *(container.get("env") or []),
        {"name": _KEY, "valueFrom": {"secretKeyRef": reference}},
    ]
    container["terminationMessagePath"] = _MESSAGE
    # Of a failure the last line says why; it holds no text and no key.
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    container["volumeMounts"] = [
        *(container.get("volumeMounts") or []),
        {"name": "sample", "mountPath": _SAMPLE, "readOnly": True},
    ]
    spec["volumes"] = [*(spec.get("volumes") or []), {"name": "sample", **_volume(wish["sample"])}]


def _volume(sample: Object) -> Object:
    if "config_map" in sample:
        return {"configMap": {"name": sample["config_map"]}}
    if "secret" in sample:
        return {"secret": {"secretName": sample["secret"]}}
    return {"persistentVolumeClaim": {"claimName": sample.get("claim"), "readOnly": True}}


def _jobs(observed: Observed, move: Move) -> list[Object]:
    return [one for one in observed.jobs if one["metadata"]["name"] == move.measurement]


def _messages(pod: Object, move: Move) -> list[tuple[int, str]]:
    """Exit codes and last words of a measurement's pod."""
    ends = [(one.get("state") or {}).get("terminated") for one in _containers(pod, move)]
    return [(int(one.get("exitCode", 1)), str(one.get("message", ""))) for one in ends if one]


def _containers(pod: Object, move: Move) -> list[Object]:
    """How the containers of a measurement's pod are; none of another pod."""
    if (pod["metadata"].get("labels") or {}).get(MEASUREMENT_LABEL) != move.measurement:
        return []
    return list((pod.get("status") or {}).get("containerStatuses") or [])


def _figures(text: str, move: Move) -> dict[str, Any] | None:
    """Figures of the very spaces that tenants would move between; None for anything else."""
    found = mapping_of(text) or {}
    if tuple(found.get("spaces") or ()) != move.spaces:
        return None
    if not isinstance(found.get("recall"), int | float):
        return None
    figures = {name: found[key] for key, name in _FIGURES.items() if key in found}
    return {"measurement": move.measurement, **figures}
