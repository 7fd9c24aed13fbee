"""What the custom resources of a cluster say beside the settings that they share with the file.

A resource's `spec` takes fields of the configuration's own models as they stand (`Kind.taken`) and
adds what only a cluster knows (`Kind.own`): names of other objects, secrets, pods.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from router.config.metering import QuotaSettings
from router.config.routing import StrategyName, WhenSettings
from router.config.section import Name, Section
from router.config.settings import RouteSettings, SpaceSettings, TargetSettings, TenantSettings
from router.domain.types import Scope

GROUP = "embedway.dev"
VERSION = "v1alpha1"

ObjectName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=63)
]
Quantity = Annotated[
    str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|[KMGTPE]i?)?$", max_length=32)
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class TargetReference(Section):
    """A target of the same namespace."""

    kind: Literal["EmbeddingModel", "EmbeddingProvider"]
    """What runs it: this cluster, or somebody else."""
    name: ObjectName
    """The resource's name."""


class SecretReference(Section):
    """One value of a Secret of the same namespace."""

    name: ObjectName
    """The Secret's name."""
    key: str = Field("key", pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)
    """Which of its values."""


class VectorSpaceOwn(Section):
    """What only a cluster says of a space."""

    reference: TargetReference | None = None
    """Target whose vectors define the space; without one the oldest of its targets does."""


class Autoscaling(Section):
    """How many replicas there are, by how long a request would wait for one."""

    min_replicas: int = Field(1, ge=0, le=1000)
    """Replicas that there are at least; 0 only with a ScaledObject."""
    max_replicas: int = Field(ge=1, le=1000)
    """Replicas that there are at most."""
    target_wait_s: float = Field(2.0, gt=0, le=3600)
    """Predicted wait, tokens in flight by measured tokens a second, that is held."""
    by: Literal["HorizontalPodAutoscaler", "ScaledObject"] = "HorizontalPodAutoscaler"
    """What scales: the cluster's own with an external metric, or KEDA with Prometheus."""
    prometheus_url: str | None = Field(None, pattern=r"^https?://[^\s]+$", max_length=512)
    """Prometheus that a ScaledObject asks."""


class CacheVolume(Section):
    """A volume that weights are kept on between starts."""

    size: Quantity
    """How much room is asked for."""
    storage_class_name: ObjectName | None = None
    """Its storage class; without one the cluster's default."""
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany"] = "ReadWriteOnce"
    """ReadWriteOnce keeps all replicas on one node; ReadWriteMany lets them run on several."""
    existing_claim: ObjectName | None = None
    """A claim that is there already, whose accessMode is the one said, instead of a new one."""


class PodResources(Section):
    """What a pod's Triton asks for and may use, GPUs aside."""

    requests: dict[str, Quantity] = {}
    """What is set aside for it, by resource."""
    limits: dict[str, Quantity] = {}
    """What it may use at most, by resource."""


class EmbeddingModelOwn(Section):
    """A Triton deployment in this cluster."""

    space: ObjectName
    """The VectorSpace whose vectors it gives; a new space is a new EmbeddingModel."""
    model: Name
    """Folder in the image's model repository that is loaded."""
    engine: Literal["pytorch", "tensorrt"] = "pytorch"
    """What runs the model; tensorrt takes padded batches, so it needs paddedProfiles."""
    image: str | None = Field(None, min_length=1, max_length=512)
    """Triton image; without one that of the installation."""
    gpus: int = Field(1, ge=0, le=16)
    """NVIDIA GPUs of a replica; 0 runs on the CPU."""
    replicas: int = Field(1, ge=0, le=1000)
    """Pods that serve it; an autoscaler sets it through the scale subresource."""
    autoscaling: Autoscaling | None = None
    """What changes replicas; without it they stay as they are set."""
    cache: CacheVolume | None = None
    """Where weights are kept between starts; without it each pod fetches them anew."""
    resources: PodResources = PodResources()
    """Processor and memory of a replica."""
    node_selector: dict[str, str] = {}
    """Labels that a node must have."""
    tolerations: list[dict[str, Any]] = Field([], max_length=32)
    """Taints of nodes that are put up with, as in a pod."""
    env: dict[str, str] = {}
    """Further environment variables of Triton; secrets do not belong here."""


class EmbeddingProviderOwn(Section):
    """A model that somebody else serves."""

    space: ObjectName
    """The VectorSpace whose vectors it gives."""
    api_key_secret: SecretReference
    """Where the provider's key is kept."""


class RouteRule(Section):
    """An exception from the route's strategy; the first rule that holds is taken."""

    name: Name
    """What the rule is called in explanations."""
    when: WhenSettings
    """The requests that it is about."""
    targets: list[TargetReference] | None = Field(None, min_length=1, max_length=32)
    """Some of the route's targets, in an order of their own; without it all."""
    strategy: StrategyName | None = None
    """Another strategy; without it the route's."""


class EmbeddingRouteOwn(Section):
    """A model name that clients ask for."""

    model_name: Name | None = None
    """The name that clients ask for; without it the resource's own."""
    space: ObjectName
    """The VectorSpace that this name stands for; every target must lie in it."""
    targets: list[TargetReference] = Field(min_length=1, max_length=32)
    """Targets of that space; the strategy `priority` tries them in this order."""
    rules: list[RouteRule] = Field([], max_length=64)
    """Exceptions; the first that holds is taken."""


