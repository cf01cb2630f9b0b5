"""The access log: it holds exactly what was shown, to whom, and nobody can change it unseen."""

from typing import Any

from server.commands.demo_steps.chain import check_chain, check_note
from server.commands.demo_steps.journey import Disclosure, Holder, Journey, Step, must

PAGE_ENTRIES = 200
SHOWING = frozenset({"read", "search", "history"})


def steps() -> list[Step]:
    """The steps, in order."""
    return [
        Step("George's log shows exactly what each of them was shown, and nothing else", _log_is_exact),
        Step("The log's chain and its signed checkpoint can be checked by anyone who has it", _chain_holds),
    ]


async def whole_log(journey: Journey) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Every entry of George's log, and the checkpoint that came with the last of them."""
    return await _log_after(journey, 0)


async def log_of_play(journey: Journey) -> list[dict[str, Any]]:
    """The entries since this play began to share."""
    entries, _ = await _log_after(journey, journey.entries_before)
    return entries


async def _log_after(journey: Journey, after: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    while True:
        after = entries[-1]["n"] if entries else after
        path = f"{journey.record}/log?after={after}&limit={PAGE_ENTRIES}"
        page = await journey.citizen.expect(200, "GET", path)
        entries += page["entries"]
        if len(page["entries"]) < PAGE_ENTRIES:
            return entries, page["checkpoint"]


def shown_to(holder: Holder, entries: list[dict[str, Any]]) -> list[Disclosure]:
    """What the log says a holder was shown, in order."""
    return [
        Disclosure(entry["kind"], frozenset((item[0], item[1]) for item in entry["items"]))
        for entry in entries
        if entry.get("grant_id") == holder.grant_id and entry["kind"] in SHOWING
    ]


async def must_match_log(journey: Journey, holder: Holder) -> None:
    """Every answer has its entry and every entry its answer, in order."""
    entries = await log_of_play(journey)
    logged = shown_to(holder, entries)
    must(len(logged) == len(holder.seen), f"{len(holder.seen)} answers have {len(logged)} entries in the log")
    for place, (entry, seen) in enumerate(zip(logged, holder.seen, strict=True), start=1):
        must(
            entry == seen,
            f"entry {place} of the access does not say what was shown: {entry.kind}, {seen.kind}",
        )


async def _log_is_exact(journey: Journey) -> None:
    for holder in (journey.holder, journey.second_holder):
        await must_match_log(journey, holder)
    recent = await log_of_play(journey)
    mine = {journey.holder.grant_id, journey.second_holder.grant_id}
    for entry in recent:
        who = entry["who"]["subject"]
        must(entry["sentence"] != "", f"entry {entry['n']} has no sentence")
        if entry["kind"] in SHOWING and who != journey.person.subject:
            must(entry.get("grant_id") in mine, f"entry {entry['n']} shows a reading by {who}")
    doctor = next(entry for entry in recent if entry.get("grant_id") == journey.holder.grant_id)
    must(doctor["who"]["name"] != "", "the log does not name who looked")


async def _chain_holds(journey: Journey) -> None:
    entries, checkpoint = await whole_log(journey)
    must(len(entries) > journey.entries_before, "the log did not grow")
    check_chain(entries, checkpoint)
    check_note(checkpoint)
    alone = await journey.citizen.expect(200, "GET", f"{journey.record}/log/checkpoint")
    check_chain(entries, alone)
    check_note(alone)
