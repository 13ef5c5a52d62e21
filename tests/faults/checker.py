"""Checks the eight lines of the promise from outside, after a run.

It imports nothing of Wrapup's, and reads only what is in the run's folder: what clients were told (``told.ndjson``),
what the stand-in for CloudAgent saw (``cloudagent.ndjson``), what ``wrapup audit export`` says (``export.ndjson``), and
for the apiKeys (``secrets.txt``, one a line) everything that the processes said (``*.log``). How long a lease is
(``lease.txt``, in seconds) it is told.

``python tests/faults/checker.py FOLDER`` checks one folder again. Exit status 1: a promise was broken.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]

FINAL = frozenset({"delivered", "failed", "superseded", "cancelled"})
GOOD = frozenset({"saved", "queued_upstream", "updated", "confirmed_by_conflict"})

# A claim that was under way when the hold was committed is let through. It takes moments.
CLAIM_UNDER_WAY = timedelta(seconds=2)


@dataclass
class Findings:
    """What a run showed. Each list holds a sentence for each time that a promise was broken."""

    accepted: int = 0
    repeats: int = 0
    crashes: int = 0
    timeouts: int = 0
    failures: int = 0
    lost: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    unaudited: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    after_the_lease: list[str] = field(default_factory=list)
    in_spite_of_hold: list[str] = field(default_factory=list)
    harmed: list[str] = field(default_factory=list)  # accounts, by the trouble of others
    leaked: list[str] = field(default_factory=list)  # apiKeys

    def broken(self) -> dict[str, list[str]]:
        """The promises that were broken, by name."""
        lists = {one.name.replace("_", " "): getattr(self, one.name) for one in fields(self)}
        return {name: found for name, found in lists.items() if isinstance(found, list) and found}

    def add(self, other: Findings) -> None:
        """Adds what another run showed."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def line(self, *, points_hit: int, points: int, runs: int) -> str:
        """All of it in one line."""
        return (
            f"points {points_hit}/{points}, runs {runs}, accepted {self.accepted}, lost {len(self.lost)}, "
            f"out of order {len(self.out_of_order)}, unaudited {len(self.unaudited)}, repeats {self.repeats} = "
            f"crash {self.crashes} + timeout {self.timeouts} + recorded failure {self.failures}, "
            f"unexplained {len(self.unexplained)}"
        )


@dataclass(frozen=True)
class Evidence:
    """What is known of a run.

    ``lease``: how long after its attempt began a call may reach CloudAgent. ``calm``: accounts for which nothing goes
    wrong at CloudAgent.
    """

    told: Sequence[Record]
    arrivals: Sequence[Record]
    exported: Sequence[Record]
    said: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[str] = ()
    lease: timedelta = timedelta.max
    calm: Sequence[str] = ()

    @classmethod
    def read(cls, folder: Path) -> Evidence:
        """From a run's folder."""
        told = _lines(folder / "told.ndjson")
        return cls(
            told=told,
            arrivals=_lines(folder / "cloudagent.ndjson"),
            exported=_lines(folder / "export.ndjson"),
            said={
                path.name: path.read_text(errors="replace")
                for path in sorted(folder.iterdir())
                if path.is_file() and path.name != "secrets.txt"
            },
            secrets=(folder / "secrets.txt").read_text().split(),
            lease=timedelta(seconds=float((folder / "lease.txt").read_text())),
            calm=sorted({one["account"] for one in told if one.get("calm")}),
        )


def check(evidence: Evidence) -> Findings:
    """Holds what happened against the promise."""
    found = Findings()
    book = _Book(evidence)
    found.accepted = len(book.accepted)
    found.lost += _lost(book)
    found.out_of_order += _out_of_order(book)
    found.unaudited += _unaudited(book)
    _count_repeats(book, found)
    found.after_the_lease += _after_the_lease(book)
    found.in_spite_of_hold += _in_spite_of_hold(book)
    found.harmed += [
        f"{one['id']} of {one['account']} has failed: {one['cause']}"
        for one in evidence.exported
        if one["account"] in evidence.calm and one["state"] == "failed"
    ]
    found.leaked += [
        f"an apiKey is in {name}"
        for name, text in evidence.said.items()
        if any(key in text for key in evidence.secrets)
    ]
    return found


