"""A model of the protocol that keeps a call's dispositions in order, small enough to look at every state of it.

One call, three dispositions, two workers. Whatever can happen at a moment is an ``Action``; ``explore`` follows every
order of them, breadth first, so the way that it gives to a violation is a shortest one. A *tick* lets time pass. What
takes no time in the code (a few statements between two awaits) can't be interrupted by a tick, but by a pause.

Each action stands for a statement of the code:

==============  =======================================================================================================
draw, commit    ``storage/dispositions.py``: ``_LOCK_CALLS`` (the call's lock and its next ``seq``), then ``_INSERT``,
                ``_UPDATE_CALLS``, ``_SUPERSEDE_OLDER`` and the COMMIT. ``abort``: the API is killed in between
claim           ``storage/calls.py``: ``_LEASE``, ``_SEND`` and ``_LET_GO``, one transaction. At any moment, whenever
                something is due: wake-ups may be late, lost or doubled
look            ``services/delivery.py``: the comparison with ``start_by``
begin           ``cloudagent/client.py``: the call's deadline begins, at ``start_by`` if that has passed
check           ``cloudagent/transport.py``: the comparison with ``wrapup.send_by``
send            ``cloudagent/connection.py``: the write. The packet is under way
arrive          CloudAgent starts what it was sent, at any moment before the call's deadline; or the packet is lost
reply, fail     the reply is read; or there is none (a reset, the deadline)
finish          ``storage/attempts.py``: ``_FINISH``, guarded by ``calls.lock_current``. As late as the database likes;
                ``unanswered``: its COMMIT took effect, but the worker does not hear of it and records again
cancel          ``storage/actions.py``: ``_CANCEL``, by an operator
recover         ``services/delivery.py``: ``recover``, by whoever looks
pause, resume   SIGSTOP and SIGCONT, or a machine that stalls; ``workers/watchdog.py`` ends who stood still for too long
crash           SIGKILL; a new process takes the place
==============  =======================================================================================================

``D2/1`` is the first attempt of the second disposition. Times are in ticks, and the end of a span belongs to it. A
worker holds one call at a time: in the code it holds many, but what two of them have to do with each other is only that
they pause and die together. A retry is due at once, as the jitter may have it.

Left out: a packet that outlives the deadline of its call, or the connection that was reset when its caller gave up.
Only CloudAgent could refuse it. Such an attempt is recorded as ``sent_unknown``, and that is what the word is for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

DISPOSITIONS = 3
WORKERS = 2
TRIES = 2  # attempts of a disposition, then it has failed


@dataclass(frozen=True)
class Rules:
    """The protocol, with what may be taken out of it. Spans are in ticks."""

    watchdog: bool = True
    epoch_guard: bool = True
    seq_lock: bool = True
    one_clock: bool = True  # the call's deadline counts from the latest start, however late it begins
    stall: int = 1  # as long as the watchdog lets a process stand still
    start_within: int = 1
    deadline: int = 1
    lease: int = 3


class Is(IntEnum):
    """Where a disposition stands. ``ABSENT``: not stored; ``DRAWN``: its transaction is open; ``WAITING``: queued or
    retrying; ``FINAL``: delivered, failed or superseded, which makes no difference to what can happen next."""

    ABSENT = 0
    DRAWN = 1
    WAITING = 2
    SENDING = 3
    FINAL = 4


class Disposition(NamedTuple):
    """A row of ``dispositions``. ``accepted``: the how-manieth of its call that was committed."""

    state: Is = Is.ABSENT
    seq: int = 0
    accepted: int = 0
    tries: int = 0
    ends: int = 0  # a bit for each attempt whose end was recorded


class Phase(IntEnum):
    """How far a worker is with its call."""

    IDLE = 0
    CLAIMED = 1
    LOOKED = 2
    CONNECTING = 3
    CHECKED = 4
    CALLING = 5
    ENDED = 6


class Worker(NamedTuple):
    """A worker process. ``current``: nobody has claimed the call since; in the code, the epochs are equal.

    ``left``: ticks until the latest start, then until the call's deadline; below 0 it has passed.
    """

    phase: Phase = Phase.IDLE
    disposition: int = 0
    attempt: int = 0
    current: bool = False
    left: int = 0
    saved: bool = False  # the verdict, once the call has ended
    arrived: bool = False
    paused: bool = False
    stall: int = 0  # ticks that it stood still since its loop turned last


class Packet(NamedTuple):
    """A request on its way to CloudAgent, and how long it may still take."""

    disposition: int
    attempt: int
    left: int


class State(NamedTuple):
    """All that there is: the call's row, its dispositions, the workers, the network, CloudAgent."""

    lease: int | None = None  # ticks left; below 0 it is out
    due: bool = False  # ``next_at`` is set
    locked: int | None = None  # the disposition whose transaction holds the call's lock
    last_seq: int = 0
    started_seq: int = 0
    commits: int = 0
    started: int = 0  # CloudAgent: the newest that it was asked to start, by ``accepted``
    dispositions: tuple[Disposition, ...] = (Disposition(),) * DISPOSITIONS
    workers: tuple[Worker, ...] = (Worker(),) * WORKERS
    packets: tuple[Packet, ...] = ()


