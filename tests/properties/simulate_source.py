"""The simulator's other side: a practice that publishes, withholds and releases, and grants."""

import random
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import msgspec

from fhir_profiles import served
from fhir_profiles.heads import Head
from fhir_profiles.parse import encode
from fhir_profiles.slices import Slice
from server.audit.entry import Who
from server.http.times import to_wire
from server.records.service import patient_id_of
from server.sharing import changes, rules, sentences
from server.sharing.grant import Grant, Recipient, Redeemer, Redemption
from server.sharing.rules import Refused, Terms
from server.storage import feed
from server.storage.session import WriteSession
from tests.properties.simulate_storage import FrailStorage

ItemName = tuple[str, str]

PRACTICE = "B86001"
PRACTICE_NAME = "Beeston Practice"
CATEGORIES = ("results", "problems", "medicines", "allergies", "documents")


class Practice:
    """Publishes into one record as intake does: staged, then published at once. Remembers what it said."""

    def __init__(self, storage: FrailStorage, record_id: UUID, patient_id: str, dice: random.Random) -> None:
        self._storage = storage
        self._record_id = record_id
        self._patient_id = patient_id
        self._dice = dice
        self._said = 0
        self.bodies: dict[tuple[str, str, int], bytes] = {}
        self.markers: dict[ItemName, list[str]] = {}
        self.withheld: set[ItemName] = set()
        self._latest: dict[ItemName, int] = {}
        self._extracts: list[dict[ItemName, int]] = []

    @property
    def names(self) -> list[ItemName]:
        """Every item it ever sent, shown or withheld."""
        return list(self.markers)

    def withheld_markers(self) -> list[str]:
        """Words that stand in nothing but items the person may not see now."""
        return [marker for name in self.withheld for marker in self.markers[name]]

    async def publish(self, count: int, *, changed: int = 0) -> None:
        """An extract of so many new items and so many new versions of shown ones."""
        shown = [name for name in self.markers if name not in self.withheld]
        names = self._dice.sample(shown, min(changed, len(shown)))
        names += [("Observation", self._new_id()) for _ in range(count)]
        if not names:
            return
        extract_id = UUID(int=self._dice.getrandbits(128), version=4)
        sayings = {name: self._say(name) for name in names}

        def command(session: WriteSession) -> dict[tuple[str, str, int], bytes]:
            session.lock_record()
            staged = [
                self._staged(session, extract_id, position, name, sayings[name])
                for position, name in enumerate(names)
            ]
            feed.stage(session, extract_id, staged)
            assert isinstance(feed.publish_staged(session, extract_id), feed.Published)
            return {(one.resource_type, one.logical_id, one.base_version + 1): one.body for one in staged}

        published = await FrailStorage.write(self._storage, self._record_id, command)
        self.bodies |= published
        versions = {(resource_type, name): version for resource_type, name, version in published}
        self._latest |= versions
        self._extracts.append(versions)

    async def withhold(self) -> None:
        """An item is taken from the person: its row stays, and nothing is in it."""
        shown = [name for name in self.markers if name not in self.withheld]
        if shown:
            name = self._dice.choice(shown)
            await FrailStorage.write(
                self._storage,
                self._record_id,
                lambda session: feed.put(session, [_withdrawal(session, name)]),
            )
            self.withheld.add(name)
            del self._latest[name]

    async def release(self) -> None:
        """A withheld item is given again, in a new version that says what no version before it said."""
        if not self.withheld:
            return
        name = self._dice.choice(sorted(self.withheld))
        said = self._say(name)

        def command(session: WriteSession) -> tuple[int, bytes]:
            rendered: list[tuple[int, bytes]] = []

            def render(version: int, now: datetime) -> tuple[Head, bytes]:
                head, body = self._rendered(name, said, version, now)
                rendered.append((version, body))
                return head, body

            feed.put(session, [feed.FeedItem(*name, render)])
            return rendered[-1]

        version, body = await FrailStorage.write(self._storage, self._record_id, command)
        self.bodies[*name, version] = body
        self.markers[name] = [said]
        self.withheld.discard(name)
        self._latest[name] = version

    def torn(self, rows: dict[ItemName, tuple[int, bytes]]) -> Iterator[str]:
        """Extracts of which a replica shows one item and not another that stands beside it."""
        for extract in self._extracts:
            standing = [name for name, version in extract.items() if self._latest.get(name) == version]
            shown = {
                name: rows.get(name) == (extract[name], self.bodies[*name, extract[name]])
                for name in standing
            }
            if any(shown.values()) and not all(shown.values()):
                yield f"without {'/'.join(next(name for name, is_shown in shown.items() if not is_shown))}"

    def forget_after(self, kept: "Practice") -> None:
        """The record was restored: what was said since the backup is as if it had not been."""
        self.bodies = dict(kept.bodies)
        self.markers = {name: list(said) for name, said in kept.markers.items()}
        self.withheld = set(kept.withheld)
        self._latest = dict(kept._latest)
        self._extracts = list(kept._extracts)

    def copy(self) -> "Practice":
        """What it remembers at this moment."""
        copied = Practice(self._storage, self._record_id, self._patient_id, self._dice)
        copied.forget_after(self)
        return copied

    def _say(self, name: ItemName) -> str:
        self._said += 1
        # Unlike any other text of the world, so that finding it anywhere tells where it came from.
        marker = f"gp{self._said:05d}q{self._dice.getrandbits(40):010x}"
        self.markers.setdefault(name, []).append(marker)
        return marker

    def _new_id(self) -> str:
        return str(UUID(int=self._dice.getrandbits(128), version=4))

    def _staged(
        self, session: WriteSession, extract_id: UUID, position: int, name: ItemName, said: str
    ) -> feed.StagedItem:
        current = feed.current(session, session.sealer.item_key(*name))
        base = current.version if current else 0
        head, body = self._rendered(name, said, base + 1, session.now, source=(str(extract_id), 0, 1))
        return feed.StagedItem(
            position=position,
            resource_type=name[0],
            logical_id=name[1],
            base_version=base,
            head=head,
            body=body,
        )

    def _rendered(
        self,
        name: ItemName,
        said: str,
        version: int,
        now: datetime,
        *,
        source: tuple[str, int, int] = ("", 0, 1),
    ) -> tuple[Head, bytes]:
        resource = {
            "resourceType": name[0],
            "status": "final",
            "code": {"text": "Haemoglobin A1c"},
            "subject": {"reference": f"Patient/{self._patient_id}"},
            "effectiveDateTime": "2026-03-01",
            "valueQuantity": {"value": msgspec.Raw(b"41.50"), "unit": "mmol/mol"},
            # Not in the title, which stays in what was asked about the item and in the log.
            "note": [{"text": said}],
        }
        last_updated = to_wire(now)
        stamped = served.stamp(resource, name[1], version, last_updated)
        head = served.head_of(
            stamped, version=version, last_updated=last_updated, source=source, organisation=PRACTICE
        )
        return head, encode(stamped)


