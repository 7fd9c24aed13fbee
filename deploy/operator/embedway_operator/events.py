"""Events: what `kubectl describe` shows of a resource's changes."""

import hashlib
import json
from collections.abc import Sequence

from embedway_operator.names import MANAGER
from embedway_operator.observed import Object, Observed, Resource
from router.config.resources import GROUP, VERSION

_MOST_SAID = 1000


def event(
    observed: Observed, resource: Resource, identity: Sequence[object], reason: str, message: str,
    *, is_warning: bool,
) -> Object:  # fmt: skip
    """An Event of a resource; the same `identity` gets the same name, and is told once."""
    text = json.dumps([resource.uid, *identity, resource.generation])
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    namespace, now = observed.installation.namespace, observed.now
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{resource.name}.{digest}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": resource.kind,
            "name": resource.name,
            "namespace": namespace,
            "uid": resource.uid,
        },
        "type": "Warning" if is_warning else "Normal",
        "reason": reason,
        "message": message[:_MOST_SAID],
        "source": {"component": MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
