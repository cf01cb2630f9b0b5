"""The first half of the one door: may this principal reach this record, and how much of it (DESIGN wall 3)?

The grant's row is read each time, by key, with its version (THREATS rule 7). Everybody else gets one face.
"""

from typing import NamedTuple
from uuid import UUID

from server.audit import service as audit
from server.audit.entry import LogEntry, Who
from server.errors import NotFound, NotSignedIn
from server.identity.devices import require_live_key
from server.identity.people import person
from server.identity.principal import Person, Principal
from server.sharing import rules, sentences, store
from server.sharing.authority import Authority
from server.sharing.grant import Grant, Redeemer
from server.sharing.scopes import types_of
from server.storage import directory
from server.storage.directory_devices import DeviceOfKey, device_of_key
from server.storage.engine import Storage
from server.storage.sealing import Sealer
from server.storage.session import DirectoryReads, ReadSession

# A client that does not notice the end of its access may ask many times a second; the citizen needs one line.
DENIED_LINE_SECONDS = 60


async def authorise(storage: Storage, principal: Principal, record_id: UUID) -> Authority:
    """What the principal may see of the record.

    NotSignedIn to the holder of a grant that is over or has changed, DeviceEnded to a phone of the owner's
    whose access was ended, NotFound to everybody else.
    """
    if principal.record_id != record_id:
        raise NotFound
    if principal.kind == "citizen" and principal.grant_id is None:
        return await _owner(storage, principal, record_id)
    if principal.kind == "professional" and principal.grant_id is not None:
        return await _recipient(storage, principal, record_id, principal.grant_id)
    raise NotFound


async def authorise_owner(storage: Storage, principal: Principal, record_id: UUID) -> Authority:
    """As authorise, for what only the record's owner may do."""
    authority = await authorise(storage, principal, record_id)
    if authority.relation != "owner":
        raise NotFound
    return authority


def who_redeemed(redeemer: Redeemer) -> Who:
    """The professional as log entries name them: as they were when they used the offer."""
    return Who(
        subject=redeemer.subject,
        name=redeemer.name,
        role=redeemer.role or None,
        organisation=redeemer.organisation_name or redeemer.organisation or None,
        assurance=redeemer.assurance,
    )


async def _owner(storage: Storage, principal: Principal, record_id: UUID) -> Authority:
    def look(session: DirectoryReads) -> tuple[UUID | None, Person | None, DeviceOfKey | None]:
        own = directory.record_of_subject(session, principal.subject)
        return own, person(session, principal.subject), device_of_key(session, principal.jkt)

    own_record_id, known, device = await storage.look_up(look)
    if own_record_id != record_id:
        raise NotFound
    if device is not None:
        require_live_key(device)
    who = Who(
        subject=principal.subject,
        name=known.name if known else "",
        assurance=known.assurance if known else "",
    )
    device_id = device.device_id if device is not None and device.record_id == record_id else None
    return Authority(principal=principal, record_id=record_id, who=who, relation="owner", device_id=device_id)


class _Judged(NamedTuple):
    """The holder's grant as it stands, and whether it opens anything now."""

    grant: Grant
    is_live: bool
    is_over: bool
    sealer: Sealer


async def _recipient(storage: Storage, principal: Principal, record_id: UUID, grant_id: UUID) -> Authority:
    version = principal.grant_version or 0

    def judge(session: ReadSession) -> _Judged | None:
        grant = store.grant_of(session, grant_id)
        if grant is None or not rules.holds(grant, principal.subject, principal.jkt):
            return None
        return _Judged(
            grant=grant,
            is_live=rules.is_live(grant, version, session.now),
            is_over=rules.is_over(grant, session.now),
            sealer=session.sealer,
        )

    judged = await storage.read(record_id, judge)
    if judged is None or judged.grant.redeemer is None:
        raise NotFound
    who = who_redeemed(judged.grant.redeemer)
    if not judged.is_live:
        if judged.is_over:
            await _log_refusal(storage, record_id, judged, who)
        raise NotSignedIn("This token no longer opens anything.")
    return Authority(
        principal=principal,
        record_id=record_id,
        who=who,
        relation="recipient",
        slice=judged.grant.slice,
        grant_id=grant_id,
        grant_version=version,
        purpose=judged.grant.purpose,
        types=types_of(principal.scope),
    )


async def _log_refusal(storage: Storage, record_id: UUID, judged: _Judged, who: Who) -> None:
    once = judged.sealer.mac("denied-line", judged.grant.grant_id.bytes)
    if not await storage.spend_identifier(once, DENIED_LINE_SECONDS):
        return
    entry = LogEntry(
        kind="denied",
        who=who,
        sentence=sentences.too_late_line(sentences.who_slots(judged.grant)),
        grant_id=judged.grant.grant_id,
        grant_version=judged.grant.version,
        purpose=judged.grant.purpose,
    )
    await audit.append(storage, record_id, entry)