class Step(NamedTuple):
    """What happened, where it led, and which promise it broke, if any."""

    what: str
    to: State
    broken: str | None = None


OUT_OF_ORDER = "an older disposition was started after a newer one"
LOST = "a disposition is lost"
TWO_ENDS = "an attempt has two recorded ends"


def steps(state: State, rules: Rules) -> Iterator[Step]:
    """Everything that can happen next."""
    yield from _intake(state, rules)
    yield from _recover(state)
    for index, worker in enumerate(state.workers):
        yield from _processes(state, index, worker, rules)
        if not worker.paused:
            yield from _delivery(state, index, worker, rules)
    for packet in state.packets:
        yield _arrive(state, packet)
    if _time_may_pass(state):
        yield Step("a tick", _tick(state, rules))


# The database.


def _intake(state: State, rules: Rules) -> Iterator[Step]:
    for index, row in enumerate(state.dispositions):
        name = _name(index)
        if row.state is Is.WAITING and state.locked is None:
            yield Step(f"{name} is cancelled", _with_row(state, index, _final(row)))
        elif row.state is Is.DRAWN:
            yield _commit(state, index, rules)
            if row.seq == state.last_seq:  # without the lock a seq may be left unused; it makes no difference
                undone = state._replace(locked=None, last_seq=state.last_seq - 1)
                yield Step(f"the API is killed before it commits {name}", _with_row(undone, index, Disposition()))
        elif row.state is Is.ABSENT:
            if state.locked is None:
                seq = state.last_seq + 1
                drawn = _with_row(state, index, row._replace(state=Is.DRAWN, seq=seq))
                locked = index if rules.seq_lock else None
                yield Step(f"{name} is posted and draws seq {seq}", drawn._replace(last_seq=seq, locked=locked))
            return  # they are posted one after the other; which is which makes no difference before


def _commit(state: State, index: int, rules: Rules) -> Step:
    commits = state.commits + 1
    rows = list(state.dispositions)
    rows[index] = rows[index]._replace(state=Is.WAITING, accepted=commits)
    older = [at for at, row in enumerate(rows) if row.state is Is.WAITING and row.seq < rows[index].seq]
    broken = _supersede(rows, older, by=index)
    moved = state._replace(dispositions=tuple(rows), commits=commits, due=True, locked=None)
    return Step(f"{_name(index)} is committed: 202", moved, broken or _abandoned(moved))


def _supersede(rows: list[Disposition], outdated: list[int], by: int) -> str | None:
    broken = None
    for at in outdated:
        rows[at] = _final(rows[at])
        if rows[at].accepted > rows[by].accepted:
            broken = f"{LOST}: {_name(at)} was accepted after {_name(by)}, and is superseded by it"
    return broken


def _final(row: Disposition) -> Disposition:
    """Its attempts are of no more account: nothing moves it again."""
    return Disposition(Is.FINAL, row.seq, row.accepted)


def _claim(state: State, index: int, rules: Rules) -> Step:
    rows = list(state.dispositions)
    waiting = sorted((at for at, row in enumerate(rows) if row.state is Is.WAITING), key=lambda at: -rows[at].seq)
    workers = tuple(worker._replace(current=False) for worker in state.workers)
    claimed = state._replace(workers=workers, lease=rules.lease, due=False)
    sent = waiting[0] if waiting and rows[waiting[0]].seq >= state.started_seq else None
    newest = next((at for at, row in enumerate(rows) if row.seq == state.started_seq), 0) if sent is None else sent
    broken = _supersede(rows, [at for at in waiting if at != sent], by=newest)
    if sent is None:  # let go
        let_go = claimed._replace(dispositions=tuple(rows), lease=None)
        return Step("a worker claims, and finds nothing to send", let_go, broken)
    attempt = rows[sent].tries + 1
    rows[sent] = rows[sent]._replace(state=Is.SENDING, tries=attempt)
    claimed = claimed._replace(dispositions=tuple(rows), started_seq=rows[sent].seq)
    mine = Worker(Phase.CLAIMED, sent, attempt, current=True, left=rules.start_within)
    return Step(f"a worker claims {_who(mine)}", _with_worker(claimed, index, mine), broken)


