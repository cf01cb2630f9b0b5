"""What the demo needs before the server starts: keys, tables, organisations, integrators and their people."""

from collections.abc import Callable, Iterator

import msgspec

from server.commands.demo_cast import Cast, CastCitizen, CastOrganisation
from server.commands.demo_file import DemoIntegrator
from server.commands.migrate import migrate_database
from server.development.people import keep_people, people_file
from server.identity.clients import Clients, integrator
from server.identity.development_provider import DemoPerson
from server.identity.signing_keys import (
    SigningKey,
    load_signing_key,
    new_signing_key,
    private_jwk,
    write_signing_key,
)
from server.identity.tokens import Jwk
from server.intake.organisations import Organisation, register_organisation
from server.secret_files import FOLDER_MODE, make_missing_secrets
from server.settings import Settings
from server.storage.engine import Storage
from server.storage.keys import KeyFile

INTEGRATOR_ALGORITHM = "ES384"


async def register_cast(settings: Settings, cast: Cast, say: Callable[[str], None]) -> list[DemoIntegrator]:
    """Makes what is missing and registers everyone; the integrators with their private keys."""
    settings.data_folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    for path in make_missing_secrets(settings):
        say(f"made the key {path.name}")
    await migrate_database(settings)
    say("the database is up to date")
    keep_people(people_file(settings), people_of(cast))
    storage = await Storage.open(settings.database_url, KeyFile.open(settings.key_file))
    try:
        return [await _register(settings, storage, one) for one in cast.organisations]
    finally:
        await storage.close()


def people_of(cast: Cast) -> Iterator[DemoPerson]:
    """The cast as the sign-in providers of a development installation know them."""
    for citizen in (*cast.citizens, *cast.refused):
        yield _citizen(citizen)
    for one in cast.professionals:
        yield DemoPerson(
            provider=one.provider,
            subject=one.subject,
            given_name=one.given_name,
            family_name=one.family_name,
            role_code=one.role_code,
            role=one.role,
            organisation=one.organisation,
            organisation_name=one.organisation_name,
        )


def _citizen(citizen: CastCitizen) -> DemoPerson:
    return DemoPerson(
        provider="nhs-login",
        subject=citizen.subject,
        given_name=citizen.given_name,
        family_name=citizen.family_name,
        nhs_number=citizen.nhs_number,
        birth_date=citizen.birth_date,
        proofing_level=citizen.proofing_level,
    )


async def _register(settings: Settings, storage: Storage, sender: CastOrganisation) -> DemoIntegrator:
    await register_organisation(storage, Organisation(organisation=sender.organisation, name=sender.name))
    key = _integrator_key(settings, sender)
    public = msgspec.convert(key.public_jwk(), Jwk)
    clients = Clients(storage, settings.base_url)
    known = await clients.find(sender.client_id)
    if known is None:
        new = integrator(sender.client_id, name=sender.name, organisation=sender.organisation, jwk=public)
        await clients.register(new)
    elif key.kid not in {registered.jwk.kid for registered in known.keys}:
        await clients.rotate(sender.client_id, public, overlap_seconds=0)
    return DemoIntegrator(
        client_id=sender.client_id,
        organisation=sender.organisation,
        jwk=private_jwk(key),
        kid=key.kid,
    )


def _integrator_key(settings: Settings, sender: CastOrganisation) -> SigningKey:
    """The organisation's key, made once. Only a demo holds both sides of a registration."""
    folder = settings.data_folder / "keys"
    folder.mkdir(exist_ok=True, mode=FOLDER_MODE)
    path = folder / f"demo-{sender.client_id}.jwk"
    if not path.exists():
        write_signing_key(path, new_signing_key(INTEGRATOR_ALGORITHM))
    return load_signing_key(path, INTEGRATOR_ALGORITHM)
