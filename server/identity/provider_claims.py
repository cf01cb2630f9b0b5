"""Pure rules: what must be true of a provider's claims before someone is let in (STANDARDS section 7).

NHS login: https://nhsconnect.github.io/nhslogin/ · CIS2: selected role of the user's national roles.
"""

from datetime import date
from typing import Any

import msgspec

from fhir_profiles.identifiers import is_nhs_number
from server.identity.principal import Person
from server.identity.providers import Provider

PROOFING_LEVEL = "P9"
NAME_CHARACTERS_MAX = 200


class SignInRefused(Exception):
    """We could not sign you in."""


class NhsLoginClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What NHS login says of a person, in the ID token and again in UserInfo."""

    sub: str
    identity_proofing_level: str = ""
    vot: str = ""
    nhs_number: str | None = None
    birthdate: str | None = None
    family_name: str = ""
    given_name: str = ""


class NationalRole(msgspec.Struct, frozen=True, kw_only=True):
    """One role of a CIS2 user at one organisation. `role_code` is staff group : sub-group : role."""

    person_roleid: str
    org_code: str
    role_code: str
    role_name: str = ""
    org_name: str | None = None


class Cis2Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What CIS2 says of a professional."""

    sub: str
    nhsid_useruid: str = ""
    name: str = ""
    family_name: str = ""
    given_name: str = ""
    selected_roleid: str | None = None
    nhsid_nrbac_roles: tuple[NationalRole, ...] = ()


class OrganisationClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What an organisation's own provider says of its staff."""

    sub: str
    name: str = ""
    family_name: str = ""
    given_name: str = ""
    role_code: str | None = None
    role: str | None = None


def person_from(provider: Provider, id_claims: dict[str, Any], userinfo: dict[str, Any]) -> Person:
    """The person a provider vouches for. Raises SignInRefused in words the person can read."""
    if userinfo.get("sub") != id_claims.get("sub"):
        raise SignInRefused("The sign-in provider's answers do not agree.")
    try:
        match provider.kind:
            case "nhs-login":
                return _citizen(provider, id_claims, userinfo)
            case "cis2":
                return _professional(provider, id_claims, userinfo)
            case "organisation":
                return _member_of_staff(provider, userinfo)
    except msgspec.ValidationError as error:
        raise SignInRefused("The sign-in provider's answer is not as expected.") from error


def _citizen(provider: Provider, id_claims: dict[str, Any], userinfo: dict[str, Any]) -> Person:
    proved = msgspec.convert(id_claims, NhsLoginClaims)
    told = msgspec.convert(userinfo, NhsLoginClaims)
    if proved.identity_proofing_level != PROOFING_LEVEL or not proved.vot.startswith(f"{PROOFING_LEVEL}."):
        raise SignInRefused("Prove who you are to NHS login first. Then you can open your record here.")
    number, birth_date = proved.nhs_number, proved.birthdate
    if number is None or birth_date is None or not is_nhs_number(number) or not _is_date(birth_date):
        raise SignInRefused("NHS login did not give us your NHS number and date of birth.")
    if told.nhs_number not in (None, number) or told.birthdate not in (None, birth_date):
        raise SignInRefused("The sign-in provider's answers do not agree.")
    family_name = proved.family_name or told.family_name
    return Person(
        subject=f"{provider.provider_id}:{proved.sub}",
        kind="citizen",
        name=_name("", told.given_name, family_name),
        family_name=family_name,
        given_name=told.given_name,
        nhs_number=number,
        birth_date=birth_date,
        assurance=PROOFING_LEVEL,
    )


def _professional(provider: Provider, id_claims: dict[str, Any], userinfo: dict[str, Any]) -> Person:
    told = msgspec.convert(userinfo, Cis2Claims)
    if not told.nhsid_useruid:
        raise SignInRefused("CIS2 did not say who you are.")
    selected = told.selected_roleid or id_claims.get("selected_roleid")
    if id_claims.get("selected_roleid") not in (None, selected):
        raise SignInRefused("The sign-in provider's answers do not agree.")
    role = _selected_role(told.nhsid_nrbac_roles, selected)
    return Person(
        subject=f"{provider.provider_id}:{told.sub}",
        kind="professional",
        name=_name(told.name, told.given_name, told.family_name),
        family_name=told.family_name,
        given_name=told.given_name,
        role_code=role.role_code.rsplit(":", 1)[-1] if role else None,
        role=role.role_name or None if role else None,
        organisation=role.org_code if role else None,
        organisation_name=role.org_name if role else None,
        assurance="CIS2",
    )


def _selected_role(roles: tuple[NationalRole, ...], selected: str | None) -> NationalRole | None:
    """The one role chosen at sign-in. Someone may have no role at all, but never one that is not theirs."""
    if selected is None and not roles:
        return None
    matching = [role for role in roles if role.person_roleid == selected]
    if len(matching) != 1:
        raise SignInRefused("Choose one of your roles when you sign in.")
    return matching[0]


def _member_of_staff(provider: Provider, userinfo: dict[str, Any]) -> Person:
    told = msgspec.convert(userinfo, OrganisationClaims)
    # NOTE The organisation is the operator's registration, never what the token says of itself.
    return Person(
        subject=f"{provider.provider_id}:{told.sub}",
        kind="professional",
        name=_name(told.name, told.given_name, told.family_name),
        family_name=told.family_name,
        given_name=told.given_name,
        role_code=told.role_code,
        role=told.role,
        organisation=provider.organisation,
        organisation_name=provider.organisation_name,
        assurance="organisation",
    )


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _name(whole: str, given_name: str, family_name: str) -> str:
    name = (whole or f"{given_name} {family_name}").strip()
    if not name or len(name) > NAME_CHARACTERS_MAX:
        raise SignInRefused("The sign-in provider did not give us your name.")
    return name
