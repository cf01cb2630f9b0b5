"""What one principal may do with one record, decided and frozen."""

from collections.abc import Callable
from typing import Literal
from uuid import UUID

import msgspec

from fhir_profiles.slices import Slice
from server.audit.entry import Who
from server.identity.principal import Principal
from server.sharing import rules, store
from server.storage.session import ReadSession


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking, whose record it is, and which slice of it is open to them.

    `slice` is None for the owner, who has the whole. `types` are the resource types that the token's scope
    leaves; None leaves every type of the slice. `device_id` is the owner's phone whose key the token is bound
    to.
    """

    principal: Principal
    record_id: UUID
    who: Who
    relation: Literal["owner", "recipient"]
    slice: Slice | None = None
    grant_id: UUID | None = None
    grant_version: int | None = None
    purpose: str | None = None
    types: frozenset[str] | None = None
    device_id: UUID | None = None

    def reaches(self, resource_type: str) -> bool:
        """True unless the token's scope leaves this type out."""
        return self.types is None or resource_type in self.types

    @property
    def still_live(self) -> Callable[[ReadSession], bool] | None:
        """What the log asks before it takes an entry; None for the owner, whose access does not end."""
        if self.grant_id is None or self.grant_version is None:
            return None
        return grant_is_live(self.grant_id, self.grant_version)


def grant_is_live(grant_id: UUID, version: int) -> Callable[[ReadSession], bool]:
    """A question to a session: is the grant live, at this version, by the session's clock?"""

    def is_live(session: ReadSession) -> bool:
        grant = store.grant_of(session, grant_id)
        return grant is not None and rules.is_live(grant, version, session.now)

    return is_live
