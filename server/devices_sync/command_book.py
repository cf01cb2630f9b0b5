"""Which command of a phone does what: grants by `Consent`, corrections by `Task` (SYNC 3.4)."""

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from server.corrections.correction import Correction
from server.corrections.service import Corrections
from server.corrections.wire import NewCorrection, NewMessage, Withdrawal
from server.devices_sync.commands import Call, CommandBook, Prepared, Told
from server.errors import NotFound, RuleBroken
from server.http.times import to_wire
from server.sharing import asking, presenting
from server.sharing.grant import Grant
from server.sharing.offering import Offered
from server.sharing.receipts import Receipt
from server.sharing.service import Sharing
from server.sharing.wire import Ended, EndGrant, ExtendGrant, NarrowGrant, NewGrant

Args = TypeVar("Args")

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class AskedCorrection(msgspec.Struct, frozen=True, kw_only=True):
    """What a command on a correction answers; its Task and messages come with the feed."""

    correction_id: str
    state: str
    due_at: str
    sentence: str


def command_book(sharing: Sharing, corrections: Corrections, *, base_url: str) -> CommandBook:
    """Every command there is."""
    grants, asking_for = GrantCommands(sharing, base_url), CorrectionCommands(corrections)
    return {
        ("Consent", "grant"): grants.offer,
        ("Consent", "extend"): grants.extend,
        ("Consent", "narrow"): grants.narrow,
        ("Consent", "end"): grants.end,
        ("Task", "question"): asking_for.question,
        ("Task", "message"): asking_for.message,
        ("Task", "withdraw"): asking_for.withdraw,
    }


class GrantCommands:
    """What a person does with grants while offline."""

    def __init__(self, sharing: Sharing, base_url: str) -> None:
        self._sharing = sharing
        self._base_url = base_url

    async def offer(self, call: Call) -> Prepared:
        """A new grant under the id the phone chose. Its code is told once and kept nowhere."""
        terms = asking.terms_of(_args(call, NewGrant))
        grant_id = _new_id(call)
        command = await self._sharing.prepare_offer(call.authority, terms, grant_id, call.now)
        return Prepared(command, self._tell_offer)

    async def extend(self, call: Call) -> Prepared:
        """Longer, from the version the person saw."""
        asked = _args(call, ExtendGrant)
        command = await self._sharing.prepare_extend(
            call.authority, _id(call), asked.base_version, asking.end_of(asked.ends_at)
        )
        return Prepared(command, self._tell_grant)

    async def narrow(self, call: Call) -> Prepared:
        """Less, or for less long: whatever else was done, it holds."""
        asked = asking.narrowing_of(_args(call, NarrowGrant))
        return Prepared(
            await self._sharing.prepare_narrow(call.authority, _id(call), asked), self._tell_grant
        )

    async def end(self, call: Call) -> Prepared:
        """Over, whatever else was done."""
        reason = asking.reason_of(_args(call, EndGrant).reason)
        return Prepared(await self._sharing.prepare_end(call.authority, _id(call), reason), _tell_receipt)

    def _tell_offer(self, offered: Offered) -> Told:
        shown = presenting.offered_view(offered.grant, offered.offer, self._base_url)
        kept = presenting.offered_view(offered.grant, None, self._base_url)
        return Told(msgspec.json.encode(shown), msgspec.json.encode(kept))

    def _tell_grant(self, grant: Grant) -> Told:
        return _same(presenting.offered_view(grant, None, self._base_url))


class CorrectionCommands:
    """What a person says, while offline, of what is wrong."""

    def __init__(self, corrections: Corrections) -> None:
        self._corrections = corrections

    async def question(self, call: Call) -> Prepared:
        """A new correction under the id the phone chose."""
        question = _args(call, NewCorrection).question()
        command = await self._corrections.prepare_question(call.authority, _new_id(call), question)
        return Prepared(command, _tell_correction)

    async def message(self, call: Call) -> Prepared:
        """One more message to the source."""
        text = _args(call, NewMessage).text
        command = await self._corrections.prepare_message(call.authority, _id(call), text)
        return Prepared(command, _tell_correction)

    async def withdraw(self, call: Call) -> Prepared:
        """Takes a correction back."""
        _args(call, Withdrawal)
        command = await self._corrections.prepare_withdraw(call.authority, _id(call))
        return Prepared(command, _tell_correction)


def _tell_correction(correction: Correction) -> Told:
    return _same(
        AskedCorrection(
            correction_id=str(correction.correction_id),
            state=correction.state,
            due_at=to_wire(correction.due_at),
            sentence=correction.steps[-1].sentence,
        )
    )


def _tell_receipt(receipt: Receipt) -> Told:
    return _same(Ended(receipt))


def _same(answer: Any) -> Told:
    encoded = msgspec.json.encode(answer)
    return Told(encoded, encoded)


def _args(call: Call, kind: Callable[..., Args]) -> Args:
    """The args without the command's name, as strictly read as the body of the same call of the API."""
    members = {name: raw for name, raw in _MEMBERS.decode(call.args).items() if name != "command"}
    try:
        return msgspec.json.decode(msgspec.json.encode(members), type=kind)
    except msgspec.ValidationError:
        raise RuleBroken("The args are not those of this command.", pointer="/args") from None


def _id(call: Call) -> UUID:
    try:
        return UUID(call.mutation.id)
    except ValueError:
        raise NotFound from None


def _new_id(call: Call) -> UUID:
    found = _id(call)
    if str(found) != call.mutation.id:
        raise RuleBroken("The id is not a UUID in small letters.", pointer="/id")
    return found
