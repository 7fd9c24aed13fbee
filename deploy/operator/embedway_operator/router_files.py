"""What routers mount: their configuration, and the one Secret with the values that it names."""

import base64
import json
from collections.abc import Iterator, Mapping

from embedway_operator.draft import Place
from embedway_operator.draft_targets import secret_file, secret_references
from embedway_operator.names import CONFIG_KEY, MANAGER, ORIGINS_KEY, PINS_KEY
from embedway_operator.observed import Object, Observed
from embedway_operator.pins import note_of
from embedway_operator.rendering import Rendered
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
    """Values that the configuration refers to; old ones stay while a router may still read them."""
    before = (observed.router_secrets or {}).get("data") or {}
    data = {} if is_served and rendered.problem is None else dict(before)
    for verdict in rendered.draft.verdicts:
        if verdict.place is Place.OUT:
            continue
        for reference in secret_references(verdict.resource):
            values: Mapping[str, bytes] = observed.secrets.get(reference["name"]) or {}
            value = values.get(reference.get("key", "key"))
            if value is not None:
                data[secret_file(reference)] = base64.b64encode(value).decode()
            elif verdict.place is Place.KEPT and secret_file(reference) in before:
                data[secret_file(reference)] = before[secret_file(reference)]
    for name in _files_named(rendered):
        if name in before:
            data.setdefault(name, before[name])
    body = _mounted(observed, "Secret", observed.installation.secrets)
    body |= {"type": "Opaque", "data": dict(sorted(data.items()))}
    yield from applied(body, observed.router_secrets, is_locked=True)


def _files_named(rendered: Rendered) -> Iterator[str]:
    """Files of secrets that the new configuration still reads, kept parts included."""
    sections = rendered.draft.sections
    for target in sections["targets"].values():
        if path := (target.get("api_key") or {}).get("file"):
            yield str(path).rpartition("/")[2]
    for tenant in sections["tenants"].values():
        for key in tenant.get("keys") or []:
            if path := key.get("file"):
                yield str(path).rpartition("/")[2]


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
