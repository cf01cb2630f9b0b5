"""The organisations a record is or was linked with, for features above intake."""

from server.intake import store
from server.intake.organisations import Organisation
from server.storage.session import ReadSession


def linked_organisations(session: ReadSession) -> list[Organisation]:
    """The organisations that may send now, by name."""
    linked = [
        Organisation(organisation=link.organisation, name=link.name)
        for link in store.links(session)
        if link.state == "accepted"
    ]
    return sorted(linked, key=lambda one: (one.name, one.organisation))


def organisation_named(session: ReadSession, code: str) -> Organisation:
    """An organisation that sends or once sent, by the name its link has; by its code when it has none."""
    link = store.link(session, code)
    return Organisation(organisation=code, name=link.name if link is not None else code)