async def share(storage: FrailStorage, record_id: UUID, dice: random.Random) -> tuple[UUID, tuple[str, ...]]:
    """A grant that a professional has redeemed and the person allowed, made by the rules at one moment."""
    grant_id = UUID(int=dice.getrandbits(128), version=4)
    redemption_id = UUID(int=dice.getrandbits(128), version=4)
    categories = tuple(sorted(dice.sample(CATEGORIES, 3)))

    def command(session: WriteSession) -> None:
        session.lock_record()
        terms = Terms(
            to=Recipient(kind="open"),
            slice=Slice(categories=categories),
            purpose="TREAT",
            seconds=30 * 86_400,
            offer_seconds=600,
        )
        redeemer = Redeemer(subject="cis2:patel", jkt="patel-key", name="Dr Patel")
        offered = rules.offered(
            terms, grant_id, session.now, wording=sentences.WORDING_VERSION, offer_key=b""
        )
        redemption = Redemption(
            redemption_id=redemption_id,
            grant_id=grant_id,
            redeemer=redeemer,
            match="00",
            claimed_at=session.now,
        )
        claimed = _moved(rules.claim(offered, redemption, session.now))
        allowed = _moved(rules.allow(claimed, redemption_id, session.now))
        first = msgspec.structs.replace(allowed, version=1)
        entry = changes.line("grant", Who(subject="login:sim", name="Sim"), first, "You shared.")
        changes.enter(session, first, patient_id_of(session), entry)

    await FrailStorage.write(storage, record_id, command)
    return grant_id, categories


def _moved(moved: Grant | Refused) -> Grant:
    assert isinstance(moved, Grant), moved
    return moved


def _withdrawal(session: WriteSession, name: ItemName) -> feed.FeedItem:
    current = feed.current(session, session.sealer.item_key(*name))
    assert current is not None
    head = current.head

    def render(version: int, now: datetime) -> tuple[Head, bytes]:
        return msgspec.structs.replace(head, version=version, title="", search={}, references=()), b"{}"

    return feed.FeedItem(*name, render, feed.WITHHELD)
