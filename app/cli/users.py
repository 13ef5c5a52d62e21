"""``wrapup users``: the people who work with the pages."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.beside import settings_for
from app.cli.options import AsJson, AsJsonLines, DataDir, Reason, duration
from app.cli.printing import cell, console, note, print_json, table
from app.cli.secrets import read_secret
from app.cli.session import run
from app.embedded.servers import Servers
from app.services.users import Role, link_path
from app.storage.users import User
from app.wiring import Services

users = typer.Typer(no_args_is_help=True, help="The people who work with the pages: make, list, change.")

Name = Annotated[str, typer.Argument(help="The user's name: asha, say, or an e-mail address.", show_default=False)]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from stdin; in a terminal, ask for it.")
]
_ROLES = "viewer looks, operator works, admin manages"


@users.command()
def create(
    name: Name,
    role: Annotated[Role, typer.Option(help=f"What they may do: {_ROLES}.", show_default=False)],
    password_stdin: PasswordStdin = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a user, and print a link that signs them in, once, if they get no password here."""
    password = read_secret("password", f"Password of {name}") if password_stdin else None

    async def work(services: Services) -> tuple[User, str | None]:
        user = await services.users.create(name, role, password=password)
        return user, None if password else await services.users.link(name)

    user, link = run(work, data_dir)
    if as_json:
        print_json(_shown(user) | {"sign_in_link": link and _address(link, data_dir)})
    elif link:
        _print_link(link, "1h", data_dir)
    else:
        print(cell(f"{user.name} {user.role}"))


@users.command("list")
def list_users(data_dir: DataDir = None, as_json: AsJsonLines = False) -> None:
    """List the users."""

    async def work(services: Services) -> list[User]:
        return await services.users.all()

    found = run(work, data_dir)
    if as_json:
        for user in found:
            print_json(_shown(user))
        return
    rows = table("name", "role", "password", "created", "signed in", "disabled")
    for user in found:
        times = map(cell, (user.created_at, user.signed_in_at, user.disabled_at))
        rows.add_row(cell(user.name), user.role, cell(user.has_password), *times)
    console(wide=True).print(rows)


@users.command()
def role(
    name: Name,
    role: Annotated[Role, typer.Argument(help=f"{_ROLES}.", show_default=False)],
    data_dir: DataDir = None,
) -> None:
    """Change what a user may do, at once."""

    async def work(services: Services) -> User:
        return await services.users.set_role(name, role)

    user = run(work, data_dir)
    print(cell(f"{user.name} {user.role}"))


@users.command()
def password(name: Name, password_stdin: PasswordStdin = False, data_dir: DataDir = None) -> None:
    """Give a user a password. All of their sessions end."""
    if not password_stdin:
        raise typer.BadParameter("give --password-stdin; `wrapup users link` signs them in without a password")
    new = read_secret("password", f"Password of {name}")

    async def work(services: Services) -> User:
        return await services.users.set_password(name, new)

    print(cell(f"{run(work, data_dir).name}: password changed, all sessions ended"))


@users.command()
def link(
    name: Name,
    valid: Annotated[str, typer.Option(help="How long it works if it is not used: 30m, 1h, 7d.")] = "1h",
    data_dir: DataDir = None,
) -> None:
    """Print a link that signs a user in, once."""
    lifetime = duration("--valid", valid)

    async def work(services: Services) -> str:
        return await services.users.link(name, lifetime=lifetime)

    _print_link(run(work, data_dir), valid, data_dir)


@users.command()
def disable(name: Name, reason: Reason = None, data_dir: DataDir = None) -> None:
    """Take a user's access away. All of their sessions end."""

    async def work(services: Services) -> User:
        return await services.users.disable(name, reason=reason)

    print(cell(f"{run(work, data_dir).name} disabled"))


@users.command()
def enable(name: Name, reason: Reason = None, data_dir: DataDir = None) -> None:
    """Give a disabled user the access back."""

    async def work(services: Services) -> User:
        return await services.users.enable(name, reason=reason)

    print(cell(f"{run(work, data_dir).name} enabled"))


def _shown(user: User) -> dict[str, object]:
    return {
        "name": user.name,
        "role": user.role,
        "has_password": user.has_password,
        "created_at": user.created_at,
        "disabled_at": user.disabled_at,
        "signed_in_at": user.signed_in_at,
    }


def _print_link(token: str, valid: str, data_dir: DataDir) -> None:
    print(_address(token, data_dir))
    note(f"It works once, within {valid}, and can't be shown again.")


def _address(token: str, data_dir: DataDir) -> str:
    """Of a sign-in link: whole beside a `wrapup up`, else below the address that the proxy has."""
    servers = Servers.read(settings_for(data_dir).data_dir)
    return (servers.api_url if servers else "https://WRAPUP") + link_path(token)
