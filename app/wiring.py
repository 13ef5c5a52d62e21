"""Wiring: the only place that builds the engine, the client and the services, each process its own."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from app.broker import Bell
from app.cloudagent.addresses import AddressPolicy
from app.cloudagent.client import CloudAgentClient
from app.cloudagent.transport import CloudAgentTransport
from app.secrets import Cipher
from app.services.accounts import Accounts, Directory
from app.services.actions import Actions
from app.services.attention import Attention
from app.services.audit import Audit
from app.services.delivery import DeliverySettings, Pump
from app.services.doorkeeper import Doorkeeper
from app.services.failures import Failures
from app.services.health import Health
from app.services.heartbeat import Heartbeat
from app.services.intake import Intake
from app.services.keys import Keys
from app.services.mending import Mending
from app.services.pulse import Pulse
from app.services.replay_steps import ReplaySteps
from app.services.replays import Replays
from app.services.reports import Reports
from app.services.schedule_runs import ScheduleRuns
from app.services.schedules import Schedules
from app.services.sessions import Sessions
from app.services.stream import Stream
from app.services.tokens import Tokens
from app.services.trends import Trends
from app.services.trials import Trials
from app.services.upkeep import Upkeep
from app.services.users import Users
from app.settings import Settings
from app.storage.engine import make_engine
from app.storage.standing import StandingConnections


@dataclass(frozen=True, slots=True)
class Services:
    """What the API and the command line work with."""

    settings: Settings
    engine: AsyncEngine
    bell: Bell
    intake: Intake
    accounts: Accounts
    actions: Actions
    audit: Audit
    doorkeeper: Doorkeeper
    failures: Failures
    keys: Keys
    users: Users
    sessions: Sessions
    replays: Replays
    schedules: Schedules
    reports: Reports
    stream: Stream
    trials: Trials
    trends: Trends
    attention: Attention
    mending: Mending
    pulse: Pulse
    health: Health


@dataclass(frozen=True, slots=True)
class Deliverer:
    """What a worker and the scheduler work with."""

    name: str
    engine: AsyncEngine
    bell: Bell
    pump: Pump
    upkeep: Upkeep
    heartbeat: Heartbeat
    replay_steps: ReplaySteps
    schedule_runs: ScheduleRuns


def address_policy(settings: Settings) -> AddressPolicy:
    """Where accounts may point, and where calls may go."""
    return AddressPolicy(
        allow_private=settings.allow_private_addresses, allow_loopback=settings.allow_loopback_addresses
    )


def process_name(kind: str) -> str:
    """Who this process is, in attempts, events and logs."""
    return f"{kind}:{socket.gethostname()}:{os.getpid()}"


@asynccontextmanager
async def open_services(settings: Settings, *, name: str = "api") -> AsyncIterator[Services]:
    """The services, closed in order at the end: what is in hand is committed first."""
    engine = make_engine(settings.require_database_url(), name=name, pool_size=10)
    bell = Bell(settings.require_broker_url())
    standing = StandingConnections(settings.require_database_url(), name=name)
    intake = Intake(
        engine,
        standing,
        Directory(engine),
        bell,
        max_age=settings.max_age,
        duplicate_window=settings.duplicate_window,
        queue=settings.intake_queue,
    )
    cipher = Cipher(settings.require_secret_keys())
    client = CloudAgentClient(CloudAgentTransport(address_policy(settings)))
    deadline = settings.call_deadline_seconds
    tokens = Tokens(engine, client, cipher, deadline=deadline)
    reports, health, failures, replays = Reports(engine), Health(engine), Failures(engine), Replays(engine)
    accounts = Accounts(engine, cipher, bell, address_policy(settings))
    stream = Stream(engine)
    try:
        yield Services(
            settings=settings,
            engine=engine,
            bell=bell,
            intake=intake,
            accounts=accounts,
            actions=Actions(engine, bell),
            audit=Audit(engine),
            doorkeeper=Doorkeeper(engine, cipher),
            failures=failures,
            keys=Keys(engine),
            users=Users(engine),
            schedules=Schedules(engine),
            sessions=Sessions(engine, lifetime=settings.session_lifetime),
            replays=replays,
            reports=reports,
            stream=stream,
            trials=Trials(engine, client, tokens, cipher, deadline=deadline),
            trends=Trends(engine),
            attention=Attention(health, failures, accounts),
            mending=Mending(replays, failures),
            pulse=Pulse(engine),
            health=health,
        )
    finally:
        await stream.aclose()
        await tokens.aclose()
        await client.aclose()
        await intake.drain()
        await bell.aclose()
        await standing.aclose()
        await engine.dispose()


@asynccontextmanager
async def open_deliverer(settings: Settings, *, kind: str) -> AsyncIterator[Deliverer]:
    """A pump with all that it needs; ``kind`` is "worker" or "scheduler"."""
    name = process_name(kind)
    engine = make_engine(settings.require_database_url(), name=kind, pool_size=5, by_keys=True)
    bell = Bell(settings.require_broker_url())
    client = CloudAgentClient(CloudAgentTransport(address_policy(settings), max_idle=settings.calls_in_flight))
    cipher = Cipher(settings.require_secret_keys())
    tokens = Tokens(engine, client, cipher, deadline=settings.call_deadline_seconds)
    delivery = DeliverySettings(
        in_flight=settings.calls_in_flight,
        call_deadline=settings.call_deadline_seconds,
        start_within=settings.start_within,
        lease=settings.lease,
        retry=settings.retry_policy,
        lane=settings.lane_policy,
        pause_limit=settings.pause_after_dispose_limit,
    )
    pump = Pump(engine, client, tokens, cipher, bell, delivery, name=name)
    try:
        yield Deliverer(
            name=name,
            engine=engine,
            bell=bell,
            pump=pump,
            upkeep=Upkeep(engine, settings.retry_policy, retention=settings.retention, name=name),
            heartbeat=Heartbeat(engine, lambda: pump.ended, kind=kind, name=name),
            replay_steps=ReplaySteps(engine, bell, name=name),
            schedule_runs=ScheduleRuns(engine, name=name),
        )
    finally:
        await tokens.aclose()
        await client.aclose()
        await bell.aclose()
        await engine.dispose()
