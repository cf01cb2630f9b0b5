"""Whoever saw what was wrong is told that it was corrected, and nobody else (DESIGN section 6)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from server.commands.held_client import HeldClient
from tests.api.correction_world import CorrectionWorld
from tests.held_app import served_held
from tests.world import EVERYONE, OKAFOR, PATEL, Shared, professional

SINGH = professional("Mira Singh", "Paramedic", "R1400")
LEE = professional("Kit Lee", "Nurse", "R1200")
CURRENT = {"current": True, "categories": ["results"]}
JABS = {"current": False, "categories": ["immunisations"]}
ASTHMA = "AMINA-asthma"
# The second coding makes the newer version one about mental health.
DEPRESSION = {"coding": [{"system": "http://snomed.info/sct", "code": "35489007"}], "text": "AMINA-low-mood"}


class ToldWorld(CorrectionWorld):
    """Dr Patel may look, Sam Okafor could, Mira Singh never had the item, Kit Lee could and did not."""

    def __init__(self, held: Any) -> None:
        super().__init__(held)
        self.desks: dict[str, HeldClient] = {}
        self.shared: dict[str, Shared] = {}

    async def begin(self) -> "ToldWorld":
        """The four have been given their grants."""
        await super().begin()
        for person, slice_ in ((PATEL, CURRENT), (OKAFOR, CURRENT), (SINGH, JABS), (LEE, CURRENT)):
            desk = await self.world.sign_in(person)
            self.desks[person.subject] = desk
            self.shared[person.subject] = await self.world.share(self.owner, slice_, desk)
        return self

    def reader(self, person: Any) -> HeldClient:
        """The client with the grant of one of the four."""
        return self.shared[person.subject].client

    async def end(self, person: Any) -> None:
        """The owner ends the grant of one of the four."""
        grant_id = self.shared[person.subject].grant_id
        await self.owner.expect(200, "POST", f"/records/{self.record_id}/grants/{grant_id}/end", json={})

    async def notices(self, person: Any) -> list[dict[str, Any]]:
        """What one of the four is told."""
        return (await self.desks[person.subject].expect(200, "GET", "/notices"))["notices"]

    async def followed(self, correction_id: str) -> dict[str, Any]:
        """Who saw it and who was told, as the owner sees it."""
        return (await self.listed(correction_id))["followed"]


@asynccontextmanager
async def told_world(folder: Path) -> AsyncGenerator[ToldWorld]:
    async with served_held(folder, [*EVERYONE, SINGH, LEE]) as held:
        yield await ToldWorld(held).begin()


async def test_exactly_those_who_saw_the_wrong_version_are_told(tmp_path: Path) -> None:
    async with told_world(tmp_path) as world:
        for person in (PATEL, OKAFOR):
            await world.item("Condition", ASTHMA, world.reader(person))
        await world.reader(SINGH).expect(200, "GET", "/fhir/Condition")
        await world.reader(SINGH).expect(200, "GET", "/fhir/Immunization")
        await world.end(OKAFOR)
        asthma = await world.item("Condition", ASTHMA)
        asked = await world.question(f"Condition/{asthma['id']}")
        before = await world.followed(asked["correction_id"])
        assert (before["saw"], before["told"], before["pending"]) == (2, 0, 0)
        assert [person["state"] for person in before["people"]] == ["saw", "saw"]
        await world.move(asked["task_id"], "in-review", "accepted")
        await world.amend(ASTHMA, "AMINA-bronchitis")
        assert await world.notices(PATEL) == []
        await world.move(asked["task_id"], "amendment-completed")
        waiting = await world.followed(asked["correction_id"])
        assert (waiting["saw"], waiting["told"], waiting["pending"], waiting["unreachable"]) == (2, 0, 2, 0)

        for person in (PATEL, OKAFOR):
            [notice] = await world.notices(person)
            assert notice["seen"] == {"title": ASTHMA, "dated": "2024-05-01"}
            assert notice["corrected"] == {"title": "AMINA-bronchitis", "dated": "2024-05-01"}
            assert notice["patient"]["name"] == "Amina Yusuf"
            assert notice["first_seen_at"] <= notice["last_seen_at"]
            assert notice["sentence"] == (
                f'Beeston Practice has corrected "{ASTHMA}" of 1 May 2024, '
                "which you saw in this person's record."
            )
            assert "correction_id" not in notice
        assert await world.notices(SINGH) == await world.notices(LEE) == []

        followed = await world.followed(asked["correction_id"])
        assert (followed["saw"], followed["told"], followed["pending"]) == (2, 2, 0)
        assert {person["name"] for person in followed["people"]} == {"Asha Patel", "Sam Okafor"}
        log = await world.owner.expect(200, "GET", f"/records/{world.record_id}/log?limit=200")
        told = [each["sentence"] for each in log["entries"] if "was told" in each["sentence"]]
        assert told == [
            f"{name} ({role}, Beeston Practice) was told that Beeston Practice has corrected "
            f'"{ASTHMA}" of 1 May 2024.'
            for name, role in (("Asha Patel", "GP"), ("Sam Okafor", "Pharmacist"))
        ]
        await _reading_again_changes_nothing(world, asked["correction_id"])


async def _reading_again_changes_nothing(world: ToldWorld, correction_id: str) -> None:
    [notice] = await world.notices(PATEL)
    path = f"/notices/{notice['notice_id']}/read"
    read = await world.desks[PATEL.subject].expect(200, "POST", path, json={})
    assert read["told_at"] == notice["told_at"]
    assert await world.desks[PATEL.subject].expect(200, "POST", path, json={}) == read
    assert (await world.desks[OKAFOR.subject].call("POST", path, json={})).status_code == 404
    assert (await world.reader(PATEL).call("GET", "/notices")).status_code == 403
    assert (await world.owner.call("GET", "/notices")).status_code == 403
    people = (await world.followed(correction_id))["people"]
    assert [person["name"] for person in people if "read_at" in person] == ["Asha Patel"]
    log = await world.owner.expect(200, "GET", f"/records/{world.record_id}/log?limit=200")
    assert sum("was told" in each["sentence"] for each in log["entries"]) == 2


async def test_a_correction_nobody_may_read_about_is_told_without_what_it_says(tmp_path: Path) -> None:
    async with told_world(tmp_path) as world:
        for person in (PATEL, OKAFOR):
            await world.item("Condition", ASTHMA, world.reader(person))
        await world.end(OKAFOR)
        asthma = await world.item("Condition", ASTHMA)
        asked = await world.question(f"Condition/{asthma['id']}")
        await world.move(asked["task_id"], "in-review", "partial-accept")
        await world.amend(ASTHMA, "AMINA-low-mood", code=DEPRESSION)
        await world.move(asked["task_id"], "amendment-completed", text="It was low mood.")
        await world.amend("AMINA-low-mood", "AMINA-newest")
        for person in (PATEL, OKAFOR):
            response = await world.desks[person.subject].call("GET", "/notices")
            assert "low-mood" not in response.text
            assert "newest" not in response.text
            [notice] = response.json()["notices"]
            assert "corrected" not in notice
            assert notice["seen"]["title"] == ASTHMA
            assert notice["sentence"].endswith("Do not rely on what it said.")


async def test_what_comes_after_the_correction_is_told_to_nobody(tmp_path: Path) -> None:
    async with told_world(tmp_path) as world:
        await world.item("Condition", ASTHMA, world.reader(OKAFOR))
        await world.end(OKAFOR)
        asthma = await world.item("Condition", ASTHMA)
        asked = await world.question(f"Condition/{asthma['id']}")
        await world.move(asked["task_id"], "in-review", "accepted")
        await world.amend(ASTHMA, "AMINA-bronchitis")
        await world.move(asked["task_id"], "amendment-completed")
        await world.amend("AMINA-bronchitis", "AMINA-newest")
        [notice] = await world.notices(OKAFOR)
        assert notice["corrected"]["title"] == "AMINA-bronchitis"


async def test_whoever_saw_only_a_version_between_is_told_too(tmp_path: Path) -> None:
    async with told_world(tmp_path) as world:
        asthma = await world.item("Condition", ASTHMA)
        asked = await world.question(f"Condition/{asthma['id']}/_history/1")
        await world.amend(ASTHMA, "AMINA-asthma-moderate")
        await world.item("Condition", "AMINA-asthma-moderate", world.reader(PATEL))
        await world.move(asked["task_id"], "in-review", "accepted")
        await world.amend("AMINA-asthma-moderate", "AMINA-bronchitis")
        await world.item("Condition", "AMINA-bronchitis", world.reader(LEE))
        await world.move(asked["task_id"], "amendment-completed")
        [notice] = await world.notices(PATEL)
        assert notice["seen"]["title"] == "AMINA-asthma-moderate"
        assert await world.notices(LEE) == []


async def test_notices_are_given_page_by_page(tmp_path: Path) -> None:
    async with told_world(tmp_path) as world:
        for text, new_text in ((ASTHMA, "AMINA-bronchitis"), ("AMINA-bronchitis", "AMINA-cough")):
            item = await world.item("Condition", text, world.reader(PATEL))
            asked = await world.question(f"Condition/{item['id']}")
            await world.move(asked["task_id"], "in-review", "accepted")
            await world.amend(text, new_text)
            await world.move(asked["task_id"], "amendment-completed")
        desk = world.desks[PATEL.subject]
        first = await desk.expect(200, "GET", "/notices?limit=1")
        second = await desk.expect(200, "GET", f"/notices?limit=1&after={first['next_after']}")
        assert "next_after" not in second
        found = {notice["seen"]["title"] for page in (first, second) for notice in page["notices"]}
        assert found == {ASTHMA, "AMINA-bronchitis"}
        assert first["notices"][0]["notice_id"] == first["next_after"]
        for wrong, status in (("limit=0", 400), ("limit=51", 400), ("after=x", 400), ("page=2", 400)):
            assert (await desk.call("GET", f"/notices?{wrong}")).status_code == status, wrong
        theirs = await world.desks[OKAFOR.subject].call("GET", f"/notices?after={first['next_after']}")
        assert theirs.status_code == 404


async def test_nobody_is_told_of_a_refusal_or_of_a_question_taken_back(tmp_path: Path) -> None:
    async with told_world(tmp_path) as world:
        await world.item("Condition", ASTHMA, world.reader(PATEL))
        asthma = await world.item("Condition", ASTHMA)
        refused = await world.question(f"Condition/{asthma['id']}")
        await world.move(refused["task_id"], "in-review", "denied", text="It is right.")
        back = await world.question(f"Condition/{asthma['id']}")
        await world.owner.expect(200, "POST", world.path(back["correction_id"], "withdraw"), json={})
        assert await world.notices(PATEL) == []
        assert (await world.followed(refused["correction_id"]))["saw"] == 1