def _end(state: State, disposition: int, attempt: int, *, saved: bool) -> tuple[State, str | None]:
    """Records the end of an attempt, as ``_FINISH`` does: the disposition moves if it is ``sending``."""
    row = state.dispositions[disposition]
    broken = None
    if row.state is Is.SENDING:
        broken = f"{TWO_ENDS}: attempt {attempt} of {_name(disposition)}" if row.ends & 1 << attempt else None
        over = saved or row.tries == TRIES
        moved = _final(row) if over else row._replace(state=Is.WAITING, ends=row.ends | 1 << attempt)
        state = _with_row(state, disposition, moved)._replace(due=state.due or not over)
    state = state._replace(lease=None)
    return state, broken or _abandoned(state)


def _finish(state: State, index: int, worker: Worker, rules: Rules) -> Iterator[Step]:
    held = state.lease is not None and (worker.current or not rules.epoch_guard)
    if not held:
        yield Step(f"{_who(worker)} ends too late, and changes nothing", _with_worker(state, index, Worker()))
        return
    recorded, broken = _end(state, worker.disposition, worker.attempt, saved=worker.saved)
    what = f"{_who(worker)} is recorded: {'saved' if worker.saved else 'to be tried again'}"
    yield Step(what, _with_worker(recorded, index, Worker()), broken)
    yield Step(f"{what}; the COMMIT's answer is lost", recorded, broken)


def _recover(state: State) -> Iterator[Step]:
    if state.lease is not None and state.lease < 0 and state.locked is None:
        for index, row in enumerate(state.dispositions):
            if row.state is Is.SENDING:
                taken, broken = _end(state, index, row.tries, saved=False)
                yield Step(f"{_name(index)}/{row.tries} is taken back, of unknown outcome", taken, broken)


def _abandoned(state: State) -> str | None:
    """Something waits, and nobody will ever come for it."""
    if state.lease is None and not state.due:
        for index, row in enumerate(state.dispositions):
            if row.state is Is.WAITING:
                return f"{LOST}: {_name(index)} waits, and its call is never due"
    return None


# The workers.


def _delivery(state: State, index: int, worker: Worker, rules: Rules) -> Iterator[Step]:
    who = _who(worker)
    ended = worker._replace(phase=Phase.ENDED, left=0, arrived=False, stall=0)
    match worker.phase:
        case Phase.IDLE:
            if state.due and state.lease is None and state.locked is None:
                yield _claim(state, index, rules)
        case Phase.CLAIMED:
            if worker.left >= 0:
                looked = worker._replace(phase=Phase.LOOKED)
                yield Step(f"{who} sees that it is in time", _with_worker(state, index, looked))
            else:
                yield Step(f"{who} is too slow to start", _with_worker(state, index, ended))
        case Phase.LOOKED:
            left = rules.deadline + (min(0, worker.left) if rules.one_clock else 0)
            connecting = worker._replace(phase=Phase.CONNECTING, left=left)
            yield Step(f"{who} begins its call", _with_worker(state, index, connecting))
        case Phase.CONNECTING:
            if worker.left >= 0:
                checked = worker._replace(phase=Phase.CHECKED)
                yield Step(f"{who} is connected, in time", _with_worker(state, index, checked))
            yield Step(f"{who} gives up: nothing sent", _with_worker(state, index, ended))
        case Phase.CHECKED:
            packet = Packet(worker.disposition, worker.attempt, max(worker.left, 0))
            sent = state._replace(packets=tuple(sorted((*state.packets, packet))))
            yield Step(f"{who} is sent", _with_worker(sent, index, worker._replace(phase=Phase.CALLING)))
        case Phase.CALLING:
            if worker.arrived:
                yield Step(f"{who} reads: saved", _with_worker(state, index, ended._replace(saved=True)))
            if worker.arrived or worker.left < 0:
                # A packet that is still under way when its caller gives up is lost with the connection.
                lost = (worker.disposition, worker.attempt)
                packets = tuple(packet for packet in state.packets if packet[:2] != lost)
                failed = state._replace(packets=packets)
                yield Step(f"{who} gets no good reply", _with_worker(failed, index, ended))
        case Phase.ENDED:
            if state.locked is None:
                yield from _finish(state, index, worker, rules)


