"""Records with logs, for the tests of the access log."""

from uuid import UUID, uuid4

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.audit import service
from server.audit.entry import LogEntry, Who
from server.audit.signer import LogSigner
from server.storage.directory_tables import SubjectRecordRow
from server.storage.engine import Storage

SIGNER = LogSigner("held.example.org/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
DR_PATEL = Who(subject="cis2:555", name="Dr Asha Patel", role="GP", organisation="Beeston Practice")


def reading(grant_id: UUID | None = None, *items: tuple[str, str, str]) -> LogEntry:
    return LogEntry(
        kind="read",
        who=DR_PATEL,
        sentence="Dr Asha Patel (GP, Beeston Practice) read one of your results.",
        grant_id=grant_id,
        grant_version=1 if grant_id else None,
        purpose="TREAT",
        items=items or (("Observation", "1", "3"),),
    )


async def record_with_log(storage: Storage, entries: int = 0) -> UUID:
    """A record in the directory, with this many entries in its log."""
    record_id = uuid4()
    await storage.create_record(record_id, lambda session: None)
    row = {"subject_mac": record_id.bytes, "record_id": record_id}
    await storage.register(lambda session: session.execute(sa.insert(SubjectRecordRow), row).close())

    def fill(session: service.WriteSession) -> None:
        for _ in range(entries):
            service.add(session, reading())

    await storage.write(record_id, fill)
    return record_id
