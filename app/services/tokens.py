"""Tokens: one for each account, for all workers together, asked for by one of them at a time.

The database keeps the token, who asks for the next one, and how many were asked for. A worker that is lost while it
asks loses the right to after a while; what it asked for stays counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

import structlog
import uuid_utils.compat as uuids
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.cloudagent import token as token_call
from app.cloudagent.client import CloudAgentClient
from app.cloudagent.credentials import Credentials
from app.cloudagent.request import Endpoint
from app.domain.errors import ConfigurationError
from app.domain.replies import Answer, Certainty, NoAnswer, Outcome, Remedy, Verdict, classify
from app.domain.tokens import REPLACED_FROM, SERVES_UNTIL, Standing
from app.secrets import Cipher, Secret
from app.storage import accounts, tokens
from app.storage.engine import DATABASE_TROUBLE
from app.storage.tokens import Asking, Stored

log = structlog.get_logger(__name__)

_LOOK_AGAIN = 0.1  # seconds, while another process asks
_FRESH = 1.0  # seconds for which a token is used without another look: another process may have replaced it
_MARGIN = timedelta(seconds=5)  # beyond the deadline of asking, until somebody else may
_BLOCKED = timedelta(minutes=10)  # after CloudAgent has said that it was too many


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose token: the account, where its CloudAgent is, and its apiKey."""

    account_id: int
    customer: str
    endpoint: Endpoint
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class Token:
    """A token that serves. Times are of ``time.monotonic``."""

    secret: Secret
    number: int
    serves_until: float
    replaced_from: float
    looked_at: float


