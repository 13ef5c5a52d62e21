"""What the columns of a file (or the members of its objects) are: which fields, under which names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import typer

from app.domain.disposition import FIELDS
from app.domain.errors import Fault, InvalidInput
from app.domain.refusals import quoted

KEY = "idempotency_key"
"""A row's own key, as in the API's batches. Also how a failure is sent again of which nobody knows the end."""

ERROR = "error"
"""Why a row failed, in a file of failures; passed over when that is read."""

EVERY_OTHER = "*"
"""Given to --ignore: whatever is no field."""

_FIELD_OF = {name: field.name for field in FIELDS for name in (field.name, field.alias) if name} | {KEY: KEY}
_BY_FOLDED_NAME = {name.replace("_", "").lower(): name for name in _FIELD_OF}


@dataclass(frozen=True, slots=True)
class Columns:
    """How names are read: ``renamed`` has the file's names, ``constants`` the fields that all rows share."""

    renamed: Mapping[str, str]
    constants: Mapping[str, str]
    ignored: frozenset[str]

    @classmethod
    def given(cls, maps: Sequence[str], sets: Sequence[str], ignored: Sequence[str]) -> Columns:
        """As the options say it: 'Agent Name=agent_id', 'account=acme', 'Notes'."""
        renamed = dict(_pair("--map", "Agent Name=agent_id", *text.rpartition("=")) for text in maps)
        constants = dict(_pair("--set", "account=acme", *text.partition("=")) for text in sets)
        for option, names in (("--map", renamed.values()), ("--set", constants)):
            for name in names:
                if name not in _FIELD_OF:
                    raise typer.BadParameter(f"{option}: '{name}' is not a field. The fields are {_fields()}")
        return cls(renamed, constants, frozenset(ignored))

    def name_of(self, column: str) -> str | None:
        """The name under which a column's value is handed in; None if it is left out. An unknown one keeps its own."""
        if column in self.renamed:
            return self.renamed[column]
        if column == ERROR or column in self.ignored:
            return None
        if column in _FIELD_OF or EVERY_OTHER not in self.ignored:
            return column
        return None

    def knows(self, column: str) -> bool:
        """True for a column that is a field, or that an option or a file of failures names."""
        return column in _FIELD_OF or column in self.renamed or column in self.ignored or column == ERROR

    def names_of(self, header: Sequence[str]) -> list[str | None]:
        """The names for the columns of a header row; refuses one that would lose something or could not work."""
        names = [self.name_of(column) for column in header]
        if faults := [*self._faults(header, names)]:
            raise typer.BadParameter("; ".join(faults))
        return names

    def fields(self, record: Mapping[str, object]) -> dict[str, object]:
        """The fields that an object's members are. Raises ``InvalidInput`` if two members would be the same one."""
        fields: dict[str, object] = {}
        for column, value in record.items():
            name = self.name_of(column)
            if name in fields:
                raise InvalidInput([Fault(name, f"{name} comes twice, once as {quoted(column)}; leave one out")])
            if name is not None:
                fields[name] = value
        return fields

    def complete(self, fields: dict[str, object]) -> None:
        """Adds the constants. Raises ``InvalidInput`` where a row says something else."""
        for name, constant in self.constants.items():
            own = fields.get(name)
            if own is None or (isinstance(own, str) and not own.strip()):
                fields[name] = constant
            elif own != constant:
                fault = f"{name} is {quoted(own)} here, and --set says {quoted(constant)}; leave out one of them"
                raise InvalidInput([Fault(name, fault)])

    def _faults(self, header: Sequence[str], names: Sequence[str | None]) -> Iterator[str]:
        there = ", ".join(f"'{column}'" for column in header)
        for column in self.renamed:
            if column not in header:
                yield f"--map: there is no column '{column}'; there are {there}"
        for position, column in enumerate(header):
            if not column and names[position] is not None:
                yield f"column {position + 1} has no name; give it one, or --ignore ''"
        if unknown := [name for name in names if name and name not in _FIELD_OF]:
            yield f"not a field: {', '.join(map(_advice, unknown))}. Leave out what is none with --ignore NAME"
        known = [name for name in names if name in _FIELD_OF]
        yield from (f"two columns are {name}; --ignore one" for name in sorted(set(known)) if known.count(name) > 1)
        found = {_FIELD_OF[name] for name in (*known, *self.constants) if name}
        if missing := [field.name for field in FIELDS if field.required and field.name not in found]:
            yield f"no column for {', '.join(missing)}: give --map 'Its column=field' or --set field=value"


def _pair(option: str, example: str, name: str, equals: str, value: str) -> tuple[str, str]:
    if not (name and equals and value):
        raise typer.BadParameter(f"{option} '{name}{equals}{value}' is not like '{example}'")
    return name, value


def _advice(column: str) -> str:
    folded = "".join(filter(str.isalnum, column)).lower()
    near = get_close_matches(folded, _BY_FOLDED_NAME, n=1)
    return f"'{column}' (--map '{column}={_BY_FOLDED_NAME[near[0]]}'?)" if near else f"'{column}'"


def _fields() -> str:
    return ", ".join(field.name for field in FIELDS)
