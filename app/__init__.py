"""Wrapup: every call disposition into CloudAgent, or a recorded reason why not."""
