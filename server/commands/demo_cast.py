"""Who is in the demo and what is in their extracts: our own made-up people, read from demo_data/.

Speaks of nothing in the server, for the commands that use it know the server over HTTP alone.
"""

import re
from datetime import date, timedelta
from functools import cache
from importlib import resources
from typing import Literal

import msgspec

# The day the extracts are written for. They are moved in time, so that results look new on any day.
WRITTEN_ON = date(2026, 11, 20)
BIRTH_DATE = '"birthDate"'

_DAY = re.compile(r'(?<=")(\d{4}-\d{2}-\d{2})(?=[T"])')


class CastOrganisation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An organisation that sends extracts, and the client it sends them as."""

    organisation: str
    name: str
    client_id: str


class CastCitizen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A citizen. `extracts` are file names by the organisation that sends them."""

    subject: str
    given_name: str
    family_name: str
    nhs_number: str
    birth_date: str
    about: str
    proofing_level: Literal["P9", "P5"] = "P9"
    extracts: dict[str, list[str]] = {}

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}"

    @property
    def held_subject(self) -> str:
        """What to give as `login_hint`."""
        return f"nhs-login:{self.subject}"


class CastProfessional(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A professional with one role at one organisation, whose own `provider` may vouch for them."""

    subject: str
    given_name: str
    family_name: str
    role_code: str
    role: str
    organisation: str
    organisation_name: str
    provider: Literal["cis2", "organisation"] = "cis2"

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}"

    @property
    def held_subject(self) -> str:
        """What to give as `login_hint`."""
        return f"{self.provider}:{self.subject}"


class Cast(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everyone in the demo."""

    organisations: list[CastOrganisation]
    citizens: list[CastCitizen]
    refused: list[CastCitizen]
    professionals: list[CastProfessional]


@cache
def cast() -> Cast:
    """Everyone in the demo, as the file says."""
    return msgspec.json.decode(_data("people.json"), type=Cast)


def extract_bytes(name: str, *, as_on: date) -> bytes:
    """One extract with every whole date but the birth date moved, so that it was written `as_on`."""
    later = as_on - WRITTEN_ON
    lines = _data(name).decode().splitlines(keepends=True)
    return "".join(line if BIRTH_DATE in line else _moved(line, later) for line in lines).encode()


def extract_names() -> list[str]:
    """Every extract there is."""
    return sorted(
        {name for citizen in cast().citizens for names in citizen.extracts.values() for name in names}
    )


def _moved(line: str, later: timedelta) -> str:
    return _DAY.sub(lambda found: (date.fromisoformat(found[1]) + later).isoformat(), line)


def _data(name: str) -> bytes:
    return resources.files("server.commands").joinpath("demo_data").joinpath(name).read_bytes()