class _Book:
    """The evidence, sorted."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.dispositions: dict[str, Record] = {one["id"]: one for one in evidence.exported}
        self.attempts: dict[str, Record] = {}
        self.of_attempt: dict[str, Record] = {}
        for one in evidence.exported:
            for attempt in one["attempts"]:
                self.attempts[attempt["id"]] = attempt
                self.of_attempt[attempt["id"]] = one
        # The first time that a disposition was told of is when it was accepted; its place among those of its call.
        self.accepted: dict[str, Record] = {}
        for one in evidence.told:
            if one["kind"] == "post" and one["status"] in (200, 202):
                self.accepted.setdefault(one["id"], one)

    def place(self, disposition_id: str | None) -> int | None:
        """The how-manieth of its call it is. None for one that nobody was told of: nobody knows its order."""
        told = self.accepted.get(disposition_id or "")
        return None if told is None else told["place"]


def _lost(book: _Book) -> Iterator[str]:
    """Promises 1 and 2: what was answered with 202 is stored, and all that is stored ends."""
    for known in book.accepted.keys() - book.dispositions.keys():
        yield f"{known} was answered with 202 and is not stored"
    applied = {arrival["request_id"] for arrival in book.evidence.arrivals if arrival["applied"]}
    for one in book.evidence.exported:
        if one["state"] not in FINAL:
            yield f"{one['id']} is still {one['state']}"
        if one["state"] == "delivered" and not any(attempt["id"] in applied for attempt in one["attempts"]):
            yield f"{one['id']} is recorded as delivered, and CloudAgent never had it"


def _out_of_order(book: _Book) -> Iterator[str]:
    """Promise 3: an older one is never started after a newer one, and never takes its place."""
    newest: dict[tuple[str, str], int] = {}
    for arrival in book.evidence.arrivals:
        one = book.of_attempt.get(arrival["request_id"])
        place = book.place(one["id"]) if one else None
        if one is None or place is None:
            continue
        call = one["account"], one["ucid"]
        if place < newest.get(call, 0):
            yield f"{one['id']}, number {place} of call {one['ucid']}, was started after number {newest[call]}"
        newest[call] = max(place, newest.get(call, 0))
    for one in book.evidence.exported:
        place, by = book.place(one["id"]), book.place(one["superseded_by"])
        if place is not None and by is not None and by < place:
            yield f"{one['id']}, number {place} of call {one['ucid']}, is superseded by number {by}"


def _unaudited(book: _Book) -> Iterator[str]:
    """Promise 5: every call has one attempt row, committed before it; and the record says what happened."""
    seen: set[str] = set()
    for arrival in book.evidence.arrivals:
        request_id = arrival["request_id"]
        attempt = book.attempts.get(request_id)
        if attempt is None:
            yield f"CloudAgent was called with {request_id}, of which there is no attempt"
            continue
        if request_id in seen:
            yield f"CloudAgent was called twice for attempt {request_id}"
        seen.add(request_id)
        if _time(attempt["started_at"]) > _time(arrival["arrived_at"]):
            yield f"attempt {request_id} was written after its call"
        if attempt["certainty"] == "not_sent":
            yield f"attempt {request_id} is recorded as not sent, and was"
        if book.of_attempt[request_id]["ucid"] != arrival["ucid"]:
            yield f"attempt {request_id} is of another call than CloudAgent was told"
    for one in book.evidence.exported:
        ends = [event for event in one["events"] if event["from"] == "sending"]
        if len(ends) > 1 + sum(event["action"] == "retried" for event in one["events"]):
            yield f"{one['id']} ended {len(ends)} times"
        if one["state"] in FINAL:
            for attempt in one["attempts"]:
                if attempt["outcome"] is None:
                    yield f"attempt {attempt['id']} of {one['id']}, which is {one['state']}, has no outcome"


def _count_repeats(book: _Book, found: Findings) -> None:
    """Promise 4: a repeat needs an attempt before it that is recorded as failed or of unknown outcome.

    And none is called once a later one was: what it was called for was over by then, with its lease.
    """
    last: dict[str, int] = {}
    for arrival in book.evidence.arrivals:
        one = book.of_attempt.get(arrival["request_id"])
        if one is None:
            continue
        attempt = book.attempts[arrival["request_id"]]
        if one["id"] in last:
            found.repeats += 1
            if attempt["number"] < last[one["id"]]:
                found.unexplained.append(f"attempt {attempt['id']} of {one['id']} was called after a later one")
            else:
                _explain(one, attempt, found)
        last[one["id"]] = max(attempt["number"], last.get(one["id"], 0))


def _explain(one: Record, attempt: Record, found: Findings) -> None:
    before = next((other for other in one["attempts"] if other["number"] == attempt["number"] - 1), None)
    if before is None or before["outcome"] in (None, *GOOD):
        outcome = "missing" if before is None else before["outcome"]
        found.unexplained.append(f"attempt {attempt['id']} of {one['id']} follows one that is {outcome}")
    elif before["finished_at"] is None:
        found.crashes += 1
    elif _time(before["finished_at"]) > _time(attempt["started_at"]):
        found.unexplained.append(f"attempt {attempt['id']} of {one['id']} began before the end of the one before it")
    elif before["certainty"] == "sent_unknown":
        found.timeouts += 1
    else:
        found.failures += 1


def _after_the_lease(book: _Book) -> Iterator[str]:
    """What promises 3 and 4 rest on: when the lease is out, and somebody else may have the call, nothing is sent."""
    for arrival in book.evidence.arrivals:
        attempt = book.attempts.get(arrival["request_id"])
        if attempt and _time(arrival["arrived_at"]) - _time(attempt["started_at"]) > book.evidence.lease:
            yield f"CloudAgent was called for attempt {attempt['id']} after its lease was out"


def _in_spite_of_hold(book: _Book) -> Iterator[str]:
    """Promise 8 and the word *hold*: nothing starts for an account from the hold's answer to its release."""
    held: dict[str, datetime] = {}
    spans: defaultdict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for one in book.evidence.told:
        if one["kind"] == "hold" and one["status"] == 200:
            held[one["account"]] = _time(one["told_at"]) + CLAIM_UNDER_WAY
        elif one["kind"] == "release" and one["account"] in held:
            spans[one["account"]].append((held.pop(one["account"]), _time(one["sent_at"])))
    for attempt_id, attempt in book.attempts.items():
        account = book.of_attempt[attempt_id]["account"]
        if any(since < _time(attempt["started_at"]) < until for since, until in spans[account]):
            yield f"attempt {attempt_id} started while {account} was on hold"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _lines(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def main(folders: Iterable[str]) -> int:
    """Checks the folders and prints what it found."""
    total = Findings()
    runs = 0
    for folder in folders:
        total.add(check(Evidence.read(Path(folder))))
        runs += 1
    print(total.line(points_hit=0, points=0, runs=runs))
    for promise, sentences in total.broken().items():
        print(f"{promise}:", *sentences, sep="\n    ")
    return 1 if total.broken() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
