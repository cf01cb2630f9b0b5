"""One citizen with a record, professionals who have signed in, and the sharing services over real storage."""

from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import sqlalchemy as sa

from fhir_profiles.slices import Slice
from server.errors import OAuthError
from server.identity.access_tokens import AccessTokens
from server.identity.people import put_person
from server.identity.principal import Person, Principal
from server.identity.signing_keys import new_signing_key
from server.identity.token_endpoint import ExchangeRequest
from server.sharing.authorise import authorise_owner
from server.sharing.authority import Authority
from server.sharing.grant import Grant, Recipient
from server.sharing.offers import Offer
from server.sharing.receipts import ReceiptSigner
from server.sharing.redeem import Redeeming
from server.sharing.rules import Terms
from server.sharing.service import Sharing
from server.storage import directory
from server.storage.directory_sharing import Attempt, claim_offer
from server.storage.directory_tables import GuessCountRow
from server.storage.engine import Storage

BASE_URL = "https://held.example.org"
CITIZEN = Person(subject="login:amina", kind="citizen", name="Amina Yusuf", assurance="P9")
PATEL = Person(
    subject="cis2:patel",
    kind="professional",
    name="Dr Patel",
    role_code="R0260",
    role="GP",
    organisation="B86001",
    organisation_name="Beeston Practice",
    assurance="AAL3",
)
OKAFOR = Person(
    subject="cis2:okafor",
    kind="professional",
    name="Sam Okafor",
    role_code="R1290",
    role="Pharmacist",
    organisation="FA123",
    organisation_name="Park Row Pharmacy",
)
CURRENT = Slice()
DAY = 86_400
REFUSED: tuple[str, str, dict[str, object]] = ("invalid_grant", OAuthError("invalid_grant").detail, {})


class Pending(NamedTuple):
    """What a professional is told while the citizen has not answered."""

    redemption_id: UUID
    match: str


class SharingWorld:
    """Everything a test of sharing stands on."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.record_id = uuid4()
        self.patient_id = str(uuid4())
        key = new_signing_key()
        self.access_tokens = AccessTokens(BASE_URL, [key])
        self.sharing = Sharing(storage, ReceiptSigner(BASE_URL, key), lambda session: self.patient_id)
        self.redeeming = Redeeming(storage, lambda session: self.patient_id)

    async def begin(self) -> "SharingWorld":
        """The record exists and everybody has signed in."""
        await self.storage.create_record(self.record_id, lambda session: None)
        await self.storage.register(self._people)
        return self

    def _people(self, session: Any) -> None:
        directory.claim_subject(session, CITIZEN.subject, self.record_id)
        for person in (CITIZEN, PATEL, OKAFOR):
            put_person(session, person)

    async def now(self) -> Any:
        """The database's clock."""
        return await self.storage.look_up(lambda session: session.now)

    async def citizen(self, *, signed_in_ago: int = 0) -> Principal:
        """The record's owner, signed in this many seconds ago."""
        return Principal(
            kind="citizen",
            subject=CITIZEN.subject,
            client_id="held-phone",
            jkt="citizen-key",
            token_id=uuid4().hex,
            signed_in_at=await self.now() - timedelta(seconds=signed_in_ago),
            record_id=self.record_id,
        )

    async def owner(self, *, signed_in_ago: int = 0) -> Authority:
        """The owner's authority."""
        principal = await self.citizen(signed_in_ago=signed_in_ago)
        return await authorise_owner(self.storage, principal, self.record_id)

    async def offer(
        self,
        *,
        to: Recipient | None = None,
        shared: Slice = CURRENT,
        seconds: int = DAY,
        offer_seconds: int = 600,
    ) -> tuple[Grant, Offer]:
        """A new offer by the citizen."""
        terms = Terms(
            to=to or Recipient(kind="open"),
            slice=shared,
            purpose="TREAT",
            seconds=seconds,
            offer_seconds=offer_seconds,
        )
        return await self.sharing.offer(await self.owner(), terms)

    async def exchange(
        self,
        kind: str,
        subject_token: str,
        *,
        who: Person = PATEL,
        jkt: str = "patel-key",
        **form: str,
    ) -> dict[str, Any]:
        """A token exchange by a professional; OAuthError as the token endpoint would answer it."""
        actor = professional(who, jkt)
        fields = {
            "subject_token": subject_token,
            "subject_token_type": f"urn:held:params:oauth:token-type:{kind}",
            **form,
        }
        now = await self.now()
        request = ExchangeRequest(
            form=fields,
            actor=actor,
            jkt=jkt,
            session_id=None,
            now=now,
            issue=lambda access: self.access_tokens.issue(access, now),
        )
        return dict(await self.redeeming.exchange(request))

    async def refused(self, kind: str, subject_token: str, **more: Any) -> tuple[str, str, dict[str, object]]:
        """The whole of the refusal of an exchange: REFUSED for all but waiting and scopes."""
        try:
            await self.exchange(kind, subject_token, **more)
        except OAuthError as error:
            return error.error, error.detail, error.extra
        raise AssertionError("The exchange was not refused.")

    async def redeem(self, code: str, **more: Any) -> Pending:
        """What a professional gets for a code that opens something for them."""
        error, _, extra = await self.refused("offer-code", code, **more)
        assert error == "authorization_pending", error
        return Pending(UUID(str(extra["redemption"])), str(extra["match"]))

    async def count_wrong_guesses(self, count: int) -> None:
        """As many wrong guesses by others this hour: all but the last are entered as counted."""

        def guess(session: Any) -> None:
            hour = session.now.replace(minute=0, second=0, microsecond=0)
            counted = {
                "guesser_mac": session.sealer.mac("guess-hour", b"everybody"),
                "window_start": hour,
                "wrong": count - 1,
            }
            session.execute(sa.insert(GuessCountRow), counted)
            attempt = Attempt(
                name="ZZZZ",
                secret="ZZZZZZ",
                form="typed",
                subject="cis2:guesser",
                jkt="key",
                operation_id="op",
                recipients=(),
            )
            assert claim_offer(session, attempt) is None

        await self.storage.register(guess)

    async def grant_live(self, **offered: Any) -> tuple[Grant, dict[str, Any], Pending]:
        """A grant in force, with the token answer of the professional who holds it."""
        grant, offer = await self.offer(**offered)
        pending = await self.redeem(written(offer))
        await self.sharing.allow(await self.owner(), grant.grant_id, pending.redemption_id, pending.match)
        return grant, await self.exchange("redemption", str(pending.redemption_id)), pending


def professional(who: Person, jkt: str) -> Principal:
    """A professional signed in under their own name."""
    return Principal(
        kind=who.kind,
        subject=who.subject,
        client_id="held-portal",
        jkt=jkt,
        token_id=uuid4().hex,
        organisation=who.organisation,
    )


def holder(world: SharingWorld, answer: dict[str, Any], **changed: Any) -> Principal:
    """Whoever sends a request with the token of this answer."""
    fields: dict[str, Any] = {
        "kind": "professional",
        "subject": PATEL.subject,
        "client_id": "held-portal",
        "jkt": "patel-key",
        "token_id": uuid4().hex,
        "record_id": world.record_id,
        "grant_id": UUID(answer["grant"]),
        "grant_version": answer["grant_version"],
        "scope": answer["scope"],
    }
    return Principal(**(fields | changed))


def written(offer: Offer) -> str:
    """The typed code of an offer."""
    return f"{offer.typed.name}-{offer.typed.secret}"
