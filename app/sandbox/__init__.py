"""A stand-in for CloudAgent's disposition API: a loopback HTTP server that behaves as the vendor documents.

It serves the demo (`wrapup up --sandbox`, `wrapup sandbox`), the tests and the benchmarks, and it is an
opinion of its own about the vendor: it imports nothing else from `app`.

As a library, on the caller's own event loop::

    async with Sandbox(api_key="k") as sandbox:
        sandbox.script("1234567890123456", ["reset_after", "503:2"])   # first call, second call, then normal
        ...                                                            # call sandbox.url
        assert [seen.fault for seen in sandbox.log] == ["reset_after", "503:2", None]

As a process: `wrapup sandbox`, or `python -m app.sandbox`, steered by HTTP under `/_sandbox/` (see
`control.py`).

Reading order: `replies.py` (what CloudAgent says), `rules.py` (when), `endpoints.py` (how it is asked),
`faults.py` and `scripts.py` (what goes wrong, and when), `magic.py` (the demo's values), `server.py` (all
together), `wire.py` and `endings.py` (bytes), `log.py` (what was seen).
"""

from app.sandbox.faults import DECORATIONS, FAULTS
from app.sandbox.log import Request
from app.sandbox.server import NotLoopbackError, Sandbox
from app.sandbox.state import Account, Call, Disposition

__all__ = [
    "DECORATIONS",
    "FAULTS",
    "Account",
    "Call",
    "Disposition",
    "NotLoopbackError",
    "Request",
    "Sandbox",
]
