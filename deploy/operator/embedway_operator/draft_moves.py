"""Migrations: how far each may go, and which tenants the file pins to its new space.

The file itself remembers who has moved. A pin that no migration speaks of stays: to lose a
migration's resource must not throw tenants back into a space that they have left.
"""

from datetime import datetime, timedelta

from embedway_operator.draft import Draft, Fragment
from embedway_operator.measuring import measurement_name, result_of, waiting_for
from embedway_operator.move import Move, place_of
from embedway_operator.observed import Resource, configuration_hash
from embedway_operator.pinning import Pinning, leads, pins_before
from embedway_operator.pins import Pins
from embedway_operator.specs import own
from embedway_operator.standing import Standings
from router.config.pins import followed
from router.config.resources import MIGRATION, PHASES, ROLLED_BACK

_RETIRE = place_of("Retire")
_LASTING = ("Cutover", "Retain", "Retire")


def draft_moves(draft: Draft, standings: Standings) -> None:
    """Judge every migration, oldest first, and write the pins that follow into tenants."""
    tenants = draft.whole()["tenants"]
    before = pins_before(draft)
    # Of tenants that are gone as well: they may come back, and have the index that they had.
    pins = {name: {**before.get(name, {})} for name in sorted({*tenants, *before})}
    resources = [
        one for one in draft.observed.of_kind("VectorSpaceMigration") if not one.is_deleted
    ]
    names = [one.name for one in resources]
    pinning, until_now = Pinning(pins, names), Pinning(before, names)
    for resource in resources:
        move = _judged(draft, resource, pins)
        draft.moves.append(move)
        if move.is_rolled_back:
            _roll_back(move, until_now, pinning)
        else:
            _advance(draft, move, before, standings)
            _pin(draft, move, pins, pinning, standings)
    for name, its in pins.items():
        # What was kept of a tenant holds the pins of then.
        (draft.sections["tenants"].get(name) or {}).pop("pins", None)
        if its and name in tenants:
            routes = {asked: one.route for asked, one in sorted(its.items())}
            draft.sections["tenants"][name] = {**tenants[name], "pins": routes}
    draft.pins = pins
    for move in draft.moves:
        move.pinned = [name for name in pinning.pinned(move) if name in tenants]


def _judged(draft: Draft, resource: Resource, pins: Pins) -> Move:
    move = Move(resource, own(MIGRATION, resource.spec))
    move.asked = _name(draft, move, "from")
    move.answering = _name(draft, move, "to")
    move.spaces = _space(draft, move.asked), _space(draft, move.answering)
    if move.asked and move.spaces[0] == move.spaces[1] != "":
        move.refuse(
            "SameSpace", f"both routes stand for {move.spaces[0]}: change the route's targets"
        )
    for other in draft.moves:
        if other.asked == move.asked and not other.is_rolled_back and not move.is_rolled_back:
            move.refuse(
                "Conflict",
                f"{other.resource.name} moves tenants from there to {other.answering} already",
            )
    try:
        for its in pins.values():
            routes = {asked: one.route for asked, one in its.items()}
            followed({**routes, move.asked: move.answering})
    except ValueError:
        move.refuse(
            "Circle", f"tenants are pinned from {move.answering} to {move.asked}: roll that back"
        )
    if move.wished == ROLLED_BACK and not move.is_rolled_back:
        move.refuse("Retired", "the old space was retired: there is no way back to it")
    move.measurement = measurement_name(draft.observed.installation, move)
    move.figures, move.failure = result_of(draft.observed, move)
    move.stuck = waiting_for(draft.observed, move)
    return move


def _name(draft: Draft, move: Move, end: str) -> str:
    """What routers call a route of the migration; empty where it was never seen."""
    name = str(move.wish[f"{end}_route"])
    routes = draft.whole()["routes"]
    for verdict in draft.verdicts:
        if verdict.resource.kind == "EmbeddingRoute" and verdict.resource.name == name:
            if verdict.key not in routes:
                move.unresolved.append(f"EmbeddingRoute {name} is not served")
            return verdict.key
    noted = str(move.resource.status.get(f"{end}Name") or name)
    if noted in (draft.base.get("routes") or {}):
        return noted
    kept = noted in routes
    move.unresolved.append(
        f"EmbeddingRoute {name} was deleted, and routers go on with it while this needs it"
        if kept
        else f"EmbeddingRoute {name}"
    )
    # Of one that is over, clients go on asking for the old name.
    return noted if kept or move.is_rolled_back or move.came_to == _RETIRE else ""


def _space(draft: Draft, route: str) -> str:
    whole = draft.whole()
    targets = (whole["routes"].get(route) or {}).get("targets") or []
    return next((str(whole["targets"][one]["space"]) for one in targets), "")


