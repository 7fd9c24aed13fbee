"""Rules of the custom resources that a schema cannot state, in CEL, by kind and place in `spec`.

A cluster from 1.25 on holds them; an older one leaves them to the operator, whose plan refuses the
same mistakes through the configuration's own models. `oldSelf` makes a rule about changes.
https://kubernetes.io/docs/reference/using-api/cel/
"""

from typing import NamedTuple

from router.config.resources import PHASES, ROLLED_BACK


class Rule(NamedTuple):
    """What must hold, and the sentence of whoever breaks it."""

    holds: str
    message: str


# All that shapes a vector. What is asked of targets (verification, reference) may change.
IDENTITY = (
    "model", "revision", "dimensions", "matryoshka", "maxTokens", "tokenizer", "lowercase",
    "prompts", "defaultInstruction", "providerInputTypes",
)  # fmt: skip
_OPTIONAL = [name for name in IDENTITY if name not in {"model", "dimensions", "maxTokens"}]

_UNCHANGED = Rule(
    "self == oldSelf",
    "belongs to the space's identity: make a new VectorSpace and move to it",
)
_SAME_SPACE = Rule(
    "self == oldSelf",
    "never changes in place: vectors of two spaces cannot be compared; make a new resource",
)
_UNIQUE_TARGETS = Rule(
    "self.all(one, self.exists_one(other, other.kind == one.kind && other.name == one.name))",
    "a target stands twice",
)
_UNIQUE_NAMES = Rule(
    "self.all(one, self.exists_one(other, other.name == one.name))", "a name stands twice"
)
_PLACE = "{" + ", ".join(f"'{phase}': {place}" for place, phase in enumerate(PHASES)) + "}"
_NEXT_PHASE = Rule(
    f"self == oldSelf || (self == '{ROLLED_BACK}' ? oldSelf != '{PHASES[-1]}' "
    f": oldSelf != '{ROLLED_BACK}' && {_PLACE}[self] == {_PLACE}[oldSelf] + 1)",
    "phases follow one another; RolledBack may follow any but Retire, and nothing follows it",
)
_SAME_WAY = Rule("self == oldSelf", "a migration never changes its way: make a new one")
_WHOLE_LIMIT = Rule(
    "self.unit == 'usd' || double(int(self.limit)) == self.limit", "limit must be a whole number"
)

RULES: dict[str, dict[str, list[Rule]]] = {
    "VectorSpace": {
        **{name: [_UNCHANGED] for name in IDENTITY},
        "": [
            Rule(
                " && ".join(f"has(self.{name}) == has(oldSelf.{name})" for name in _OPTIONAL),
                "what belongs to the space's identity can be neither added nor removed",
            ),
            Rule(
                "!has(self.matryoshka) || (1 <= self.matryoshka[0] "
                "&& self.matryoshka[0] <= self.matryoshka[1] "
                "&& self.matryoshka[1] <= self.dimensions)",
                "matryoshka must lie within 1 and dimensions, smallest first",
            ),
            Rule(
                "!has(self.prompts) || self.prompts.all(kind, "
                "self.prompts[kind].contains('{text}') "
                "&& (!self.prompts[kind].contains('{instruction}') "
                "|| has(self.defaultInstruction)))",
                "a prompt needs {text}; one with {instruction} needs defaultInstruction",
            ),
        ],
    },
    "EmbeddingModel": {
        "space": [_SAME_SPACE],
        "": [
            Rule(
                "(self.engine == 'tensorrt') == has(self.paddedProfiles)",
                "the engine tensorrt needs paddedProfiles, and no other takes them",
            ),
        ],
        "autoscaling": [
            Rule("self.minReplicas <= self.maxReplicas", "minReplicas is above maxReplicas"),
            Rule(
                "self.by == 'ScaledObject' ? has(self.prometheusUrl) : self.minReplicas > 0",
                "a ScaledObject needs prometheusUrl; only a ScaledObject scales to 0",
            ),
        ],
    },
    "EmbeddingProvider": {"space": [_SAME_SPACE]},
    "EmbeddingRoute": {
        "space": [_SAME_SPACE],
        "targets": [_UNIQUE_TARGETS],
        "rules": [_UNIQUE_NAMES],
        "rules[].when": [
            Rule("has(self.fromTime) == has(self.toTime)", "fromTime and toTime belong together"),
        ],
        "quotas[]": [_WHOLE_LIMIT],
        "": [
            Rule(
                "!has(self.rules) || self.rules.all(rule, !has(rule.targets) "
                "|| rule.targets.all(one, self.targets.exists(other, "
                "other.kind == one.kind && other.name == one.name)))",
                "a rule names a target that the route does not have",
            ),
        ],
    },
    "VectorSpaceMigration": {
        "fromRoute": [_SAME_WAY],
        "toRoute": [_SAME_WAY],
        "phase": [_NEXT_PHASE],
        "measurement.sample": [
            Rule(
                "(has(self.configMap) ? 1 : 0) + (has(self.secret) ? 1 : 0) "
                "+ (has(self.claim) ? 1 : 0) == 1",
                "give exactly one of configMap, secret, claim",
            ),
        ],
        "cutover.tenants": [
            Rule("self.all(one, self.exists_one(other, other == one))", "a tenant stands twice"),
        ],
        "": [
            Rule("self.fromRoute != self.toRoute", "fromRoute and toRoute are the same"),
        ],
    },
    "EmbeddingTenant": {
        "keys": [_UNIQUE_NAMES],
        "keys[]": [
            Rule("has(self.sha256) != has(self.secret)", "give exactly one of sha256, secret"),
        ],
        "keys[].quotas[]": [_WHOLE_LIMIT],
        "quotas[]": [_WHOLE_LIMIT],
    },
}
