"""Everybody who ever held a grant of a record, for features that must tell them something."""

from datetime import date

import msgspec

from fhir_profiles.heads import Head
from fhir_profiles.labels_by_type import SUPPORTING_TYPES
from fhir_profiles.slices import Slice, SliceTest
from server.audit.entry import Who
from server.sharing import store
from server.sharing.authorise import who_redeemed
from server.storage.session import ReadSession


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A person who redeemed grants of this record, whether these live or are over, and their slices."""

    who: Who
    slices: tuple[Slice, ...]

    def was_permitted(self, head: Head, today: date) -> bool:
        """Whether one of their grants permits an item with this head, by its labels."""
        return any(_permits(SliceTest(shared, today), head) for shared in self.slices)


def holders(session: ReadSession) -> dict[str, Holder]:
    """The holders by subject, each as they were when they last redeemed."""
    found: dict[str, Holder] = {}
    for grant in store.grants_of(session):
        if grant.redeemer is None or grant.redeemed_at is None:
            continue
        who = who_redeemed(grant.redeemer)
        known = found.get(who.subject)
        if known is None:
            found[who.subject] = Holder(who=who, slices=(grant.slice,))
        else:
            found[who.subject] = Holder(who=known.who, slices=(*known.slices, grant.slice))
    return found


def _permits(shared: SliceTest, head: Head) -> bool:
    """Supporting items are named by no slice: they may be told of when no class of theirs is kept back."""
    if head.resource_type in SUPPORTING_TYPES:
        is_hidden = f"{head.resource_type}/{head.logical_id}" in shared.hidden
        return not is_hidden and shared.has_every_class_ticked(head)
    return shared.names(head)
