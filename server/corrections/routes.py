"""The corrections of a record's owner: /records/{record_id}/corrections."""

from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from server.corrections.presenting import correction_answer
from server.corrections.service import Corrections
from server.corrections.wire import (
    CorrectionAnswer,
    CorrectionList,
    Disagreement,
    NewCorrection,
    NewMessage,
    Withdrawal,
)
from server.errors import RuleBroken
from server.http.access import Access, route_opt
from server.identity.principal import Principal
from server.sharing.authorise import authorise_owner
from server.storage.engine import Storage

_CORRECTIONS = "/records/{record_id:uuid}/corrections"
_CORRECTION = _CORRECTIONS + "/{correction_id:uuid}"
MID_CHARACTERS_MAX = 64


@post(_CORRECTIONS, opt=route_opt(Access.OWNER), operation_id="questionItem")
async def question_item(
    *,
    record_id: FromPath[UUID],
    data: JSONBody[NewCorrection],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    corrections: NamedDependency[Corrections],
) -> CorrectionAnswer:
    """Says what is wrong with an item, or what is missing. The item is marked at once, for every reader."""
    authority = await authorise_owner(storage, principal, record_id)
    if data.mid is not None and not 0 < len(data.mid) <= MID_CHARACTERS_MAX:
        raise RuleBroken(f"A mid has 1 to {MID_CHARACTERS_MAX} characters.", pointer="/mid")
    correction_id = await corrections.new_id(record_id, data.mid)
    command = await corrections.prepare_question(authority, correction_id, data.question())
    await corrections.run(record_id, command)
    return correction_answer(await corrections.one(record_id, correction_id))


@get(_CORRECTIONS, opt=route_opt(Access.OWNER), operation_id="listCorrections")
async def list_corrections(
    own_record_id: NamedDependency[UUID], corrections: NamedDependency[Corrections]
) -> CorrectionList:
    """What was questioned, what became of it, and who has been told."""
    return CorrectionList([correction_answer(each) for each in await corrections.every(own_record_id)])


@post(_CORRECTION + "/message", status_code=200, opt=route_opt(Access.OWNER), operation_id="addMessage")
async def add_message(
    *,
    record_id: FromPath[UUID],
    correction_id: FromPath[UUID],
    data: JSONBody[NewMessage],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    corrections: NamedDependency[Corrections],
) -> CorrectionAnswer:
    """Adds a message to a request that is open."""
    authority = await authorise_owner(storage, principal, record_id)
    command = await corrections.prepare_message(authority, correction_id, data.text)
    await corrections.run(record_id, command)
    return correction_answer(await corrections.one(record_id, correction_id))


@post(_CORRECTION + "/withdraw", status_code=200, opt=route_opt(Access.OWNER), operation_id="withdraw")
async def withdraw(
    *,
    record_id: FromPath[UUID],
    correction_id: FromPath[UUID],
    data: JSONBody[Withdrawal],  # noqa: ARG001 - read so that an unknown field is refused.
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    corrections: NamedDependency[Corrections],
) -> CorrectionAnswer:
    """Takes a request back, unless its source has decided."""
    authority = await authorise_owner(storage, principal, record_id)
    command = await corrections.prepare_withdraw(authority, correction_id)
    await corrections.run(record_id, command)
    return correction_answer(await corrections.one(record_id, correction_id))


@post(_CORRECTION + "/disagree", opt=route_opt(Access.OWNER), operation_id="disagree")
async def disagree(
    *,
    record_id: FromPath[UUID],
    correction_id: FromPath[UUID],
    data: JSONBody[Disagreement],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    corrections: NamedDependency[Corrections],
) -> CorrectionAnswer:
    """Says why a refusal is wrong. That stands beside the item from then on."""
    authority = await authorise_owner(storage, principal, record_id)
    command = await corrections.prepare_disagree(authority, correction_id, data.statement)
    await corrections.run(record_id, command)
    return correction_answer(await corrections.one(record_id, correction_id))


CORRECTION_ROUTES = (question_item, list_corrections, add_message, withdraw, disagree)
