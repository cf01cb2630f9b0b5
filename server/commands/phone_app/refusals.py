"""What can stop a command of the phone, in words for the person who holds it.

Each has the exit status a script can go by: 1 something is wrong, 2 asked for in the wrong way, 3 there is no
connection, 4 sign in again, 5 this phone was ended.
"""

DONE, WRONG, MISUSED, OFFLINE, SIGN_IN, ENDED, ATTENTION = 0, 1, 2, 3, 4, 5, 6


class PhoneRefusal(Exception):
    """The phone cannot do this."""

    status = MISUSED

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class NoPhone(PhoneRefusal):
    """There is no phone here yet. Begin with `held phone init`."""


class PhoneBusy(PhoneRefusal):
    """Another command is using this phone. Try again when it is done."""

    status = WRONG


class PhoneDamaged(PhoneRefusal):
    """What this phone kept cannot be read."""

    status = WRONG


class NothingLikeIt(PhoneRefusal):
    """This phone holds no such item."""


class NoConnection(PhoneRefusal):
    """There is no connection. What you did here is kept, and goes out at the next `held phone sync`."""

    status = OFFLINE


class MustSignIn(PhoneRefusal):
    """You need to sign in again."""

    status = SIGN_IN


class PhoneEnded(PhoneRefusal):
    """This phone was ended from another device. Everything on it has been deleted."""

    status = ENDED
