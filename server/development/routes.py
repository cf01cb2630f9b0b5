"""Development only: sign-in providers with made-up people, and calls that make up more."""

from collections.abc import Callable
from datetime import date

from litestar import Router, post
from litestar.di import NamedDependency, Provide
from litestar.handlers import asgi
from litestar.params import JSONBody

from fhir_profiles.identifiers import is_nhs_number
from server.development.people import DemoPeople
from server.development.wire import TEXT_CHARACTERS_MAX, AddedPerson, NewAlias, NewPerson
from server.errors import RuleBroken
from server.http.access import Access, route_opt
from server.identity.development_provider import MOUNT_PATH, DemoPerson
from server.intake.links import accept_alias
from server.storage.engine import Storage

TEST_RANGE = "999"


def development_router(people: DemoPeople) -> Router:
    """The development-only routes. The application adds them when its settings say development."""
    pages = asgi(MOUNT_PATH, is_mount=True, copy_scope=True, opt=route_opt(Access.PUBLIC, query="*"))(
        people.pages()  # type: ignore[arg-type]
    )
    provide_people: Callable[[], DemoPeople] = lambda: people  # noqa: E731
    return Router(
        path="/",
        route_handlers=[add_person, add_alias, pages],
        dependencies={"people": Provide(provide_people, sync_to_thread=False)},
    )


@post("/development/people", opt=route_opt(Access.PUBLIC), operation_id="addDemoPerson", sync_to_thread=False)
def add_person(data: JSONBody[NewPerson], people: NamedDependency[DemoPeople]) -> AddedPerson:
    """Adds a made-up citizen, who can sign in from now on. The same person again changes nothing."""
    _judge(data)
    given_name, _, family_name = data.name.strip().rpartition(" ")
    person = people.add(
        DemoPerson(
            provider="nhs-login",
            subject=f"person-{data.nhs_number}",
            given_name=given_name,
            family_name=family_name,
            nhs_number=data.nhs_number,
            birth_date=data.birth_date,
        )
    )
    return AddedPerson(
        subject=person.held_subject,
        name=person.name,
        nhs_number=data.nhs_number,
        birth_date=data.birth_date,
    )


@post("/development/aliases", opt=route_opt(Access.PUBLIC), operation_id="addDemoAlias", status_code=204)
async def add_alias(data: JSONBody[NewAlias], storage: NamedDependency[Storage]) -> None:
    """Lets an organisation use an identifier of its own for the person, as its link's paperwork would."""
    await accept_alias(storage, data.record_id, data.organisation, data.system, data.value)


def _judge(data: NewPerson) -> None:
    if not is_nhs_number(data.nhs_number) or not data.nhs_number.startswith(TEST_RANGE):
        raise RuleBroken("A made-up person needs an NHS number of the test range 999.", pointer="/nhs_number")
    if not data.name.strip() or len(data.name) > TEXT_CHARACTERS_MAX:
        raise RuleBroken("Give the person a name.", pointer="/name")
    try:
        date.fromisoformat(data.birth_date)
    except ValueError:
        raise RuleBroken("The date of birth must be a date.", pointer="/birth_date") from None