class Tokens:
    """Gets tokens for calls. Belongs to one event loop; ``aclose`` it there. ``deadline``: of asking, in seconds."""

    def __init__(self, engine: AsyncEngine, client: CloudAgentClient, cipher: Cipher, *, deadline: float) -> None:
        self._engine = engine
        self._client = client
        self._cipher = cipher
        self._deadline = deadline
        self._known: dict[int, Token] = {}
        self._accepted: dict[int, int] = {}
        self._at_work: dict[tuple[int, int, bool], asyncio.Task[Token | Verdict]] = {}

    async def get(self, holder: Holder, *, within: float, anew: bool = False) -> Token | Verdict:
        """A token for a call, within so many seconds, or what the attempt came to without one: it was not sent.

        ``anew``: a token was refused just now, so look at the database and not at what is remembered. A token that
        comes to its end serves on while another one is asked for.
        """
        known = self._known.get(holder.account_id)
        if known is not None and not anew and time.monotonic() < min(known.looked_at + _FRESH, known.serves_until):
            return known
        return await self._within(within, self._get(holder))

    async def renew(self, holder: Holder, *, within: float) -> Token | Verdict:
        """A new token, though the old one may serve, to see whether one is given."""
        return await self._within(within, self._renew(holder))

    async def judge(self, holder: Holder, token: Token, verdict: Verdict) -> Verdict:
        """What a call with this token came to.

        A token that served before and is refused was ended, by time or by a newer one: the repeat gets another. One
        that was never taken is a matter of the account: to make more of them would only use up the hour's ten.
        """
        try:
            if verdict.outcome is not Outcome.AUTHENTICATION_FAILED:
                if verdict.remedy in (Remedy.NONE, Remedy.FIX_DATA, Remedy.OTHER_FORMAT):
                    await self._accept(holder, token)
                return verdict
            if self._known.get(holder.account_id) is token:
                del self._known[holder.account_id]
            async with self._engine.begin() as connection:
                served = await tokens.refuse(connection, holder.account_id, token.number)
        except DATABASE_TROUBLE as error:
            log.warning("can't note what became of a token", account=holder.customer, error=type(error).__name__)
            served = True
        if served:
            return replace(verdict, outcome=Outcome.TOKEN_EXPIRED)
        return replace(verdict, reply_details=f"a token that was just made is refused: {verdict.reply_details}")

    async def aclose(self) -> None:
        """Stops asking. What was asked for stays counted."""
        for task in self._at_work.values():
            task.cancel()
        await asyncio.gather(*self._at_work.values(), return_exceptions=True)

    # How it is done.

    async def _within(self, seconds: float, getting: Awaitable[Token | Verdict]) -> Token | Verdict:
        started = time.monotonic()
        try:
            async with asyncio.timeout(seconds) as limit:
                return await getting
        except DATABASE_TROUBLE as error:
            if not limit.expired():
                return _no_token(f"the database does not answer ({type(error).__name__})", timedelta(seconds=1))
        waited = round((time.monotonic() - started) * 1000)
        reason = f"no token: none came within {seconds:g} s"
        return Verdict(Outcome.UNREACHABLE, Certainty.NOT_SENT, waited, reply_details=reason)

    async def _get(self, holder: Holder) -> Token | Verdict:
        token = await self._look(holder)
        if token is None:
            return await asyncio.shield(self._obtaining(holder, beyond=0))
        if time.monotonic() >= token.replaced_from:
            self._obtaining(holder, beyond=token.number, at_leisure=True)
        return token

    async def _renew(self, holder: Holder) -> Token | Verdict:
        current = await self._look(holder)
        return await asyncio.shield(self._obtaining(holder, beyond=0 if current is None else current.number))

    async def _accept(self, holder: Holder, token: Token) -> None:
        if self._accepted.get(holder.account_id) == token.number:
            return
        async with self._engine.begin() as connection:
            await tokens.accept(connection, holder.account_id, token.number)
        self._accepted[holder.account_id] = token.number

    async def _look(self, holder: Holder) -> Token | None:
        """The token that serves, if there is one."""
        async with self._engine.begin() as connection:
            stored = await tokens.read(connection, holder.account_id)
            if stored is None:
                return None
            try:
                return self._remember(holder, stored)
            except ConfigurationError:  # encrypted with a secret key that has been taken away: another one will do
                await tokens.refuse(connection, holder.account_id, stored.number)
                return None

    def _remember(self, holder: Holder, stored: Stored) -> Token | None:
        standing = stored.standing
        if stored.token is None or standing.made_at is None or not standing.serves:
            self._known.pop(holder.account_id, None)
            return None
        looked_at = time.monotonic()
        age = (standing.now - standing.made_at).total_seconds()
        token = Token(
            secret=self._cipher.decrypt(stored.token),
            number=stored.number,
            serves_until=looked_at + SERVES_UNTIL.total_seconds() - age,
            replaced_from=looked_at + REPLACED_FROM.total_seconds() - age,
            looked_at=looked_at,
        )
        self._known[holder.account_id] = token
        return token

    # Asking: a task of its own, which outlives the calls that wait for it.

    def _obtaining(self, holder: Holder, beyond: int, *, at_leisure: bool = False) -> asyncio.Task[Token | Verdict]:
        """The task that gets a token with a higher number than ``beyond``."""
        key = holder.account_id, beyond, at_leisure
        if key not in self._at_work:
            task = asyncio.create_task(self._obtain(holder, beyond, at_leisure))
            self._at_work[key] = task
            task.add_done_callback(lambda _: self._at_work.pop(key))
            task.add_done_callback(_tell_of_a_break)
        return self._at_work[key]

    async def _obtain(self, holder: Holder, beyond: int, at_leisure: bool) -> Token | Verdict:
        while True:
            token = await self._look(holder)
            if token is not None and token.number > beyond:
                return token
            # From before the counting on: if this process stands still in between, the request is not sent any more.
            start_by = time.monotonic()
            begun = await self._begin(holder, beyond, at_leisure)
            match begun:
                case None:
                    await asyncio.sleep(_LOOK_AGAIN)
                case Asking():
                    return await self._ask(holder, begun, start_by, still_served=at_leisure)
                case Verdict():
                    return begun

    async def _begin(self, holder: Holder, beyond: int, at_leisure: bool) -> Asking | Verdict | None:
        """The right to ask; None while somebody else has it, or has got a token; or why nobody may ask yet."""
        async with self._engine.begin() as connection:
            stored = await tokens.lock(connection, holder.account_id)
            standing = stored.standing
            if not await self._is_current(connection, holder):
                return _changed()
            if stored.asking or (standing.serves and stored.number > beyond):
                return None
            if (at := standing.may_ask_at(at_leisure=at_leisure)) > standing.now:
                return _not_before(at, standing)
            return await tokens.begin(connection, holder.account_id, lease=timedelta(seconds=self._deadline) + _MARGIN)

    async def _is_current(self, connection: AsyncConnection, holder: Holder) -> bool:
        """False if the account is set up anew since its call was claimed: a token of the old settings would be kept for
        the new ones. Whoever changes them drops the token in the same transaction, and so waits for its row's lock."""
        [account] = await accounts.read_some(connection, [holder.account_id])
        try:
            api_key = self._cipher.decrypt(account.api_key)
        except ConfigurationError:
            return False
        return (account.base_url, api_key) == (holder.endpoint.base_url, holder.credentials.api_key)

    async def _ask(self, holder: Holder, asking: Asking, start_by: float, *, still_served: bool) -> Token | Verdict:
        request_id = str(uuids.uuid7())
        result = await self._client.generate_token(
            holder.endpoint,
            holder.credentials,
            holder.customer,
            request_id,
            deadline=self._deadline,
            start_by=start_by,
        )
        secret = token_call.read(result) if isinstance(result, Answer) else None
        async with self._engine.begin() as connection:
            if secret is None:
                verdict = _without_token(result)
                log.warning("no token", account=holder.customer, outcome=verdict.outcome, why=verdict.reply_details)
                await tokens.give_up(
                    connection,
                    holder.account_id,
                    asking,
                    serves=still_served,
                    unsent=isinstance(result, NoAnswer) and result.certainty is Certainty.NOT_SENT,
                    blocked_for=_BLOCKED if verdict.outcome is Outcome.NO_TOKEN else None,
                )
                return verdict
            number = await tokens.store(connection, holder.account_id, asking, self._cipher.encrypt(secret))
        log.info("token made", account=holder.customer, number=number, request_id=request_id)
        return await self._look(holder) or _changed()


