"""Trials: does CloudAgent answer an account's calls, and does it take the credentials? Nothing is disposed to find out.

What can't be found out without disposing a call is said, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import uuid_utils.compat as uuids
from sqlalchemy.ext.asyncio import AsyncEngine

from app.cloudagent.client import FLAVOURS, CloudAgentClient
from app.cloudagent.credentials import Credentials
from app.cloudagent.request import Endpoint
from app.cloudagent.v2_json import gives_list
from app.domain.errors import ConfigurationError
from app.domain.replies import Answer, Certainty, NoAnswer, Outcome, Verdict, classify
from app.secrets import Cipher
from app.services.accounts import no_account
from app.services.tokens import Holder, Token, Tokens
from app.storage import accounts, events
from app.storage.accounts import Account


class Result(StrEnum):
    """What a check came to."""

    OK = "ok"
    FAILED = "failed"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ``todo``: how to mend it, or how to find out what could not be checked."""

    name: str
    result: Result
    found: str
    todo: str | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found out about an account."""

    customer: str
    api: str
    checks: Sequence[Check]

    @property
    def ok(self) -> bool:
        """True if nothing failed. What could not be checked did not fail."""
        return all(check.result is not Result.FAILED for check in self.checks)


class Trials:
    """Tries accounts out, on hold or not, and past their limits: it is one call, or two. ``deadline``: seconds each."""

    def __init__(
        self, engine: AsyncEngine, client: CloudAgentClient, tokens: Tokens, cipher: Cipher, *, deadline: float
    ) -> None:
        self._engine = engine
        self._client = client
        self._tokens = tokens
        self._cipher = cipher
        self._deadline = deadline

    async def run(self, customer: str, *, actor: str, reason: str | None = None) -> Trial:
        """Tries the account's address and credentials, and tells the audit trail; raises ``NotFound``."""
        async with self._engine.connect() as connection:
            account = await accounts.read(connection, customer)
        if account is None:
            raise no_account(customer)
        trial = Trial(customer, account.api, await self._checks(account))
        results = ", ".join(f"{check.name} {check.result.replace('_', ' ')}" for check in trial.checks)
        async with self._engine.begin() as connection:
            await events.tell(
                connection,
                actor=actor,
                action="account tested",
                subject=f"account:{customer}",
                account_id=account.id,
                reason=results if reason is None else f"{reason} ({results})",
            )
        return trial

    async def _checks(self, account: Account) -> list[Check]:
        try:
            credentials = Credentials(self._cipher.decrypt(account.api_key))
        except ConfigurationError as error:
            return [Check("apiKey", Result.FAILED, "it can't be read, so nothing was sent", str(error))]
        endpoint = Endpoint(account.base_url, account.api, account.path)
        checks = list[Check]()
        if FLAVOURS[account.api].needs_token:
            token = await self._tokens.renew(
                Holder(account.id, account.customer, endpoint, credentials), within=self._deadline
            )
            checks.append(_of_token(account, token))
            if isinstance(token, Verdict):
                return [*checks, _not_disposed()]
            credentials = replace(credentials, token=token.secret)
        answer = await self._client.try_out(
            endpoint, credentials, account.customer, str(uuids.uuid7()), deadline=self._deadline
        )
        return [*checks, *_of_answer(account, answer), _not_disposed()]


def _not_disposed() -> Check:
    return Check(
        "disposition",
        Result.NOT_CHECKED,
        "nothing is disposed by a test, so it can't tell whether agents, codes and calls are known",
        "The first disposition shows it.",
    )


