"""What signing in may ask of records: open one, and say which are someone's."""

from collections.abc import Sequence

from server.errors import NotFound
from server.identity.people import KnownRecord
from server.identity.principal import Person
from server.records.service import Records
from server.storage import directory
from server.storage.engine import Storage


class RecordShelf:
    """identity's RecordBook, kept by records."""

    def __init__(self, storage: Storage, records: Records) -> None:
        self._storage = storage
        self._records = records

    async def open_for(self, person: Person) -> None:
        """Opens the record of a citizen who has proved who they are, unless they have one."""
        await self._records.open_record_for(person)

    async def of_subject(self, subject: str) -> Sequence[KnownRecord]:
        """The one record that is this citizen's own, or none."""
        record_id = await self._storage.look_up(lambda session: directory.record_of_subject(session, subject))
        if record_id is None:
            return []
        try:
            profile = await self._records.profile(record_id)
        except NotFound:
            return []
        return [KnownRecord(record_id=record_id, patient_id=profile.patient_id, name=profile.name)]
