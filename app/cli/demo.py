"""What ``wrapup up --sandbox`` adds: a CloudAgent stand-in, an account that points at it, and a key."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from app.cli.children import sandbox_command
from app.cli.session import database_trouble_told
from app.domain.errors import ConfigurationError, NotAuthenticated, NotFound
from app.embedded.addresses import Address, free_address
from app.embedded.data_dir import write_private
from app.embedded.processes import Command
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.services.keys import Scope
from app.services.users import Role, link_path
from app.settings import Settings
from app.storage import schema
from app.storage.accounts import Account
from app.wiring import Services, open_services

ACCOUNT = "sandbox"
_USER = "sandbox"
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class StandIn:
    """Where the stand-in listens, and the apiKey that it takes."""

    address: Address
    api_key: str


@dataclass(frozen=True, slots=True)
class Demo:
    """The stand-in, and a client's key for the account that points at it."""

    stand_in: StandIn
    client_key: str
    sign_in_token: str

    @property
    def url(self) -> str:
        """Of the stand-in."""
        return self.stand_in.address.url

    @property
    def command(self) -> Command:
        """How to run the stand-in."""
        return sandbox_command(self.stand_in.address, customer=ACCOUNT, api_key=self.stand_in.api_key)

    def sign_in_link(self, api_url: str) -> str:
        """Signs its admin in on the pages, once, within an hour."""
        return api_url + link_path(self.sign_in_token)

    def curl_line(self, api_url: str) -> str:
        """A disposition of a call that was not there before, to be pasted into a shell."""
        body = {
            "account": ACCOUNT,
            "ucid": str(time.time_ns() // 1000),
            "did": "918012345678",
            "agent_id": "a17",
            "disposition": "Sale",
        }
        headers = f"-H 'Authorization: Bearer {self.client_key}' -H 'Content-Type: application/json'"
        return f"curl -sS {api_url}/v1/dispositions {headers} -d '{json.dumps(body)}'"


def prepare_database(settings: Settings, sandbox: bool | None) -> Demo | None:
    """Brings the schema up to date, and account and key of the stand-in if there is to be one.

    ``sandbox`` None (neither --sandbox nor --no-sandbox): if there is no account, or it was there before.
    """

    async def prepare() -> Demo | None:
        async with open_services(settings, name="up") as services:
            await schema.upgrade(services.engine)
            return await prepare_sandbox(services, settings.data_dir, sandbox)

    with database_trouble_told():
        return asyncio.run(prepare())


async def prepare_sandbox(services: Services, data_dir: Path, wanted: bool | None) -> Demo | None:
    """Sets up account and key for the stand-in, the same as last time if there was one; None for no stand-in."""
    file = data_dir / "sandbox.json"  # what stays the same from one start to the next
    before = _read(file)
    if wanted is None:
        wanted = before is not None or not await services.accounts.all()
    if not wanted:
        return None
    stand_in = StandIn(
        free_address(_HOST, before.address.port if before else 0),
        before.api_key if before else secrets.token_urlsafe(16),
    )
    await _set_account(services, stand_in, changed=stand_in != before)
    if stand_in != before:
        write_private(file, json.dumps({"port": stand_in.address.port, "api_key": stand_in.api_key}) + "\n")
    return Demo(stand_in, await _client_key(services, data_dir / "sandbox.key"), await _sign_in_token(services))


async def _set_account(services: Services, stand_in: StandIn, *, changed: bool) -> None:
    account = await _account(services)
    if account and not account.base_url.startswith(f"http://{_HOST}:"):
        raise ConfigurationError(
            f"The account {ACCOUNT!r} points at {account.base_url}, and --sandbox would point it at the stand-in. "
            "Give --no-sandbox."
        )
    if changed or account is None or account.base_url != stand_in.address.url:
        settings = AccountSettings(api_key=Secret(stand_in.api_key), base_url=stand_in.address.url)
        await services.accounts.set(ACCOUNT, settings, actor="up")


def _read(file: Path) -> StandIn | None:
    try:
        kept = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    return StandIn(Address(_HOST, kept["port"]), kept["api_key"])


def _read_key(file: Path) -> str | None:
    return file.read_text().strip() if file.exists() else None


async def _account(services: Services) -> Account | None:
    try:
        return await services.accounts.get(ACCOUNT)
    except NotFound:
        return None


async def _sign_in_token(services: Services) -> str:
    if not any(user.name == _USER for user in await services.users.all()):
        await services.users.create(_USER, Role.ADMIN, actor="up")
    return await services.users.link(_USER, actor="up")


async def _client_key(services: Services, file: Path) -> str:
    """The key of last time if it still opens the door, else a new one: the database has only its digest."""
    if kept := _read_key(file):
        try:
            await services.keys.authenticate(kept)
        except NotAuthenticated:
            pass
        else:
            return kept
    name = ACCOUNT
    if any(known.name == name for known in await services.keys.all()):
        name += f"-{secrets.token_hex(3)}"
    key = await services.keys.create(name, (Scope.SUBMIT, Scope.READ, Scope.OPERATE), [ACCOUNT], actor="up")
    write_private(file, key + "\n")
    return key
