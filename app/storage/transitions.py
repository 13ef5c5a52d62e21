"""The lifecycle's table as SQL: which states an edge may leave, for the WHERE of every write of a state."""

from __future__ import annotations

from app.domain.lifecycle import WAITING, Edge, State


def _states(states: frozenset[State]) -> str:
    return "(" + ", ".join(f"'{state}'" for state in sorted(states)) + ")"


def leaves(edge: Edge) -> str:
    """The states that ``edge`` may leave, as the right side of ``state IN``. Constants of ours, no input."""
    return _states(edge.leaves)


IS_WAITING = f"state IN {_states(WAITING)}"
