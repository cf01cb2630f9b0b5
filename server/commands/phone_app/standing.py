"""`held phone status|wipe`: how far this phone is, and its end, both without asking anybody."""

import argparse

from server.commands.phone_app.folder import PhoneFolder
from server.commands.phone_app.opened import opened
from server.commands.phone_app.refusals import ATTENTION, DONE
from server.commands.phone_app.telling import state_lines
from server.commands.phone_app.words import counted


async def status_(folder: PhoneFolder, _arguments: argparse.Namespace) -> int:
    """How far this phone is."""
    with opened(folder) as phone:
        status = phone.engine.status()
        print(f"{phone.facts.person}'s phone, '{phone.facts.device_name}'.")
        print(f"It holds {counted(status.items, 'item')}.")
        for line in state_lines(status, phone.now):
            print(line)
        return ATTENTION if status.attention or status.log_alarm else DONE


async def wipe_(folder: PhoneFolder, _arguments: argparse.Namespace) -> int:
    """Deletes everything. What waits is said first, for it is lost."""
    facts = folder.facts()
    with opened(folder) as phone:
        waiting = phone.engine.status().waiting
    folder.delete()
    lost = f" {counted(waiting, 'change')} that had not been sent are lost." if waiting else ""
    print(f"Everything of {facts.person}'s record has been deleted from this phone.{lost}")
    return DONE
