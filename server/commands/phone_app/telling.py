"""What the phone says after an exchange, and of how far it is: never more than was proved."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from server.commands.phone_app.attention import concern_lines
from server.commands.phone_app.opened import OpenPhone
from server.commands.phone_app.refusals import ATTENTION, DONE, ENDED, OFFLINE, SIGN_IN, WRONG
from server.commands.phone_app.words import clock_time, counted
from sync.phone import Report, Status

TROUBLE_STATUS = {"no-answer": OFFLINE, "sign-in": SIGN_IN, "ended": ENDED}


def tell(phone: OpenPhone, report: Report) -> int:
    """Says how it went; the exit status."""
    if report.trouble == "no-answer":
        print("There is no connection.")
    elif report.trouble and report.trouble != "ended":
        print(report.detail or report.trouble)
    for line in (*answer_lines(phone), *state_lines(report.status, phone.now)):
        print(line)
    for concern in phone.engine.concerns():
        for line in concern_lines(phone, concern):
            print(line)
    if report.trouble:
        return TROUBLE_STATUS.get(report.trouble, WRONG)
    return ATTENTION if report.status.attention else DONE


def answer_lines(phone: OpenPhone) -> Iterator[str]:
    """What commands answered, each told once: an offer's code is shown this once and kept nowhere."""
    for result in phone.engine.answers():
        answer: Any = msgspec.json.decode(bytes(result.answer)) if result.answer else {}
        offer = answer.get("offer")
        if answer.get("sentence"):
            yield str(answer["sentence"])
        if offer:
            yield f"The code is {offer['code']}. It can be used for {offer['expires_in'] // 60} minutes."
        receipt = answer.get("receipt") or answer
        if receipt.get("cannot_undo"):
            yield str(receipt["cannot_undo"])
        phone.engine.forget_answer(result.mid)


def state_lines(status: Status, now: datetime) -> Iterator[str]:
    """The state in plain words, which never say more than was proved."""
    if status.is_ended:
        yield "This phone was ended from another device. Everything on it has been deleted."
        return
    if status.log_alarm:
        yield f"THE ACCESS LOG IS NOT AS IT WAS: {status.log_alarm}"
    if status.waiting:
        yield f"{counted(status.waiting, 'change')} waiting."
    if status.attention:
        needs = "thing needs" if status.attention == 1 else "things need"
        yield f"{status.attention} {needs} your attention: see `held phone conflicts`."
    at = clock_time(status.proved_at, now, now.tzinfo) if status.proved_at else ""
    if status.is_proved and not status.waiting and not status.log_alarm:
        yield f"Up to date, proved at {at}."
    elif at:
        yield f"Last proved at {at}."
    else:
        yield "Not yet compared with the server."
