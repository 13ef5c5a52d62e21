"""Corrections: a failed disposition with some fields changed. It becomes a new one; the old one stays as it was.

One by one any field but the account may be changed. In bulk a value map says which value is wrong and what is right:
``{"agent_id": {"x7": "a17"}}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.domain.callback_time import CallbackFormat, format_callback_time
from app.domain.disposition import FIELDS
from app.domain.errors import Fault, InvalidInput
from app.domain.refusals import kind, quoted, refusal, shortened

ValueMap = Mapping[str, Mapping[str, str]]
"""Field to wrong value to right value."""

MAPPABLE = ("did", "agent_id", "disposition", "callback_time_zone")
"""The fields whose values many dispositions share, so that one of them can be wrong in all."""

MOST_MAPPED = 1000
"""Values of one field."""

_FIXED = "account"  # and with it whose credentials are used
_RULES = {field.name: field.rule for field in FIELDS}

# A correction comes late, and would pause the agent in the middle of other work. Who wants that says it anew.
_NOT_CARRIED_OVER = frozenset({"pause_after_dispose", "pause_reason"})

_NAME_OF = {name: field.name for field in FIELDS for name in (field.name, field.alias) if name}


def corrected(was: Mapping[str, Any], changes: Mapping[str, object]) -> dict[str, object]:
    """The fields of the new disposition, for ``parse_disposition``. ``was`` has the old one's columns.

    A change to null or to nothing takes the field away. Raises ``InvalidInput`` if nothing is changed, or the account.
    """
    fixed = [name for name in changes if _NAME_OF.get(name) == _FIXED]
    if fixed:
        reason = "can't be changed: hand in a disposition for the other account, and cancel this one or leave it"
        raise refusal(fixed[0], reason)
    changed = {_NAME_OF.get(name, name) for name in changes}
    fields = {name: value for name, value in _written(was).items() if name not in changed} | dict(changes)
    if not changes:
        raise refusal("body", "changes nothing: give the fields that were wrong, or use /retry to send it as it is")
    return fields


def mapped(was: Mapping[str, Any], value_map: ValueMap) -> dict[str, object]:
    """What the value map changes in a disposition; nothing if it has none of the wrong values."""
    return {field: values[was[field]] for field, values in value_map.items() if was[field] in values}


def parse_value_map(name: str, sent: object) -> ValueMap:
    """The value map of a request, its right values checked as any are. Raises ``InvalidInput`` with every fault."""
    if not isinstance(sent, Mapping) or not sent:
        example = 'it must be an object such as {"agent_id": {"x7": "a17"}}'
        raise refusal(name, f"is {'empty' if sent == {} else kind(sent)}; {example}")
    faults: list[Fault] = []
    value_map: dict[str, dict[str, str]] = {}
    for field, values in sent.items():
        where = f"{name}.{shortened(field)}"
        if field not in MAPPABLE:
            faults.append(Fault(where, f"{where} can't be mapped; there are: {', '.join(MAPPABLE)}."))
        elif not isinstance(values, Mapping) or not 1 <= len(values) <= MOST_MAPPED:
            what = f"has {len(values)} values" if isinstance(values, Mapping) else f"is {kind(values)}"
            faults.append(Fault(where, f"{where} {what}; it must be an object of 1 to {MOST_MAPPED}: wrong to right."))
        else:
            value_map[field] = {}
            for wrong, right in values.items():
                try:
                    value_map[field][wrong] = _right(f"{where}.{shortened(wrong)}", wrong, right, _RULES[field])
                except InvalidInput as refused:
                    faults.extend(refused.faults)
    if faults:
        raise InvalidInput(faults)
    return value_map


def _right(name: str, wrong: str, right: object, rule: Callable[[str, object], object]) -> str:
    value = right.strip() if isinstance(right, str) else right
    if value is None or value == "":
        raise refusal(name, "is empty; give the right value")
    rule(name, value)
    if value == wrong:
        raise refusal(name, f"is {quoted(wrong)}, which is what it was")
    return str(value)


def _written(was: Mapping[str, Any]) -> dict[str, object]:
    """A stored disposition as its request would be written. What is absent is left out."""
    fields = {name: was.get(name) for name in _RULES.keys() - _NOT_CARRIED_OVER if was.get(name) is not None}
    if was["callback_time"] is not None:
        fields["callback_time"] = format_callback_time(was["callback_time"], CallbackFormat.YMD)
    if was["occurred_at"] is not None:
        fields["occurred_at"] = was["occurred_at"].isoformat()
    return fields
