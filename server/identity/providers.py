"""The identity providers that may say who someone is. They are data: the operator's file lists them.

https://openid.net/specs/openid-connect-core-1_0.html
"""

from pathlib import Path
from typing import Literal

import msgspec

from server.identity.clients import ClientKind
from server.identity.signing_keys import SigningKey, load_signing_key

ProviderKind = Literal["nhs-login", "cis2", "organisation"]
KINDS_OF_CLIENT: dict[ClientKind, tuple[ProviderKind, ...]] = {
    "phone": ("nhs-login",),
    "portal": ("cis2", "organisation"),
}
NHS_LOGIN_TRUST = '["P9.Cp.Cd","P9.Cp.Ck","P9.Cm"]'


class ProviderEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider in the operator's file. `organisation` is set for an organisation's own provider."""

    provider_id: str
    kind: ProviderKind
    issuer: str
    client_id: str
    key_file: str
    key_algorithm: str = "RS512"
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    jwks_uri: str
    id_token_algorithm: str
    organisation: str | None = None
    organisation_name: str | None = None


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider and the key with which Held proves to it that it is Held."""

    provider_id: str
    kind: ProviderKind
    issuer: str
    client_id: str
    key: SigningKey
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    jwks_uri: str
    id_token_algorithm: str
    organisation: str | None = None
    organisation_name: str | None = None

    @property
    def scope(self) -> str:
        """What is asked of the provider: who the person is, and no more."""
        match self.kind:
            case "nhs-login":
                return "openid profile"
            case "cis2":
                return "openid profile selectedrole nationalrbacaccess"
            case "organisation":
                return "openid profile"

    @property
    def endpoints(self) -> frozenset[str]:
        """The only addresses at this provider that the server itself may call."""
        return frozenset((self.token_endpoint, self.userinfo_endpoint, self.jwks_uri))


def load_providers(path: Path) -> tuple[Provider, ...]:
    """The providers in the operator's JSON file. Raises msgspec.ValidationError or KeyFileRefused."""
    entries = msgspec.json.decode(path.read_bytes(), type=list[ProviderEntry])
    return tuple(_with_key(entry, path.parent) for entry in entries)


def _with_key(entry: ProviderEntry, folder: Path) -> Provider:
    members = msgspec.structs.asdict(entry)
    key_file, algorithm = folder / members.pop("key_file"), members.pop("key_algorithm")
    return Provider(key=load_signing_key(key_file, algorithm), **members)
