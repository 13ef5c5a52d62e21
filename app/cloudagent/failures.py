"""How a call ends without an answer. The texts name host and port, never a path, a query or a key.

::

    CallFailed
    ├── NotSent        not one byte of the request was handed to the socket
    └── SentUnknown    some of it was, and no full answer came: CloudAgent may have acted on it
"""

from __future__ import annotations

import os
import ssl
from typing import ClassVar

from app.domain.errors import WrapupError
from app.domain.replies import Certainty


class CallFailed(WrapupError):
    """A call that ended without a full answer."""

    certainty: ClassVar[Certainty]


class NotSent(CallFailed):
    """CloudAgent certainly did not get the request."""

    certainty = Certainty.NOT_SENT


class SentUnknown(CallFailed):
    """CloudAgent may have got the request."""

    certainty = Certainty.SENT_UNKNOWN


def explain(error: OSError) -> str:
    """Why there is no connection: what TLS or the operating system said, without what is around it."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate was refused, {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed, {str(error.reason).replace('_', ' ').lower()}"
        case TimeoutError():
            return "it does not answer"
        case ConnectionResetError():
            return "connection reset by peer"
    return os.strerror(error.errno).lower() if error.errno else error.strerror or type(error).__name__
