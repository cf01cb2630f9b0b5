"""What a change to a grant writes, at one moment: its row, its Consent in the feed, a line in the log."""

from collections.abc import Callable
from datetime import datetime

from fhir_profiles import served
from fhir_profiles.heads import Head
from fhir_profiles.parse import encode
from server.audit import service as audit
from server.audit.entry import Kind, LogEntry, Who
from server.http.times import to_wire
from server.sharing import store
from server.sharing.consent import stamped_consent
from server.sharing.grant import Grant
from server.storage import feed
from server.storage.session import WriteSession


def enter(session: WriteSession, grant: Grant, patient_id: str, entry: LogEntry) -> None:
    """Writes a new grant. The caller holds the record's lock."""
    store.add_grant(session, grant)
    _tell(session, grant, patient_id, entry)


def replace(session: WriteSession, grant: Grant, patient_id: str, entry: LogEntry) -> None:
    """Writes the next version of a grant. The caller holds the record's lock."""
    store.replace_grant(session, grant)
    _tell(session, grant, patient_id, entry)


def line(kind: Kind, who: Who, grant: Grant, sentence: str) -> LogEntry:
    """A line of the log about a grant."""
    return LogEntry(
        kind=kind,
        who=who,
        sentence=sentence,
        grant_id=grant.grant_id,
        grant_version=grant.version,
        purpose=grant.purpose,
        reason=grant.end_reason if kind == "end" else grant.reason,
    )


def _tell(session: WriteSession, grant: Grant, patient_id: str, entry: LogEntry) -> None:
    # The log's head is locked last: readers wait for nothing else of a writer (DESIGN wall 2).
    logical_id = str(grant.grant_id)
    item = feed.FeedItem(
        resource_type="Consent", logical_id=logical_id, render=_consent_version(grant, patient_id)
    )
    feed.put(session, [item])
    audit.add(session, entry)


def _consent_version(grant: Grant, patient_id: str) -> Callable[[int, datetime], tuple[Head, bytes]]:
    def render(version: int, now: datetime) -> tuple[Head, bytes]:
        last_updated = to_wire(now)
        resource = stamped_consent(grant, patient_id, version, last_updated)
        return served.head_of(resource, version=version, last_updated=last_updated), encode(resource)

    return render
