"""Targets: models of this cluster, and models of providers."""

from embedway_operator.draft import Draft, Fragment, Place, Verdict, mistakes_in
from embedway_operator.names import TRITON_GRPC_PORT, target_name
from embedway_operator.observed import Resource
from embedway_operator.secret_files import file_of, path_of_file, refreshed
from embedway_operator.specs import own, taken
from router.config.resources import MODEL, PROVIDER
from router.config.settings import TargetSettings

_MOST_NAME = 63


def draft_targets(draft: Draft) -> None:
    """Take every target whose space and secret are there, and whose space is the one it had."""
    for resource in draft.observed.of_kind("EmbeddingModel", "EmbeddingProvider"):
        if resource.is_deleted:
            continue
        verdict = draft.begin(resource, "targets", target_name(resource.kind, resource.name))
        verdict.targets.append(verdict.key)
        if resource.kind == "EmbeddingModel":
            fragment = _model(draft, verdict)
        else:
            fragment = _provider(draft, verdict)
        _judge(draft, verdict, fragment)


def _judge(draft: Draft, verdict: Verdict, fragment: Fragment) -> None:
    space = str(verdict.resource.spec.get("space"))
    if space not in draft.whole()["spaces"]:
        verdict.unresolved.append(f"VectorSpace {space}")
    if problem := mistakes_in(TargetSettings, fragment):
        verdict.refuse("Invalid", problem)
    anybodys = draft.fragment_before("targets", verdict.key)
    before = draft.before(verdict)
    if anybodys is not None and anybodys["space"] != space:
        verdict.refuse(
            "VectorSpaceMismatch",
            f"it serves {anybodys['space']}: a new space never replaces an old one in place"
            if before is not None
            else f"waits until its predecessor, of {anybodys['space']}, is taken out",
        )
    if verdict.unresolved or verdict.reason == "NameTaken":
        return
    if verdict.accepted:
        draft.take(verdict, fragment)
    elif before is not None and before["space"] in draft.whole()["spaces"]:
        draft.put(verdict, refreshed(before, fragment), Place.KEPT)


def _model(draft: Draft, verdict: Verdict) -> Fragment:
    resource, installation = verdict.resource, draft.observed.installation
    workload = installation.workload(resource.name)
    if len(workload) > _MOST_NAME:
        verdict.refuse("Invalid", f"its objects would be called {workload}, which is too long")
    spec = resource.spec
    if (spec.get("engine") == "tensorrt") != ("paddedProfiles" in spec):
        verdict.refuse("Invalid", "the engine tensorrt, and no other, needs paddedProfiles")
    return {
        **taken(MODEL, spec),
        "space": spec.get("space"),
        "upstream": "triton",
        "url": f"grpc://{workload}.{installation.namespace}.svc:{TRITON_GRPC_PORT}",
        "model": spec.get("model"),
    }


def _provider(draft: Draft, verdict: Verdict) -> Fragment:
    spec = verdict.resource.spec
    reference = own(PROVIDER, spec).get("api_key_secret") or {}
    fragment = {**taken(PROVIDER, spec), "space": spec.get("space")}
    if spec.get("upstream") not in {"openai", "cohere", "voyage"}:
        verdict.refuse("Invalid", "upstream must be openai, cohere or voyage")
    value = secret_value(draft, verdict, reference)
    if value is not None:
        key = value.decode(errors="replace").strip()
        if not key or not key.isascii() or not key.isprintable():
            verdict.unresolved.append(f"Secret {reference['name']}: its value is no key")
    if reference:
        # Without the value it is noted as unresolved, and goes nowhere.
        fragment["api_key"] = {"file": secret_path(draft, reference, value or b"")}
    return fragment


def secret_path(draft: Draft, reference: Fragment, value: bytes) -> str:
    """Where routers find this value of a Secret, which is noted to be given to them."""
    file = file_of(reference, value)
    draft.values[file] = value
    return path_of_file(file)


def secret_value(draft: Draft, verdict: Verdict, reference: Fragment) -> bytes | None:
    """The value that a resource refers to; None, and noted as unresolved, where it is missing."""
    name, key = reference.get("name", ""), reference.get("key", "key")
    values = draft.observed.secrets.get(name)
    if values is None:
        verdict.unresolved.append(f"Secret {name}")
    elif key not in values:
        verdict.unresolved.append(f"Secret {name}, key {key}")
    else:
        return values[key]
    return None


def secret_references(resource: Resource) -> list[Fragment]:
    """Every value of a Secret that a resource refers to."""
    spec = resource.spec
    found = [spec.get("apiKeySecret"), *(key.get("secret") for key in spec.get("keys") or [])]
    return [one for one in found if isinstance(one, dict)]
