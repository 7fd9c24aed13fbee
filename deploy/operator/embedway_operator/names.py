"""What an installation's objects are called; the chart counts on the same names."""

from dataclasses import dataclass

MANAGER = "embedway-operator"
CONFIG_KEY = "embedway.yaml"
# Which resource each part of the configuration came from: its uid by `section/name`.
ORIGINS_KEY = "origins.json"
# Where tenants are pinned to, and by which migration.
PINS_KEY = "pins.json"
BASE_KEY = "base.yaml"
TEMPLATE_KEY = "triton-pod.yaml"
OVERLAP_TEMPLATE_KEY = "overlap-pod.yaml"
SECRETS_FOLDER = "/etc/embedway/secrets"
MODEL_LABEL = "embedway.dev/model"
MEASUREMENT_LABEL = "embedway.dev/measurement"
APPLIED = "embedway.dev/applied"
TRITON_GRPC_PORT = 8001


@dataclass(frozen=True, slots=True)
class Installation:
    """One release of the chart in one namespace, and what it asks of every model's objects.

    `min_ready_s` are the seconds that a new pod has to serve before a roll goes on.
    """

    namespace: str
    release: str
    min_ready_s: int = 0
    has_disruption_budgets: bool = True

    @property
    def config(self) -> str:
        """ConfigMap that routers mount."""
        return f"{self.release}-router-config"

    @property
    def secrets(self) -> str:
        """Secret that routers mount."""
        return f"{self.release}-router-secrets"

    @property
    def base(self) -> str:
        """ConfigMap with what the chart's values say of routers."""
        return f"{self.release}-router-base"

    @property
    def templates(self) -> str:
        """ConfigMap with the pod of a model."""
        return f"{self.release}-operator-templates"

    @property
    def lease(self) -> str:
        """Lease of the operator that leads."""
        return f"{self.release}-operator"

    def workload(self, model: str) -> str:
        """What all objects of a model are called."""
        return f"{self.release}-triton-{model}"

    def labels(self, component: str) -> dict[str, str]:
        """Labels that select a component's pods."""
        return {
            "app.kubernetes.io/name": "embedway",
            "app.kubernetes.io/instance": self.release,
            "app.kubernetes.io/component": component,
        }

    def selector(self, component: str) -> str:
        """The same as a label selector."""
        return ",".join(f"{name}={value}" for name, value in self.labels(component).items())


def target_name(kind: str, name: str) -> str:
    """What routers call a target; it may also stand in a label, which autoscalers choose by."""
    return f"{'model' if kind == 'EmbeddingModel' else 'provider'}.{name}"
