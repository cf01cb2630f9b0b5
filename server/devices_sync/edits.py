"""What a mutation of a resource comes to, decided from how things stand. Pure (SYNC 3.4).

The same decision is made before the record is locked, where checking costs nobody's time, and taken under the
lock if the item still stands as it did; otherwise it is made again.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from fhir_profiles import issues
from fhir_profiles.parse import JsonRefused, decode_checked, encode
from fhir_profiles.validate import validate
from server.devices_sync.faults import refused_for
from server.devices_sync.own_resources import Refused, contact_patch, own_resource, require_modest
from server.records.own_items import ItemName, ItemState, NewVersion, gone_version, live_version
from server.records.pulling import SELF_RECORDED_TYPES
from sync.merge import merge
from sync.messages import NO_JSON, Clash, Mutation, Result
from sync.units import moves_back
from sync.values import JsonObject, apply_patch

READ_ONLY = Refused("read-only", "Only the organisation it came from can change this.")
NOT_THERE = Refused("not-found", "There is no such item.")
WAS_ERASED = Refused("erased", "This was erased and cannot come back.")
NO_BASE = Refused("no-base", "Say which version this was made on.")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand: the item, the version the mutation was made on if it can be had, and the time."""

    patient_id: str
    state: ItemState
    base_body: bytes | None
    now: datetime


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a mutation, and the item's next version when there is one."""

    result: Result
    item: NewVersion | None = None


def name_of(mutation: Mutation) -> ItemName:
    """The item it is about."""
    return (mutation.type, mutation.id)


def decide(mutation: Mutation, facts: Facts) -> Decision:
    """What the mutation comes to."""
    try:
        return _STEPS[mutation.op](mutation, facts)
    except Refused as refused:
        # Most refusals are made once: left on one, every traceback would keep the person's words in memory.
        return Decision(result=_rejected(mutation, refused.with_traceback(None)))
    except Exception as error:
        return Decision(result=refused_for(mutation.mid, error))


def needs_base(mutation: Mutation, state: ItemState) -> int | None:
    """The number of the earlier version that deciding will need, when it is not the one that stands."""
    if mutation.op not in {"patch", "replace"} or mutation.base is None:
        return None
    number = mutation.base.version
    return None if state.is_live and number == state.version else number


def _create(mutation: Mutation, facts: Facts) -> Decision:
    state = facts.state
    if mutation.type not in SELF_RECORDED_TYPES:
        raise READ_ONLY
    if state.was_erased:
        raise WAS_ERASED
    resource = own_resource(_object(mutation.body), mutation, facts.patient_id)
    if state.version == 0:
        _require_valid(resource, mutation)
        return _written(mutation, live_version(resource, state.name, 1, facts.now), outcome="applied")
    if not state.is_live:
        return _conflict(mutation, "gone", "This was deleted.", (Clash(path="", mine=resource),))
    if not state.is_own:
        raise READ_ONLY
    theirs = decode_checked(state.body)
    if live_version(resource, state.name, state.version, facts.now).head.content_hash == _hash(state):
        return _unchanged(mutation, state)
    return _conflict(mutation, "exists", "Another item has this id.", (_whole(None, resource, theirs),))


def _change(mutation: Mutation, facts: Facts) -> Decision:
    state = facts.state
    is_contact = mutation.type == "Patient"
    _require_mine(state, facts.patient_id)
    if mutation.base is None:
        raise NO_BASE
    base, mine = _sides(mutation, facts, is_contact=is_contact)
    if not state.is_live:
        return _conflict(mutation, "gone", "This was deleted.", (Clash(path="", base=base, mine=mine),))
    theirs = decode_checked(state.body)
    if base is None:
        detail = "The version this was made on is not here any more."
        return _conflict(mutation, "base-unknown", detail, (_whole(None, mine, theirs),))
    merged = merge(base, mine, theirs)
    if merged.clashes:
        clashes = (*merged.clashes, _whole(base, mine, theirs))
        return _conflict(mutation, "changed", "This was changed in two ways.", clashes)
    if not merged.changed:
        return _unchanged(mutation, state)
    if moves_back(mutation.type, theirs, merged.resource):
        raise Refused("status", "A status does not go back.")
    resource = merged.resource if is_contact else own_resource(merged.resource, mutation, facts.patient_id)
    _require_valid(resource, mutation)
    is_straight = mutation.base.version == state.version
    item = live_version(resource, state.name, state.version + 1, facts.now)
    if item.head.content_hash == _hash(state):
        return _unchanged(mutation, state)
    return _written(mutation, item, outcome="applied" if is_straight else "merged")


