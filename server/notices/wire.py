"""The shapes of notices as they travel."""

import msgspec

from server.http.times import to_wire
from server.notices.notice import Notice, NoticedItem, NoticeKind, Patient


class NoticeAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One notice, for the person it is for."""

    notice_id: str
    kind: NoticeKind
    at: str
    sentence: str
    correction_id: str | None = None
    state: str | None = None
    patient: Patient | None = None
    source: str | None = None
    seen: NoticedItem | None = None
    first_seen_at: str | None = None
    last_seen_at: str | None = None
    corrected: NoticedItem | None = None
    told_at: str | None = None
    read_at: str | None = None


class NoticeList(msgspec.Struct, frozen=True, omit_defaults=True):
    """Notices, newest first. `next_after` is what to ask for as `after` when there are more."""

    notices: list[NoticeAnswer]
    next_after: str | None = None


def notice_answer(notice: Notice) -> NoticeAnswer:
    """A notice as it travels. The id of the correction is the citizen's alone."""
    is_owners = notice.to is None
    return NoticeAnswer(
        notice_id=str(notice.notice_id),
        kind=notice.kind,
        at=to_wire(notice.created_at),
        sentence=notice.sentence,
        correction_id=str(notice.correction_id) if is_owners else None,
        state=notice.state,
        patient=notice.patient,
        source=notice.source or None,
        seen=notice.seen,
        first_seen_at=to_wire(notice.first_seen_at) if notice.first_seen_at else None,
        last_seen_at=to_wire(notice.last_seen_at) if notice.last_seen_at else None,
        corrected=notice.corrected,
        told_at=to_wire(notice.told_at) if notice.told_at else None,
        read_at=to_wire(notice.read_at) if notice.read_at else None,
    )
