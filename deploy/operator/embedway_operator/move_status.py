"""What is said of a migration."""

from embedway_operator.conditions import Acknowledgement, Condition, dated, serving
from embedway_operator.move import Move
from embedway_operator.observed import Object

_SAID = 500


def move_status(move: Move, acknowledgement: Acknowledgement, now: str, trouble: str) -> Object:
    """Its whole status; `trouble` says why its measurement could not be begun, or is empty."""
    resource, before = move.resource, move.resource.status
    program, marks = serving(resource, [move.asked, move.answering, move.pinned], acknowledgement)
    is_served = program.status == "True"
    moved = [one for one in move.pinned if is_served or one in before.get("pinnedTenants", [])]
    conditions = [
        Condition(
            "Accepted", "True" if move.accepted else "False", move.reason, move.message[:_SAID]
        ),
        _resolved(move),
        _measured(move),
        program,
        _ready(move, program, trouble),
    ]
    status: Object = {
        "observedGeneration": resource.generation,
        **marks,
        "phase": move.phase,
        "since": before.get("since", now) if before.get("phase") == move.phase else now,
        "pinnedTenants": moved,
        "pendingTenants": sorted({*move.listed, *move.pinned} - set(moved)),
    }
    # A name that was known once is kept: it is how the route is found when its resource is gone.
    for name, value in (("fromName", move.asked), ("toName", move.answering)):
        if known := value or before.get(name):
            status[name] = known
    if figures := move.figures or before.get("overlap"):
        status["overlap"] = figures
    status["conditions"] = dated(resource, conditions, now)
    return status


def _resolved(move: Move) -> Condition:
    if move.unresolved:
        return Condition("ResolvedRefs", "False", "NotFound", "; ".join(move.unresolved)[:_SAID])
    return Condition("ResolvedRefs", "True", "Resolved", "all that it refers to is there")


def _measured(move: Move) -> Condition:
    if move.figures is not None:
        told = f"of what one space finds the other finds {float(move.figures['recall']):.4g}"
        if move.is_measured:
            return Condition("Measured", "True", "Measured", told)
        return Condition("Measured", "False", "OverlapTooLow", f"{told}: too few to move")
    if move.failure is not None:
        return Condition("Measured", "False", "MeasurementFailed", move.failure[:_SAID])
    if move.stuck is not None:
        return Condition("Measured", "Unknown", "PodWaits", move.stuck[:_SAID])
    return Condition("Measured", "Unknown", "NotMeasured", "there is no result yet")


def _ready(move: Move, program: Condition, trouble: str) -> Condition:
    """Whether it has come as far as it is wished, on every router."""
    for is_so, reason, message in (
        (not move.accepted, move.reason, move.message),
        (bool(trouble), "ObjectsNotMade", trouble),
        (bool(move.waits_for), "Waiting", move.waits_for),
        (bool(set(move.listed) - set(move.pinned)), "Waiting", "tenants wait for the new space"),
        (program.status != "True", program.reason, program.message),
    ):
        if is_so:
            return Condition("Ready", "False", reason, message[:_SAID])
    return Condition("Ready", "True", "Ready", f"it has come to {move.phase}")
