"""Every refusal Held can answer with.

HeldError
├── BadRequest            bad-request         what was sent cannot be read or breaks a rule
│   ├── UnknownParameter  unknown-parameter
│   └── BodyRefused       body-refused        JSON we do not take: duplicate keys, depth, digits ...
├── TooLarge              too-large
│   ├── HeadersTooLarge
│   └── OverSyncLimits    limits              more than one push may hold
├── TooSlow               too-slow
├── UnsupportedMedia      unsupported-media-type
├── NotAcceptable         not-acceptable
├── NotSignedIn           not-signed-in
│   └── StepUpNeeded      step-up-needed      sign in again (RFC 9470)
├── Forbidden             forbidden
│   ├── DeviceUnknown     device-unknown      the key of a phone that is not registered
│   └── DeviceEnded       wipe                the key of a phone whose access its owner ended
├── NotFound              not-found           also: not yours, hidden, ended
├── AccessEnded           access-ended
├── Conflict              conflict
│   └── Stale             stale
├── CursorReset           reset               a phone must load its record anew
├── HeadMoved             moved               the record is no longer where the caller says
├── VersionMoved          version-moved       If-Match names another version than the one that stands
├── NotOffered            method-not-allowed  this address does not take that method
├── UpgradeNeeded         upgrade
├── LimitReached          limit-reached
│   └── PushedTooOften    slow
├── RuleBroken            business-rule
├── Busy                  busy                try again shortly
└── OAuthError            (RFC 6749 section 5.2; `error` is its code)

Only server/http/outcomes.py knows which status and which shape each becomes.
"""

from typing import Self


class HeldError(Exception):
    """Something went wrong."""

    code = "error"

    def __init__(self, detail: str | None = None, *, pointer: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        self.pointer = pointer
        self.members: dict[str, object] = {}
        super().__init__(self.detail)

    def with_members(self, **members: object) -> Self:
        """The same refusal, saying more: what stands beside `code` in the problem."""
        self.members = members
        return self


class BadRequest(HeldError):
    """We could not read what you sent."""

    code = "bad-request"


class UnknownParameter(BadRequest):
    """We do not know one of the parameters you sent."""

    code = "unknown-parameter"


class BodyRefused(BadRequest):
    """The JSON you sent breaks one of our reading rules."""

    code = "body-refused"


class TooLarge(HeldError):
    """What you sent is larger than we take."""

    code = "too-large"


class HeadersTooLarge(TooLarge):
    """The request headers are larger than we take."""


class OverSyncLimits(TooLarge):
    """This is more than we take at once. Send less each time."""

    code = "limits"


class TooSlow(HeldError):
    """Your request took too long to arrive."""

    code = "too-slow"


class UnsupportedMedia(HeldError):
    """We do not take this content type."""

    code = "unsupported-media-type"


class NotAcceptable(HeldError):
    """We cannot answer in the format you asked for."""

    code = "not-acceptable"


class NotSignedIn(HeldError):
    """You need to sign in."""

    code = "not-signed-in"

    def __init__(self, detail: str | None = None, *, error: str = "invalid_token") -> None:
        super().__init__(detail)
        self.error = error


class StepUpNeeded(NotSignedIn):
    """You need to sign in again before doing this."""

    code = "step-up-needed"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, error="insufficient_user_authentication")


class Forbidden(HeldError):
    """You cannot do this."""

    code = "forbidden"


class DeviceUnknown(Forbidden):
    """This phone is not registered with this record. Register it first."""

    code = "device-unknown"


class DeviceEnded(Forbidden):
    """This phone's access was ended. Delete what it holds."""

    code = "wipe"


class NotFound(HeldError):
    """There is nothing here that you can see."""

    code = "not-found"


class AccessEnded(HeldError):
    """This access has ended."""

    code = "access-ended"


class Conflict(HeldError):
    """This clashes with how things stand now."""

    code = "conflict"


class Stale(Conflict):
    """This changed since you last read it."""

    code = "stale"


class CursorReset(HeldError):
    """What this phone holds cannot be brought up to date. Load the record anew."""

    code = "reset"


class HeadMoved(HeldError):
    """The record has changed since the place you asked about."""

    code = "moved"


class VersionMoved(HeldError):
    """This changed since you read it. Read it again before you change it."""

    code = "version-moved"


class NotOffered(HeldError):
    """This address does not take that method."""

    code = "method-not-allowed"


class UpgradeNeeded(HeldError):
    """This app is too old for us. Install a newer one."""

    code = "upgrade"


class LimitReached(HeldError):
    """You have reached a limit. Try again later."""

    code = "limit-reached"

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int = 60) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class PushedTooOften(LimitReached):
    """This phone sends too often. Wait a little."""

    code = "slow"


class RuleBroken(HeldError):
    """This is well formed but not allowed."""

    code = "business-rule"


class Busy(HeldError):
    """We are busy. Try again shortly."""

    code = "busy"

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class OAuthError(HeldError):
    """The token request was refused."""

    code = "oauth"

    def __init__(self, error: str, detail: str | None = None, **extra: object) -> None:
        super().__init__(detail or "")
        self.error = error
        self.extra = extra
