"""A phone that writes and syncs without a rest until it is killed, for `test_kill_9.py`.

For each seed on its input it forks a phone, which costs less than starting Python anew, and says `gone` once
that phone is dead. Each line it prints was true when it was printed: `kept ID NUMBER` that this number was
written into this note and kept, `synced` that an exchange ended.
"""

import asyncio
import os
import random
import sys
from pathlib import Path

from server.commands.phone_app.folder import PhoneFolder
from server.commands.phone_app.online import OnlinePhone, online
from server.commands.phone_app.readings import reading
from sync.phone import Draft

SYNC_SHARE = 0.25
# A phone writes faster than anybody could; without a bound, one without a server would write thousands.
WAITING_MAX = 60
NO_SERVER_SECONDS = 0.1
CHANGE_SHARE = 0.4
NOTES_MAX = 40


async def be_busy(folder: PhoneFolder, chance: random.Random) -> None:
    """Never ends of itself."""
    with folder.held():
        async with online(folder) as phone:
            numbers: dict[str, int] = _standing(phone)
            print(f"ready {os.getpid()}", flush=True)
            while True:
                if chance.random() < SYNC_SHARE or phone.engine.status().waiting > WAITING_MAX:
                    report = await phone.engine.sync()
                    print(f"synced {report.trouble or ''}", flush=True)
                    await asyncio.sleep(NO_SERVER_SECONDS if report.trouble else 0)
                else:
                    _write(phone, numbers, chance)


def _write(phone: OnlinePhone, numbers: dict[str, int], chance: random.Random) -> None:
    """A new note, or the next number in an old one."""
    is_change = numbers and (chance.random() < CHANGE_SHARE or len(numbers) > NOTES_MAX)
    if is_change:
        note = chance.choice(sorted(numbers))
        if phone.engine.item("Observation", note) is None:
            return
        numbers[note] += 1
        patch = {"valueString": f"number {numbers[note]}"}
        phone.engine.write(Draft(op="patch", type="Observation", id=note, patch=patch))
    else:
        note = phone.new_id()
        numbers[note] = 1
        made = reading(
            "note", "number 1", at="2026-11-20", logical_id=note, patient_id=phone.facts.patient_id
        )
        phone.engine.write(Draft(op="create", type="Observation", id=note, body=made))
    print(f"kept {note} {numbers[note]}", flush=True)


def _standing(phone: OnlinePhone) -> dict[str, int]:
    """The notes there are and the number in each, as this phone shows them."""
    return {item.id: number for item in phone.engine.shown("Observation") if (number := number_in(item.body))}


def number_in(body: bytes) -> int:
    """The number in a note; 0 when it is not one of ours."""
    _, found, rest = body.partition(b'"valueString":"number ')
    return int(rest.partition(b'"')[0]) if found else 0


def fork_a_phone(folder: PhoneFolder, seed: int) -> None:
    """Runs a phone in a process of its own until it is dead."""
    child = os.fork()
    if child == 0:
        asyncio.run(be_busy(folder, random.Random(seed)))
    os.waitpid(child, 0)
    print("gone", flush=True)


if __name__ == "__main__":
    for line in sys.stdin:
        fork_a_phone(PhoneFolder(Path(sys.argv[1])), int(line))