def _roll_back(move: Move, until_now: Pinning, pinning: Pinning) -> None:
    """Take back whom it has moved; it is over when the file has none of them any more."""
    left = until_now.to_take_back(move)
    move.phase = PHASES[move.came_to] if left else ROLLED_BACK
    if left:
        move.waits_for = f"{ROLLED_BACK}: still in the new space: {', '.join(left)}"
    pinning.take_back(move)


def _advance(draft: Draft, move: Move, before: Pins, standings: Standings) -> None:
    """Set its phase: as far as it is wished, and no further than what each phase needs."""
    if move.wished == PHASES[-1] and move.came_to == _RETIRE:
        move.phase = PHASES[-1]
        return
    if not move.accepted:
        move.phase, move.waits_for = PHASES[move.came_to], move.message
        return
    reached, wished = 0, place_of(move.wished)
    for place, phase in enumerate(PHASES[: wished + 1]):
        # One that is wished and stays so for days is not waiting for its own end.
        if place == wished and phase in _LASTING:
            break
        reason = _in_the_way(draft, move, phase, before, standings)
        if reason:
            move.waits_for = f"{phase}: {reason}"
            break
        reached = min(place + 1, wished)
    move.phase = PHASES[reached]


def _in_the_way(  # noqa: PLR0911 - one a phase
    draft: Draft, move: Move, phase: str, before: Pins, standings: Standings
) -> str:
    """Why a phase is not over; empty where it is.

    What a router may cease to say from one moment to the next is asked only until it was so once.
    """
    was_so = place_of(phase) < move.came_to
    if phase == "Backfill":
        return "" if move.wish.get("backfilled") else "spec.backfilled is not true yet"
    if phase == "Shadow":
        return _short_of_overlap(move)
    if was_so:
        return ""
    if phase == "Prepare":
        missing = "; ".join(move.unresolved)
        return missing or ("" if _is_proven(draft, move, standings) else _unproven(move))
    if phase == "DualServe":
        return _not_served(draft, move)
    if phase == "Cutover":
        served = draft.previous.get("tenants") or {}
        left = sorted(name for name in served if not leads(before[name], move))
        stay = f"still in the old space: {', '.join(left)}"
        return stay if left else _not_served(draft, move)
    return _not_retained(draft, move)


def _short_of_overlap(move: Move) -> str:
    if move.is_measured:
        return ""
    if move.figures is not None:
        least = move.wish["measurement"].get("min_overlap", 0.8)
        return f"the recall overlap is {float(move.figures['recall']):.4g}, below {least}"
    return move.failure or move.stuck or "the recall overlap is being measured"


def _unproven(move: Move) -> str:
    return f"no router has found vectors of {move.spaces[1]} at a target of {move.answering} yet"


def _is_proven(draft: Draft, move: Move, standings: Standings) -> bool:
    targets = (draft.whole()["routes"].get(move.answering) or {}).get("targets") or []
    return any(standings.of(one) in {"verified", "untold"} for one in targets)


def _not_served(draft: Draft, move: Move) -> str:
    """Why not every router serves the file until now, with both routes and its pins in it."""
    routes = draft.previous.get("routes") or {}
    ready = [one for one in draft.observed.routers if one.is_ready]
    wanted = configuration_hash(draft.previous_text or "")
    late = [one.pod for one in ready if one.hash != wanted]
    if not ready:
        return "no router is ready"
    if late:
        return f"not served yet by {', '.join(late)}"
    missing = [name for name in (move.asked, move.answering) if name not in routes]
    return f"not in the configuration yet: {', '.join(missing)}" if missing else ""


def _not_retained(draft: Draft, move: Move) -> str:
    status = move.resource.status
    if status.get("phase") != "Retain":
        return "the time for a way back has not begun"
    since = datetime.fromisoformat(str(status["since"]))
    until = since + timedelta(hours=int(move.wish.get("retain_hours", 168)))
    if datetime.fromisoformat(draft.observed.now) >= until:
        return ""
    return f"the old space is kept for a way back until {until.strftime('%Y-%m-%dT%H:%M:%SZ')}"


def _pin(draft: Draft, move: Move, pins: Pins, pinning: Pinning, standings: Standings) -> None:
    """Who is listed; they are pinned as far as the migration has come."""
    if not move.accepted or move.phase not in _LASTING:
        return
    cutover: Fragment = move.wish.get("cutover") or {}
    everyone, listed = bool(cutover.get("everyone")), set(cutover.get("tenants") or [])
    tenants = draft.whole()["tenants"]
    move.listed = sorted(name for name in tenants if everyone or name in listed)
    move.unresolved += [f"EmbeddingTenant {name}" for name in sorted(listed - tenants.keys())]
    pinning.put(move, pins if everyone else listed, may_go=_is_proven(draft, move, standings))