def _no_token(why: str, wait: timedelta) -> Verdict:
    return Verdict(
        Outcome.NO_TOKEN,
        Certainty.NOT_SENT,
        0,
        reply_details=f"no token: {why}",
        retry_after=str(ceil(wait.total_seconds())),
    )


def _changed() -> Verdict:
    return _no_token("the account was changed meanwhile", timedelta(seconds=1))


def _not_before(at: datetime, standing: Standing) -> Verdict:
    asked = f"{len(standing.asked)} were asked for within the hour" if standing.asked else "CloudAgent gives none now"
    return _no_token(f"{asked}; the next is asked for at {at:%Y-%m-%d %H:%M:%S}Z", at - standing.now)


def _without_token(result: Answer | NoAnswer) -> Verdict:
    """What an attempt comes to when the token was refused or did not come: the disposition itself was not sent.

    Whatever the refusal says, it is about the account and not about the disposition. A reply that makes no sense is
    not repeated: a token may be in it.
    """
    said = classify(result)
    outcome, details, retry_after = said.outcome, said.reply_details, said.retry_after
    match said.outcome:
        case Outcome.RATE_LIMITED:
            outcome, retry_after = Outcome.NO_TOKEN, str(ceil(_BLOCKED.total_seconds()))
        case Outcome.NO_REPLY:
            outcome = Outcome.UNREACHABLE
        case Outcome.UNREADABLE_REPLY:
            outcome = Outcome.UPSTREAM_ERROR
        case _ if said.remedy in (Remedy.NONE, Remedy.FIX_DATA, Remedy.OTHER_FORMAT):
            outcome = Outcome.AUTHENTICATION_FAILED
    if isinstance(result, Answer) and said.reply_status is None:
        details = "the reply makes no sense"
    return replace(
        said,
        outcome=outcome,
        certainty=Certainty.NOT_SENT,
        reply_details=f"no token: {details}",
        retry_after=retry_after,
    )


def _tell_of_a_break(task: asyncio.Task[Token | Verdict]) -> None:
    """Whoever waits hears of it, too; but perhaps nobody does."""
    if not task.cancelled() and (error := task.exception()):
        log.warning("asking for a token broke", error=type(error).__name__)
