"""A citizen's record with items an organisation sent, recipients who were shown them, and the corrections."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec

from fhir_profiles.heads import Head, Labels
from fhir_profiles.slices import Slice
from server.audit import service as audit
from server.audit.entry import LogEntry, Who
from server.corrections.correction import Correction
from server.corrections.rules import Question
from server.corrections.service import Corrections
from server.http.times import to_wire
from server.identity.people import put_person
from server.identity.principal import Person, Principal
from server.intake import store as intake_store
from server.intake.organisations import Organisation, register_organisation
from server.intake.store import KeptLink
from server.notices.notice import Notice
from server.notices.service import Notices
from server.records.service import Records
from server.sharing import store as sharing_store
from server.sharing.authorise import authorise_owner
from server.sharing.authority import Authority
from server.sharing.grant import Grant, Recipient, Redeemer
from server.storage import feed
from server.storage.engine import Storage
from server.storage.session import WriteSession
from tests.api.correction_world import moved

CITIZEN = Person(
    subject="login:amina",
    kind="citizen",
    name="Amina Yusuf",
    nhs_number="9990000018",
    birth_date="1980-02-03",
    assurance="P9",
)
PRACTICE = "B86001"
ASTHMA = "asthma"


class CorrectionsWorld:
    """Everything a test of corrections stands on."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.records = Records(storage)
        self.corrections = Corrections(storage)
        self.notices = Notices(storage)
        self.record_id = uuid4()
        self.grants: dict[str, UUID] = {}

    async def begin(self) -> "CorrectionsWorld":
        """The record exists, the practice is linked and has sent one problem."""
        self.record_id = await self.records.open_record_for(CITIZEN)
        await self.storage.register(lambda session: put_person(session, CITIZEN))
        await self.link(PRACTICE, "Beeston Practice")
        await self.send("Asthma")
        return self

    async def link(self, code: str, name: str) -> None:
        """The owner lets an organisation send."""
        await register_organisation(self.storage, Organisation(organisation=code, name=name))

        def command(session: WriteSession) -> None:
            session.lock_record()
            now = to_wire(session.now)
            kept = KeptLink(organisation=code, name=name, state="accepted", changed_at=now)
            intake_store.put_link(session, kept)

        await self.storage.write(self.record_id, command)

    async def owner(self) -> Authority:
        """The owner's authority."""
        principal = Principal(
            kind="citizen",
            subject=CITIZEN.subject,
            client_id="held-phone",
            jkt="citizen-key",
            token_id=uuid4().hex,
            record_id=self.record_id,
        )
        return await authorise_owner(self.storage, principal, self.record_id)

    async def send(self, title: str, *, sensitive: tuple[str, ...] = ()) -> int:
        """The practice sends a version of the problem; its number."""
        stored = await self.storage.write(
            self.record_id, lambda session: feed.put(session, [_problem(title, sensitive)])
        )
        return stored[0].version

    async def take_away(self) -> None:
        """The practice hides the problem from now on: its row stays, with nothing in it."""

        def command(session: WriteSession) -> None:
            head = feed.current_head(session, session.sealer.item_key("Condition", ASTHMA))
            assert head is not None
            empty = msgspec.structs.replace(head, title="", search={})
            item = feed.FeedItem("Condition", ASTHMA, lambda version, now: (empty, b"{}"), feed.WITHHELD)
            feed.put(session, [item])

        await self.storage.write(self.record_id, command)

    async def notices_of(self, name: str) -> list[Notice]:
        """A professional's notices, which they are told by this."""
        return list((await self.notices.of_person(f"cis2:{name}")).notices)

    async def log_sentences(self) -> list[str]:
        """Every sentence of the record's log."""
        page = await audit.entries(self.storage, self.record_id, 0, 500)
        return [each.entry.sentence for each in page.entries]

    async def share_with(self, name: str, shared: Slice | None = None) -> None:
        """A professional has a grant."""
        grant_id = self.grants[name] = uuid4()

        def command(session: WriteSession) -> None:
            session.lock_record()
            redeemer = Redeemer(subject=f"cis2:{name}", jkt="key", name=name, role="GP")
            grant = Grant(
                grant_id=grant_id,
                version=1,
                state="active",
                to=Recipient(kind="open"),
                slice=shared or Slice(),
                purpose="TREAT",
                seconds=3600,
                created_at=session.now,
                use_by=session.now,
                wording=1,
                redeemer=redeemer,
                redeemed_at=session.now,
                ends_at=session.now,
            )
            sharing_store.add_grant(session, grant)

        await self.storage.write(self.record_id, command)

    async def look(self, name: str, version: int, kind: str = "read") -> int:
        """A professional is shown a version of the problem; the number of the log's entry."""
        entry = LogEntry(
            kind=msgspec.convert(kind, LogEntry.__annotations__["kind"]),
            who=Who(subject=f"cis2:{name}", name=name, role="GP"),
            sentence="looked",
            grant_id=self.grants[name],
            grant_version=1,
            items=(("Condition", ASTHMA, str(version)), ("Observation", "other", "1")),
        )
        return await audit.append(self.storage, self.record_id, entry)

    async def ask(self, correction_id: UUID | None = None, **said: object) -> Correction:
        """The owner questions the problem."""
        question = msgspec.convert(
            {"kind": "wrong", "target": f"Condition/{ASTHMA}", "should_say": "Bronchitis", **said}, Question
        )
        command = await self.corrections.prepare_question(
            await self.owner(), correction_id or uuid4(), question
        )
        return await self.corrections.run(self.record_id, command)


def _problem(title: str, sensitive: tuple[str, ...]) -> feed.FeedItem:
    def render(version: int, now: datetime) -> tuple[Head, bytes]:
        head = Head(
            resource_type="Condition",
            logical_id=ASTHMA,
            version=version,
            last_updated=to_wire(now),
            labels=Labels(("problems",), sensitive),
            rules_version=1,
            dated="2024-05-01",
            is_current=True,
            references=(),
            search={"identifier": ("https://practice.example|7",)},
            content_hash=title.encode().ljust(32),
            title=title,
            source=(str(uuid4()), 0, 1),
            organisation=PRACTICE,
        )
        return head, b'{"resourceType":"Condition","id":"asthma","code":{"text":"%s"}}' % title.encode()

    return feed.FeedItem("Condition", ASTHMA, render)


async def task_of(world: CorrectionsWorld, task_id: Any) -> dict[str, Any]:
    """The Task as its source reads it."""
    return json.loads((await world.corrections.fetch(PRACTICE, task_id)).task)


async def answer(world: CorrectionsWorld, task_id: Any, business: str) -> Any:
    """The source moves a Task one step."""
    task = await task_of(world, task_id)
    version = int(task["meta"]["versionId"])
    fetched = await world.corrections.answer(
        PRACTICE, task_id, moved(task, business, "Words."), if_version=version
    )
    return fetched.correction
