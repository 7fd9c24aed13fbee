"""What routers mount: their configuration, and the one Secret with the values that it names."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from embedway_operator.names import CONFIG_KEY, MANAGER, ORIGINS_KEY, PINS_KEY
from embedway_operator.observed import Object, Observed
from embedway_operator.pins import note_of
from embedway_operator.rendering import Rendered
from embedway_operator.secret_files import files_in, within_size
from embedway_operator.writes import Apply, applied


def router_files(observed: Observed, rendered: Rendered, *, is_served: bool) -> Iterator[Apply]:
    """Values stand before the configuration that names them, and go after it.

    `is_served` is whether every router serves what was rendered: then old values go.
    """
    yield from _secret(observed, rendered, is_served)
    if rendered.problem is None and rendered.text is not None:
        yield from _config(observed, rendered, rendered.text)


def _config(observed: Observed, rendered: Rendered, text: str) -> Iterator[Apply]:
    origins = json.dumps(rendered.draft.origins, sort_keys=True)
    body = _mounted(observed, "ConfigMap", observed.installation.config)
    pins = note_of(rendered.draft.pins)
    body["data"] = {CONFIG_KEY: text, ORIGINS_KEY: origins, PINS_KEY: pins}
    # A router that starts with a file that names a value which is not there would not start.
    needs = "Secret", observed.installation.secrets
    yield from applied(body, observed.config, is_locked=True, needs=needs)


def _secret(observed: Observed, rendered: Rendered, is_served: bool) -> Iterator[Apply]:
    """Values that the configuration names, each a file; old ones stay while a router may read them.

    That is until every router serves this configuration: a worker of one that does not may start
    anew with the last. Where all of them are more than fit, only the last one's stay.
    """
    before = (observed.router_secrets or {}).get("data") or {}
    named = _files_named(rendered.draft.sections)
    values = {
        name: base64.b64encode(value).decode()
        for name, value in rendered.draft.values.items()
        if name in named
    }
    kept = named if is_served and rendered.problem is None else before.keys()
    data = {name: value for name, value in before.items() if name in kept} | values
    needed = frozenset(named | _files_named(rendered.draft.previous))
    body = _mounted(observed, "Secret", observed.installation.secrets)
    body |= {"type": "Opaque", "data": dict(sorted(within_size(data, needed).items()))}
    yield from applied(body, observed.router_secrets, is_locked=True)


def _files_named(sections: Mapping[str, Any]) -> set[str]:
    """Files of the Secret that a configuration reads."""
    parts = [
        *(sections.get("targets") or {}).values(), *(sections.get("tenants") or {}).values()
    ]  # fmt: skip
    return {file for part in parts if isinstance(part, dict) for file in files_in(part)}


def _mounted(observed: Observed, kind: str, name: str) -> Object:
    """What routers mount. It goes with the chart's own object and not with the operator."""
    base = observed.base or {}
    owners = []
    if uid := (base.get("metadata") or {}).get("uid"):
        owners = [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "name": observed.installation.base,
                "uid": uid,
            }
        ]
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": observed.installation.namespace,
            "labels": {
                **observed.installation.labels("router"),
                "app.kubernetes.io/managed-by": MANAGER,
            },
            "ownerReferences": owners,
        },
    }
