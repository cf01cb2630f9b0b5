"""Development only: NHS login and CIS2 as they look from outside, with made-up people behind them.

https://openid.net/specs/openid-connect-core-1_0.html · claims as in STANDARDS section 7

It speaks the providers' protocol over HTTP, so that the code which signs people in is the same as in
production. A code and an access token are what they stand for, signed with the provider's own key.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from server.identity.client_assertions import ASSERTION_TYPE, AssertionClaims
from server.identity.oidc import challenge_of
from server.identity.providers import Provider, ProviderKind
from server.identity.signing_keys import SigningKey, new_signing_key
from server.identity.tokens import TokenRefused, open_signed

MOUNT_PATH = "/development/providers"
CODE_SECONDS = 60
TOKEN_SECONDS = 300

CLIENT_KEY_ALGORITHM = "RS512"

_CODE_TYPE = "development-code"
_ACCESS_TYPE = "development-access"
_ID_TOKEN_ALGORITHMS: dict[ProviderKind, str] = {
    "nhs-login": "RS512",
    "cis2": "RS256",
    "organisation": "ES256",
}


Now = Callable[[], datetime]
"""The provider's clock: the same as Held's, so that a test may move both."""


MakeKey = Callable[[str, str], SigningKey]
"""Answers the key of a name and an algorithm: a new one, or the one made for this name before."""


class DemoPerson(msgspec.Struct, frozen=True, kw_only=True):
    """A made-up person. `subject` is the provider's own, without the provider's id before it.

    People of an organisation's own provider all work there: there is one such provider here.
    """

    provider: ProviderKind
    subject: str
    given_name: str
    family_name: str
    nhs_number: str | None = None
    birth_date: str | None = None
    proofing_level: Literal["P0", "P5", "P9"] = "P9"
    role_code: str | None = None
    role: str | None = None
    organisation: str | None = None
    organisation_name: str | None = None

    @property
    def held_subject(self) -> str:
        """The subject Held gives this person: the `login_hint` to sign in as them."""
        return f"{self.provider}:{self.subject}"

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}"


class _Passing(msgspec.Struct, frozen=True, kw_only=True):
    """What a code or an access token of the provider stands for."""

    sub: str
    exp: float
    client_id: str = ""
    redirect_uri: str = ""
    nonce: str = ""
    code_challenge: str = ""


_PASSING = msgspec.json.Decoder(_Passing)
_ASSERTION = msgspec.json.Decoder(AssertionClaims)


class DevelopmentProvider:
    """One provider: its people, its key and the one client it knows, which is Held."""

    def __init__(
        self,
        kind: ProviderKind,
        issuer: str,
        *,
        people: Sequence[DemoPerson],
        now: Now,
        make_key: MakeKey,
    ) -> None:
        self.kind: ProviderKind = kind
        self.issuer = issuer
        self._now = now
        self.people = {person.subject: person for person in people if person.provider == kind}
        self.key = make_key(kind, _ID_TOKEN_ALGORITHMS[kind])
        self.client_key = make_key(f"{kind}-client", CLIENT_KEY_ALGORITHM)
        self._keys = {self.key.kid: self.key.verifying()}
        self._client_keys = {self.client_key.kid: self.client_key.verifying()}
        self._spent: set[str] = set()

    def provider(self) -> Provider:
        """This provider as Held's configuration has it."""
        employee = next(iter(self.people.values()), None) if self.kind == "organisation" else None
        return Provider(
            provider_id=self.kind,
            kind=self.kind,
            issuer=self.issuer,
            client_id="held",
            key=self.client_key,
            authorization_endpoint=f"{self.issuer}/authorize",
            token_endpoint=f"{self.issuer}/token",
            userinfo_endpoint=f"{self.issuer}/userinfo",
            jwks_uri=f"{self.issuer}/jwks",
            id_token_algorithm=self.key.algorithm,
            organisation=employee.organisation if employee is not None else None,
            organisation_name=employee.organisation_name if employee is not None else None,
        )

    def configuration(self) -> dict[str, Any]:
        """The OpenID configuration document."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.key.algorithm],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "code_challenge_methods_supported": ["S256"],
        }

    def code_for(self, person: DemoPerson, query: Mapping[str, str]) -> str:
        """A code for one sign-in of this person."""
        return self._sign(
            {
                "sub": person.subject,
                "client_id": query["client_id"],
                "redirect_uri": query["redirect_uri"],
                "nonce": query["nonce"],
                "code_challenge": query["code_challenge"],
                "exp": self._seconds() + CODE_SECONDS,
                "jti": secrets.token_urlsafe(16),
            },
            _CODE_TYPE,
        )

    def redeem(self, form: Mapping[str, str]) -> dict[str, Any]:
        """The token answer to a code. Raises TokenRefused."""
        self._judge_client(form)
        code = form.get("code", "")
        passing = self._opened(code, _CODE_TYPE)
        if code in self._spent:
            raise TokenRefused("The code was used before.")
        self._spent.add(code)
        is_client = (form.get("client_id"), form.get("redirect_uri")) == (
            passing.client_id,
            passing.redirect_uri,
        )
        if not is_client or challenge_of(form.get("code_verifier", "")) != passing.code_challenge:
            raise TokenRefused("The code was made for another client, address or verifier.")
        person = self.people[passing.sub]
        access = {"sub": person.subject, "exp": self._seconds() + TOKEN_SECONDS}
        return {
            "access_token": self._sign(access, _ACCESS_TYPE),
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "id_token": self._sign(self._id_claims(person, passing), "JWT"),
        }

    def userinfo(self, access_token: str) -> dict[str, Any]:
        """What UserInfo says. Raises TokenRefused."""
        person = self.people[self._opened(access_token, _ACCESS_TYPE).sub]
        return _userinfo_of(person)

    def _judge_client(self, form: Mapping[str, str]) -> None:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise TokenRefused("Send a client assertion.")
        assertion = open_signed(form.get("client_assertion", ""), self._client_keys, _ASSERTION, typ=None)
        is_held = assertion.iss == assertion.sub == "held" and assertion.aud == f"{self.issuer}/token"
        if not is_held or assertion.exp <= self._seconds() or assertion.jti in self._spent:
            raise TokenRefused("The client assertion was refused.")
        self._spent.add(assertion.jti)

    def _id_claims(self, person: DemoPerson, passing: _Passing) -> dict[str, Any]:
        now = int(self._seconds())
        common = {
            "iss": self.issuer,
            "aud": passing.client_id,
            "sub": person.subject,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
            "auth_time": now,
            "nonce": passing.nonce,
            "jti": secrets.token_urlsafe(16),
        }
        return common | (_nhs_login_claims(person, self.issuer) if self.kind == "nhs-login" else {})

    def _opened(self, token: str, typ: str) -> _Passing:
        passing = open_signed(token, self._keys, _PASSING, typ=typ)
        if passing.exp <= self._seconds():
            raise TokenRefused("This has expired.")
        return passing

    def _seconds(self) -> float:
        return self._now().timestamp()

    def _sign(self, claims: dict[str, Any], typ: str) -> str:
        return self.key.sign(claims, typ=typ)


def fresh_key(_: str, algorithm: str) -> SigningKey:
    """A key made now and kept nowhere."""
    return new_signing_key(algorithm)


def development_providers(
    base_url: str, people: Sequence[DemoPerson], now: Now, *, make_key: MakeKey = fresh_key
) -> tuple[DevelopmentProvider, ...]:
    """NHS login, CIS2 and, if someone works at it, an organisation's own provider, with these people.

    Their keys are made afresh unless `make_key` keeps them.
    """
    employs = any(person.provider == "organisation" for person in people)
    return tuple(
        DevelopmentProvider(kind, f"{base_url}{MOUNT_PATH}/{kind}", people=people, now=now, make_key=make_key)
        for kind in _ID_TOKEN_ALGORITHMS
        if kind != "organisation" or employs
    )


def _nhs_login_claims(person: DemoPerson, issuer: str) -> dict[str, Any]:
    proved = person.proofing_level == "P9"
    claims: dict[str, Any] = {
        "identity_proofing_level": person.proofing_level,
        "vot": f"{person.proofing_level}.Cp.Cd",
        "vtm": f"{issuer}/trustmark",
        "family_name": person.family_name,
    }
    # NHS login gives the NHS number only once it has been matched, which P0 has not.
    if proved or person.proofing_level == "P5":
        claims |= {"nhs_number": person.nhs_number, "birthdate": person.birth_date}
    return claims


def _userinfo_of(person: DemoPerson) -> dict[str, Any]:
    common = {"sub": person.subject, "given_name": person.given_name, "family_name": person.family_name}
    if person.provider == "nhs-login":
        return common | {"nhs_number": person.nhs_number, "birthdate": person.birth_date}
    if person.provider == "organisation":
        return common | {"name": person.name, "role_code": person.role_code, "role": person.role}
    claims: dict[str, Any] = common | {"name": person.name, "nhsid_useruid": person.subject}
    if person.role_code is None:
        return claims | {"nhsid_nrbac_roles": []}
    role_id = f"{person.subject}-1"
    role = {
        "person_roleid": role_id,
        "org_code": person.organisation,
        "org_name": person.organisation_name,
        "role_code": f"S8000:G8000:{person.role_code}",
        "role_name": person.role,
    }
    return claims | {"selected_roleid": role_id, "nhsid_nrbac_roles": [role]}