def _processes(state: State, index: int, worker: Worker, rules: Rules) -> Iterator[Step]:
    if worker.phase is Phase.IDLE:
        return
    who = f"the worker at {_who(worker)}"
    yield Step(f"{who} is killed", _with_worker(state, index, Worker()))
    if worker.paused:
        if rules.watchdog and worker.stall > rules.stall:
            yield Step(f"{who} runs on, and its watchdog kills it", _with_worker(state, index, Worker()))
        else:
            yield Step(f"{who} runs on", _with_worker(state, index, worker._replace(paused=False)))
    elif worker.phase in (Phase.LOOKED, Phase.CONNECTING, Phase.CHECKED):
        # Elsewhere a pause is no more than being slow, which each phase may be anyhow.
        yield Step(f"{who} stands still", _with_worker(state, index, worker._replace(paused=True)))


# The network, CloudAgent, and time.


def _arrive(state: State, packet: Packet) -> Step:
    packets = tuple(other for other in state.packets if other != packet)
    workers = tuple(
        worker._replace(arrived=True)
        if (worker.phase, worker.disposition, worker.attempt) == (Phase.CALLING, packet.disposition, packet.attempt)
        else worker
        for worker in state.workers
    )
    accepted = state.dispositions[packet.disposition].accepted
    broken = f"{OUT_OF_ORDER}: {_name(packet.disposition)}" if accepted < state.started else None
    arrived = state._replace(packets=packets, workers=workers, started=max(accepted, state.started))
    return Step(f"CloudAgent starts {_name(packet.disposition)}/{packet.attempt}", arrived, broken)


def _time_may_pass(state: State) -> bool:
    """Not while somebody is in the middle of what takes no time, or has a timer that has run out."""
    for worker in state.workers:
        if not worker.paused and (
            worker.phase in (Phase.LOOKED, Phase.CHECKED)
            or (worker.phase in (Phase.CONNECTING, Phase.CALLING) and worker.left < 0)
        ):
            return False
    return True


def _tick(state: State, rules: Rules) -> State:
    longest = rules.stall + 1  # more makes no difference
    return state._replace(
        lease=None if state.lease is None else max(state.lease - 1, -1),
        workers=tuple(
            worker
            if worker.phase in (Phase.IDLE, Phase.ENDED)
            else worker._replace(
                left=max(worker.left - 1, -longest),
                stall=min(worker.stall + 1, longest) if worker.paused else 0,
            )
            for worker in state.workers
        ),
        packets=tuple(packet._replace(left=packet.left - 1) for packet in state.packets if packet.left > 0),
    )


def _with_row(state: State, index: int, row: Disposition) -> State:
    rows = state.dispositions
    return state._replace(dispositions=(*rows[:index], row, *rows[index + 1 :]))


def _with_worker(state: State, index: int, worker: Worker) -> State:
    workers = state.workers
    # Sorted: which of the two it is makes no difference.
    return state._replace(workers=tuple(sorted((*workers[:index], worker, *workers[index + 1 :]))))


def _name(disposition: int) -> str:
    return f"D{disposition + 1}"


def _who(worker: Worker) -> str:
    """The attempt that it is at: the second of D1 is D1/2."""
    return f"{_name(worker.disposition)}/{worker.attempt}"


# The search.


@dataclass(frozen=True)
class Explored:
    """Every state that can be reached. ``ways``: for each kind of violation, a shortest way to it."""

    states: int
    transitions: int
    ways: dict[str, list[str]]
    events: frozenset[str]  # what happened at all


def explore(rules: Rules) -> Explored:
    """Follows every order of events; behind a violation it goes no further."""
    start = State()
    before: dict[State, tuple[State, str] | None] = {start: None}
    ways: dict[str, list[str]] = {}
    events: set[str] = set()
    transitions = 0
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        for what, to, broken in steps(state, rules):
            transitions += 1
            events.add(what)
            if broken is not None:
                ways.setdefault(broken.partition(":")[0], [*_way(before, state), what, broken])
            elif to not in before:
                before[to] = state, what
                waiting.append(to)
    return Explored(len(before), transitions, ways, frozenset(events))


def _way(before: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    way: list[str] = []
    while (step := before[state]) is not None:
        state, what = step
        way.append(what)
    return way[::-1]
