"""Every refusal Held can answer with.

HeldError
├── BadRequest            bad-request         what was sent cannot be read or breaks a rule
│   ├── UnknownParameter  unknown-parameter
│   └── BodyRefused       body-refused        JSON we do not take: duplicate keys, depth, digits ...
├── TooLarge              too-large
│   └── HeadersTooLarge
├── TooSlow               too-slow
├── UnsupportedMedia      unsupported-media-type
├── NotAcceptable         not-acceptable
├── NotSignedIn           not-signed-in
│   └── StepUpNeeded      step-up-needed      sign in again (RFC 9470)
├── Forbidden             forbidden
├── NotFound              not-found           also: not yours, hidden, ended
├── AccessEnded           access-ended
├── Conflict              conflict
│   └── Stale             stale
├── LimitReached          limit-reached
├── RuleBroken            business-rule
├── Busy                  busy                try again shortly
└── OAuthError            (RFC 6749 section 5.2; `error` is its code)

Only server/http/outcomes.py knows which status and which shape each becomes.
"""


class HeldError(Exception):
    """Something went wrong."""

    code = "error"

    def __init__(self, detail: str | None = None, *, pointer: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        self.pointer = pointer
        super().__init__(self.detail)


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


class LimitReached(HeldError):
    """You have reached a limit. Try again later."""

    code = "limit-reached"

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int = 60) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


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
