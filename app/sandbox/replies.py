"""What CloudAgent says: every documented reply in the vendor's own wording, oddities kept.

Kept on purpose: the space before "Success", the space before the full stop, the bracket that is never closed,
and the letter case of "successfully", which differs between the two kinds of update.
"""

from __future__ import annotations

from dataclasses import dataclass

Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class Reply:
    """One row of the reply table: its name here, and the JSON members in the order in which they are sent."""

    name: str
    members: tuple[tuple[str, object], ...]

    @property
    def fields(self) -> Fields:
        """The members as a new dict."""
        return dict(self.members)

    def about(self, **values: str) -> Reply:
        """The same reply with `{placeholders}` filled in by what the caller sent."""
        return Reply(self.name, tuple((key, str(text).format_map(values)) for key, text in self.members))


def _details_first(name: str, details: str, status: str) -> Reply:
    return Reply(name, (("details", details), ("status", status)))


def _status_first(name: str, details: str, status: str) -> Reply:
    return Reply(name, (("status", status), ("details", details)))


def _gateway(name: str, message: str) -> Reply:
    """The JSON API's refusals come from its gateway, in another shape than its answers about dispositions."""
    return Reply(name, (("status", "false"), ("message", message), ("data", None)))


# Both flavours.
INVALID_CALL = _details_first("invalid_call", "Invalid ucid [{ucid}] or did [{did}", "Fail")
RETRY_LATER = _status_first("retry_later", "Unable to Dispose . Please retry after some time.", "Error")
INVALID_ACTION = _details_first("invalid_action", "Invalid action->{action}", "Fail")
EMPTY_DISPOSITION = _details_first("empty_disposition", "Empty disposition code", "Fail")
INVALID_AGENT = _details_first("invalid_agent", "Invalid agent", "Fail")
MAX_LIMIT = _status_first("max_limit", "Max limit exceeded", "Error")

# V3, the query API.
SAVED = _details_first("saved", "Disposition saved successfully", " Success")
QUEUED = _details_first("queued", "queued successfully", "Success")
UPDATED_TIME = _details_first("updated_time", "Disposition Updated successfully", "Success")
UPDATED_ZONE = _details_first("updated_zone", "Disposition Updated Successfully", "Success")
AUTHENTICATION_FAILS = _details_first("authentication_fails", "Authentication fails", "Fail")
INVALID_CALLBACK_TIME = _details_first(
    "invalid_callback_time", "callBackTime should be in yyyy-mm-dd HH:mm:ss Format with valid Date", "Fail"
)

# V2, the JSON API.
V2_SAVED = _details_first("saved", "Disposition saved successfully", "Success")
V2_QUEUED = Reply("queued", (("status", "Success"), ("message", "Disposition Queued Successfully")))
ALREADY_DISPOSED = _details_first("already_disposed", "This call is already Disposed.", "Fail")
PAUSE_REASON = _details_first("pause_reason", "Provide pause reason.", "Fail")
INVALID_KEY = _gateway("invalid_key", "Invalid userName or apiKey")
NO_USER_NAME = _gateway("no_user_name", "UserName is null")
NO_TOKEN = _gateway("no_token", "Token Should Not be Null or Empty.")
TOKEN_EXPIRED = _gateway("token_expired", "Token Expired")
INVALID_TOKEN = _gateway("invalid_token", "Invalid Token")
TOKEN_LIMIT = _gateway("token_limit", "Max limit exceeded")


def codes_listed(codes: tuple[str, ...]) -> Reply:
    """The answer to V2's `action=get`: the account's disposition codes."""
    return Reply("codes_listed", (("status", "Success"), ("details", codes)))


def token_granted(token: str) -> Reply:
    """The answer to `generateToken`."""
    return Reply("token_granted", (("token", token), ("message", "")))