class TenantKey(Section):
    """An API key, known by its hash or by the Secret that holds it."""

    name: Name
    """What the key is called in logs."""
    sha256: Sha256 | None = None
    """SHA-256 of the key in lower-case hexadecimal (`embedway keys new` prints it)."""
    secret: SecretReference | None = None
    """Where the key is kept, instead of its hash."""
    scopes: list[Scope] = Field([Scope.EMBED], max_length=16)
    """What the key may be used for; none of them holds another."""
    tags: dict[Name, str] = {}
    """Words to find it by."""
    expires: AwareDatetime | None = None
    """Time, with its zone, from which the key is refused; without one never."""
    disabled: bool = False
    """Whether the key is refused."""
    quotas: list[QuotaSettings] = Field([], max_length=16)
    """Limits of this key."""


class EmbeddingTenantOwn(Section):
    """Who pays."""

    keys: list[TenantKey] = Field([], max_length=256)
    """The keys that this tenant's clients present."""


PHASES = ("Prepare", "DualServe", "Backfill", "Shadow", "Cutover", "Retain", "Retire")
ROLLED_BACK = "RolledBack"


class Sample(Section):
    """Files `documents.jsonl` and `queries.jsonl`: a JSON string, or an object with `text`, a line.

    Exactly one of the three.
    """

    config_map: ObjectName | None = None
    """A ConfigMap with both files."""
    secret: ObjectName | None = None
    """A Secret with both files."""
    claim: ObjectName | None = None
    """A PersistentVolumeClaim with both files at its root."""


class Measurement(Section):
    """How it is found out whether the new space finds what the old one finds."""

    sample: Sample
    """Documents and queries of one's own, ten documents for each of `k` at least."""
    key_secret: SecretReference
    """Key of a tenant that the migration does not pin, to ask routers with."""
    k: int = Field(10, ge=1, le=100)
    """How many of the best documents of each query are compared."""
    min_overlap: float = Field(0.8, ge=0, le=1)
    """Mean part of them that both spaces must find, before a tenant moves."""
    run: int = Field(1, ge=1)
    """Raise it to measure anew."""


class Cutover(Section):
    """Who has moved."""

    tenants: list[ObjectName] = Field([], max_length=256)
    """Tenants that the new route answers where they ask for the old; who leaves it goes back."""
    everyone: bool = False
    """All tenants, those that come later as well."""


class VectorSpaceMigrationOwn(Section):
    """A move of tenants from one space to another, one phase after the next."""

    from_route: ObjectName
    """EmbeddingRoute of the old space, whose name clients ask for, and go on asking for."""
    to_route: ObjectName
    """EmbeddingRoute of the new space."""
    phase: Literal[
        "Prepare", "DualServe", "Backfill", "Shadow", "Cutover", "Retain", "Retire", "RolledBack"
    ] = "Prepare"
    """The phase that is wished; `status.phase` tells how far what it needs has let it come."""
    backfilled: bool = False
    """Whether the tenants' documents are in their index of the new space: nobody else can know."""
    measurement: Measurement
    """What is measured before any tenant moves."""
    cutover: Cutover = Cutover()
    """Who moves in the phase Cutover."""
    retain_hours: int = Field(168, ge=0, le=8760)
    """Hours that the old space is kept for a way back, once all tenants have moved."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A custom resource: `taken` are fields of a configuration model, `own` are beside them."""

    name: str
    plural: str
    short: str
    own: type[Section]
    model: type[Section]
    taken: tuple[str, ...]
    summary: str


_CALLS = (
    "weight", "timeout_s", "max_inputs_per_call", "max_tokens_per_call", "max_tokens_per_input",
    "max_in_flight_requests", "max_in_flight_tokens", "price_usd_per_million_tokens",
)  # fmt: skip

SPACE = Kind(
    "VectorSpace", "vectorspaces", "vs", VectorSpaceOwn, SpaceSettings,
    tuple(name for name in SpaceSettings.model_fields),
    "A vector space: vectors may be compared only inside one. Its identity never changes.",
)  # fmt: skip
MODEL = Kind(
    "EmbeddingModel", "embeddingmodels", "em", EmbeddingModelOwn, TargetSettings,
    (*_CALLS, "max_call_tokens", "padded_profiles"),
    "A model that this cluster serves with Triton.",
)  # fmt: skip
PROVIDER = Kind(
    "EmbeddingProvider", "embeddingproviders", "ep", EmbeddingProviderOwn, TargetSettings,
    ("upstream", "url", "model", "profile", "body", "canary", *_CALLS),
    "A model that a provider serves.",
)  # fmt: skip
ROUTE = Kind(
    "EmbeddingRoute", "embeddingroutes", "er", EmbeddingRouteOwn, RouteSettings,
    ("strategy", "quotas", "spill_over_s", "hedge_quantile"),
    "A model name that clients ask for, and the targets of one space behind it.",
)  # fmt: skip
TENANT = Kind(
    "EmbeddingTenant", "embeddingtenants", "et", EmbeddingTenantOwn, TenantSettings,
    ("cache", "disabled", "quotas"),
    "Who pays: keys, and the limits of all of them together.",
)  # fmt: skip
MIGRATION = Kind(
    "VectorSpaceMigration", "vectorspacemigrations", "vsm", VectorSpaceMigrationOwn,
    VectorSpaceMigrationOwn, (),
    "A move from one vector space to another, measured before any tenant moves, and reversible.",
)  # fmt: skip
KINDS = (SPACE, MODEL, PROVIDER, ROUTE, TENANT, MIGRATION)
