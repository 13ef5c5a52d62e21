"""`wrapup sandbox`. The command stands with the stand-in, which imports nothing else from `app`."""

from app.sandbox.command import sandbox

__all__ = ["sandbox"]
