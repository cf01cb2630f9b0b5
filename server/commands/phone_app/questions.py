"""How each of a person's questions stands: from the server, which knows who was told, or from the phone."""

from collections.abc import Iterator
from typing import Any

from server.commands.phone_app.folder import PhoneFolder
from server.commands.phone_app.opened import opened, read_json
from server.commands.phone_app.refusals import DONE, NoConnection
from server.commands.phone_app.words import counted, line_of, one_line

SENTENCE_MAX = 600


async def how_questions_stand(folder: PhoneFolder) -> int:
    """Says it, from the phone's own copy when there is no connection."""
    # The line costs half a second to import, and asking a question needs none.
    from server.commands.phone_app.online import online

    try:
        async with online(folder) as phone:
            corrections = (await phone.ask("GET", "corrections"))["corrections"]
    except NoConnection:
        print("There is no connection. This is what the phone knows.")
        lines = _from_the_phone(folder)
    else:
        lines = [line for correction in corrections for line in _told(correction)]
    for line in lines or ["You have asked no question."]:
        print(line)
    return DONE


def _from_the_phone(folder: PhoneFolder) -> list[str]:
    with opened(folder) as phone:
        return [line_of(read_json(task.body)) for task in phone.engine.shown("Task")]


def _told(correction: Any) -> Iterator[str]:
    for step in correction["history"]:
        yield one_line(f"{step['at'][:10]}  {step['sentence']}", longest=SENTENCE_MAX)
    followed = correction.get("followed")
    if followed and followed.get("saw"):
        saw, told = int(followed["saw"]), int(followed.get("told", 0))
        people = counted(saw, "person", "people")
        yield f"            {people} saw it as it was. {told} of them have been told."