def _of_token(account: Account, token: Token | Verdict) -> Check:
    """What asking for a token showed: it is where the apiKey is looked at."""
    if isinstance(token, Token):
        return Check("apiKey", Result.OK, "CloudAgent gave a token for it, which all workers use from now on")
    found = token.reply_details or token.outcome
    match token.outcome:
        case Outcome.NO_TOKEN:
            return Check("apiKey", Result.NOT_CHECKED, found, "Test again then. Deliveries wait as long, too.")
        case Outcome.AUTHENTICATION_FAILED:
            return Check("apiKey", Result.FAILED, found, _new_key(account))
        case Outcome.MISCONFIGURED:
            return Check("address", Result.FAILED, f"HTTP {token.http_status}: {found}", _new_address(account))
    return Check("connection", Result.FAILED, found, _look_at_connection(account))


def _of_answer(account: Account, answer: Answer | NoAnswer) -> list[Check]:
    """What the harmless call showed: whether there is a way, whether CloudAgent is at its end, and what it says."""
    unknown = Check("credentials", Result.NOT_CHECKED, "CloudAgent did not get as far as looking at them")
    verdict = classify(answer)
    if isinstance(answer, NoAnswer):
        if answer.certainty is Certainty.NOT_SENT:
            return [Check("connection", Result.FAILED, answer.reason, _look_at_connection(account)), unknown]
        asked = Check(
            "connection", Result.FAILED, answer.reason, "Test again; if it stays so, ask CloudAgent's support."
        )
        return [asked, unknown]
    how = "over TLS " if account.base_url.startswith("https:") else ""
    connection = Check("connection", Result.OK, f"{account.base_url} answered {how}after {answer.latency_ms} ms")
    said = f"HTTP {answer.http_status}: " + " ".join(filter(None, (verdict.reply_status, verdict.reply_details)))
    match verdict.outcome:
        case Outcome.AUTHENTICATION_FAILED:
            todo = _other_flavour(account) if FLAVOURS[account.api].needs_token else _new_key(account)
            return [connection, Check("credentials", Result.FAILED, said, todo)]
        case Outcome.MISCONFIGURED:
            return [connection, Check("address", Result.FAILED, said, _new_address(account)), unknown]
        case Outcome.RATE_LIMITED:
            todo = "Test again in a while, or set --rate-per-second."
            return [connection, Check("credentials", Result.NOT_CHECKED, said, todo)]
    if account.api != "v3-query" and gives_list(answer):
        return [
            connection,
            Check("credentials", Result.OK, "accepted: CloudAgent lists the disposition codes for them"),
        ]
    if account.api == "v3-query" and verdict.outcome in _REFUSED_BY_V3:
        return [connection, Check("credentials", Result.NOT_CHECKED, _V3_SAID.format(said=said))]
    todo = "Read what it says; if it is not CloudAgent's, set --base-url, --path or --api."
    return [connection, Check("address", Result.FAILED, said, todo), unknown]


_REFUSED_BY_V3 = frozenset(
    {
        Outcome.INVALID_ACTION,
        Outcome.EMPTY_DISPOSITION,
        Outcome.INVALID_CALL,
        Outcome.INVALID_AGENT,
        Outcome.RETRY_LATER,
    }
)
_V3_SAID = (
    "not refused: {said}. V3 has no call that only reads, so an action was asked for that there is not; wrong "
    "credentials are told by 'Authentication fails', but the vendor does not say that they are looked at first"
)


def _new_key(account: Account) -> str:
    name = account.customer
    return (
        "Get the right apiKey for the user name and store it, on the account's page or by "
        f"`wrapup accounts set {name} --api-key-stdin`."
    )


def _other_flavour(account: Account) -> str:
    return (
        "CloudAgent refuses the token that it has just made. If its admin page has 'API Authentication' on BASIC_AUTH: "
        f"`wrapup accounts set {account.customer} --api v2-json-key`."
    )


def _new_address(account: Account) -> str:
    return f"Set where this API is: `wrapup accounts set {account.customer} --base-url … --api … --path …`."


def _look_at_connection(account: Account) -> str:
    return (
        f"Check DNS, the firewall, and the address: `wrapup accounts set {account.customer} --base-url https://HOST`. "
        "A private address needs WRAPUP_ALLOW_PRIVATE_ADDRESSES=true."
    )
