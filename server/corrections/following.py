"""Who saw what was wrong, and the notices they get once it is put right (DESIGN section 6).

It is drawn from the index beside the log: whoever was never shown the item is not in it and is told nothing.
"""

from datetime import date
from typing import NamedTuple
from uuid import UUID

import msgspec

from fhir_profiles.heads import Head
from server.audit import seen_index
from server.audit.service import entry_time
from server.corrections.correction import Correction, Target, Told
from server.corrections.sentences import removed_sentence, step_sentence
from server.notices import store as notice_store
from server.notices.notice import Notice, NoticedItem, Patient
from server.notices.sentences import corrected_sentence, item_words
from server.records.service import profile_of
from server.sharing.recipients import Holder, holders
from server.storage import feed
from server.storage.session import ReadSession, WriteSession


class Saw(NamedTuple):
    """What one recipient was shown of the disputed item before it was corrected: `version` is the newest.

    `holder` is None when nobody can be found behind the index any more.
    """

    holder: Holder | None
    version: int
    first_n: int
    last_n: int


def who_saw(session: ReadSession, correction: Correction) -> list[Saw]:
    """Every recipient who was shown the item before the corrected version, in order of first sight.

    The source may have sent other versions after the disputed one: until it says so, none of them is right.
    """
    target, amendment = correction.target, correction.amendment
    if target is None:
        return []
    key = session.sealer.item_key(target.resource_type, target.logical_id)
    known = {
        seen_index.recipient_key(session.sealer, subject): holder
        for subject, holder in holders(session).items()
    }
    found: dict[bytes, Saw] = {}
    for seen in seen_index.versions_seen(session, key):
        if amendment is not None and seen.version >= amendment.version:
            continue
        before = found.get(seen.recipient_key)
        found[seen.recipient_key] = Saw(
            holder=known.get(seen.recipient_key),
            version=seen.version,
            first_n=min(seen.first_n, before.first_n) if before else seen.first_n,
            last_n=max(seen.last_n, before.last_n) if before else seen.last_n,
        )
    return sorted(found.values(), key=lambda saw: saw.first_n)


def tell_recipients(session: WriteSession, correction: Correction, corrected: Head | None) -> Correction:
    """Writes a notice for each recipient who saw what was wrong; the correction, which now names them.

    `corrected` is None when the item was taken out.
    """
    if correction.target is None:
        return correction
    saw = who_saw(session, correction)
    heads = _heads(session, correction.target)
    told: list[Told] = []
    for one in saw:
        if one.holder is not None:
            notice = _notice(session, correction, one, seen=heads.get(one.version), corrected=corrected)
            notice_store.put(session, notice)
            told.append(Told(subject=one.holder.who.subject, notice_id=notice.notice_id))
    return msgspec.structs.replace(correction, told=tuple(told), unreachable=len(saw) - len(told))


def tell_owner(session: WriteSession, correction: Correction) -> None:
    """Writes a notice of the state the correction has come to, for the person who asked."""
    mac = session.sealer.mac("owner-notice", correction.correction_id.bytes, str(len(correction.steps)))
    notice = Notice(
        notice_id=UUID(bytes=mac, version=4),
        kind="correction-moved",
        created_at=session.now,
        sentence=step_sentence(correction, correction.state, is_named=False),
        correction_id=correction.correction_id,
        state=correction.state,
    )
    notice_store.put(session, notice)


def _heads(session: ReadSession, target: Target) -> dict[int, Head]:
    key = session.sealer.item_key(target.resource_type, target.logical_id)
    return {head.version: head for head in feed.versions(session, key)}


def _notice(
    session: WriteSession, correction: Correction, saw: Saw, *, seen: Head | None, corrected: Head | None
) -> Notice:
    assert saw.holder is not None
    who = saw.holder.who
    mac = session.sealer.mac("recipient-notice", correction.correction_id.bytes, who.subject)
    shown = _noticed(seen) if seen is not None else _as_disputed(correction.target, saw.version)
    may_know = corrected is not None and _may_know(saw.holder, corrected, session.now.date())
    item, source = item_words(shown.title, shown.dated), correction.organisation_name
    told = (
        corrected_sentence(item, source=source, may_know=may_know)
        if corrected is not None
        else removed_sentence(item, source=source)
    )
    return Notice(
        notice_id=UUID(bytes=mac, version=4),
        kind="item-corrected",
        created_at=session.now,
        sentence=told,
        correction_id=correction.correction_id,
        to=who,
        patient=_patient(session),
        source=source,
        seen=shown,
        first_seen_at=entry_time(session, saw.first_n),
        last_seen_at=entry_time(session, saw.last_n),
        corrected=_noticed(corrected) if corrected is not None and may_know else None,
        is_removal=corrected is None,
    )


def _may_know(holder: Holder, corrected: Head, today: date) -> bool:
    """The newer version is told only where a grant of theirs permits it: it may have become sensitive."""
    return holder.was_permitted(corrected, today)


def _as_disputed(target: Target | None, version: int) -> NoticedItem:
    """A version that can be read no more, as far as the question itself says what it was."""
    assert target is not None
    if target.version == version:
        return NoticedItem(title=target.title, dated=target.dated)
    return NoticedItem(title=target.resource_type)


def _noticed(head: Head) -> NoticedItem:
    return NoticedItem(title=head.title, dated=head.dated)


def _patient(session: ReadSession) -> Patient:
    profile = profile_of(session)
    return Patient(patient_id=profile.patient_id, name=profile.name, nhs_number=profile.nhs_number)
