"""Which item a question is about, as it stands in the record, and which organisation is asked."""

from typing import NamedTuple

from fhir_profiles.heads import Head
from fhir_profiles.labels_by_type import OWNER_ONLY_TYPES
from server.corrections.correction import Correction, Target
from server.corrections.rules import Named, Question, named_by
from server.errors import RuleBroken
from server.intake.linked import linked_organisations, organisation_named
from server.intake.organisations import Organisation
from server.storage import feed
from server.storage.session import ReadSession


class Asked(NamedTuple):
    """The item, None when something is missing altogether, and the organisation that is asked."""

    target: Target | None
    organisation: Organisation


def asked_of(session: ReadSession, question: Question) -> Asked:
    """What a question is about; RuleBroken when it can be asked of nobody.

    A question about an item its source hides is refused as one about an item that never was.
    """
    if question.target is None:
        return Asked(None, _chosen(session, question.organisation))
    named = named_by(question.target)
    assert named is not None
    head = _head(session, named)
    if head.source is None or head.resource_type in OWNER_ONLY_TYPES or not head.organisation:
        raise RuleBroken("No organisation sent this item, so there is nobody to ask.", pointer="/target")
    if question.organisation not in {None, head.organisation}:
        raise RuleBroken("Another organisation sent this item.", pointer="/organisation")
    return Asked(_target(head), organisation_named(session, head.organisation))


def standing(session: ReadSession, named: Named) -> Head | None:
    """The live head of an item; None when it is gone, hidden or never was."""
    return feed.current_head(session, session.sealer.item_key(named.resource_type, named.logical_id))


def latest(session: ReadSession, target: Target) -> feed.Current:
    """Where the item in question is now, in whatever state: a row once written stays."""
    found = feed.current(session, session.sealer.item_key(target.resource_type, target.logical_id))
    assert found is not None
    return found


def may_be_named(session: ReadSession, correction: Correction) -> bool:
    """False once the item in question is in the record no more: its source may hide it from the person."""
    target = correction.target
    return target is None or latest(session, target).state == feed.LIVE


def _head(session: ReadSession, named: Named) -> Head:
    """The head of the version a question names: the current one when it names none."""
    unknown = RuleBroken("There is no such item in your record.", pointer="/target")
    current = standing(session, named)
    if current is None:
        raise unknown
    if named.version is None or named.version == current.version:
        return current
    key = session.sealer.item_key(named.resource_type, named.logical_id)
    found = [head for head in feed.versions(session, key) if head.version == named.version]
    if not found:
        raise unknown
    return found[0]


def _target(head: Head) -> Target:
    return Target(
        resource_type=head.resource_type,
        logical_id=head.logical_id,
        version=head.version,
        title=head.title,
        dated=head.dated,
        identifier=next(iter(head.search.get("identifier", ())), ""),
    )


def _chosen(session: ReadSession, code: str | None) -> Organisation:
    linked = linked_organisations(session)
    if code is not None:
        found = [one for one in linked if one.organisation == code]
        if not found:
            raise RuleBroken("You have no link with this organisation.", pointer="/organisation")
        return found[0]
    if len(linked) != 1:
        raise RuleBroken("Say which organisation should add it.", pointer="/organisation")
    return linked[0]