def _delete(mutation: Mutation, facts: Facts) -> Decision:
    state = facts.state
    if mutation.type not in SELF_RECORDED_TYPES:
        raise READ_ONLY
    if state.version == 0:
        raise NOT_THERE
    if not state.is_own:
        raise READ_ONLY
    if not state.is_live:
        return _unchanged(mutation, state)
    return _written(mutation, gone_version(state, facts.now), outcome="applied")


_STEPS: dict[str, Callable[[Mutation, Facts], Decision]] = {
    "create": _create,
    "patch": _change,
    "replace": _change,
    "delete": _delete,
}


def _require_mine(state: ItemState, patient_id: str) -> None:
    """Refused unless the person may change this item."""
    if state.name[0] == "Patient":
        if state.name[1] != patient_id:
            raise NOT_THERE
        return
    if state.name[0] not in SELF_RECORDED_TYPES:
        raise READ_ONLY
    if state.version == 0:
        raise NOT_THERE
    if state.was_erased:
        raise WAS_ERASED
    if not state.is_own:
        raise READ_ONLY


def _sides(mutation: Mutation, facts: Facts, *, is_contact: bool) -> tuple[JsonObject | None, JsonObject]:
    """The version the mutation was made on, and what it makes of it."""
    base = decode_checked(facts.base_body) if facts.base_body is not None else None
    if mutation.op == "replace":
        if is_contact:
            raise Refused("read-only", "Of this, only contact details can be changed, with a patch.")
        return base, own_resource(_object(mutation.body), mutation, facts.patient_id)
    patch = _object(mutation.patch)
    if is_contact:
        contact_patch(patch)
    return base, apply_patch(base if base is not None else {}, patch)


def _object(raw: msgspec.Raw) -> dict[str, Any]:
    if not raw:
        raise Refused("unreadable", "The content of this is missing.")
    try:
        content = decode_checked(bytes(raw))
    except (JsonRefused, msgspec.DecodeError):
        raise Refused("unreadable", "The content of this is not a JSON object.") from None
    require_modest(content)
    return content


def _require_valid(resource: dict[str, Any], mutation: Mutation) -> None:
    found = [issue for issue in validate(resource) if issue.severity in {"error", "fatal"}]
    if found:
        outcome = issues.operation_outcome(found, mutation.type)
        raise Refused("invalid", "This is not a resource we can hold.", issue=encode(outcome))


def _hash(state: ItemState) -> bytes:
    assert state.head is not None
    return state.head.content_hash


def _whole(base: Any, mine: Any, theirs: Any) -> Clash:
    """Both sides whole, so that nothing the person wrote is lost."""
    return Clash(path="", base=base, mine=mine, theirs=theirs)


def _written(mutation: Mutation, item: NewVersion, *, outcome: Any) -> Decision:
    body = msgspec.Raw(item.body) if outcome == "merged" else NO_JSON
    result = Result(mid=mutation.mid, outcome=outcome, version=item.version, body=body)
    return Decision(result=result, item=item)


def _unchanged(mutation: Mutation, state: ItemState) -> Decision:
    return Decision(result=Result(mid=mutation.mid, outcome="applied", version=state.version))


def _conflict(mutation: Mutation, code: str, detail: str, clashes: tuple[Clash, ...]) -> Decision:
    result = Result(mid=mutation.mid, outcome="conflict", code=code, detail=detail, conflicts=clashes)
    return Decision(result=result)


def _rejected(mutation: Mutation, refused: Refused) -> Result:
    issue = msgspec.Raw(refused.issue) if refused.issue else NO_JSON
    return Result(mid=mutation.mid, outcome="rejected", code=refused.code, detail=refused.detail, issue=issue)
