"""``wrapup submit FILE``: what the file is, and what is told of its rows."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from io import FileIO
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.cli.bulk import Answer, Bulk, Fate, Take
from app.cli.columns import Columns
from app.cli.feed import Feed
from app.cli.printing import complain, note, print_json
from app.cli.rows import Lines, Row, Rows, Unreadable
from app.cli.rows_csv import CsvRows
from app.cli.rows_failed import Failures, beside
from app.cli.rows_json import JsonRows, NdjsonRows
from app.cli.session import run
from app.domain.disposition import parse_disposition
from app.domain.errors import Fault, InvalidInput, WrapupError
from app.domain.refusals import quoted
from app.services.keys import OPERATOR
from app.wiring import Services

STDIN = Path("-")

_RUN = re.compile(r"[A-Za-z0-9._-]{1,100}")
_TOLD = 10  # failures that are told one by one
_SHOW_EVERY = 100  # rows


class Format(StrEnum):
    """What a file can be."""

    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"


_BY_SUFFIX = {
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".json": Format.JSON,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
}


@dataclass(frozen=True, slots=True)
class FileOptions:
    """What the command line says about a file."""

    format: Format | None = None
    maps: Sequence[str] = ()
    sets: Sequence[str] = ()
    ignored: Sequence[str] = ()
    delimiter: str | None = None
    run: str | None = None
    failures: Path | None = None
    dry_run: bool = False


def submit_file(path: Path, options: FileOptions, *, data_dir: Path | None, as_json: bool) -> None:
    """Hands in all rows of a file. Exits with 1 if not all of them are stored."""
    columns = Columns.given(options.maps, options.sets, options.ignored)
    kind = _format(path, options.format)
    with _opened(path) as (file, size):
        name = _run_name(file, size, options.run)
        rows = _rows(Lines(file, size), kind, columns, _delimiter(options.delimiter, kind))
        failures = Failures(_failures_path(path, options, name, kind), rows)

        async def work(services: Services) -> tuple[Bulk, Unreadable | None]:
            known = {account.customer for account in await services.accounts.all()}
            take = _checking(known) if options.dry_run else _storing(services)
            bulk = Bulk(Feed(rows), take, run=name, failed=_telling(failures))
            with _progress(rows.total, bulk) as seen:
                try:
                    await bulk.work(seen=seen)
                except Unreadable as error:
                    return bulk, error
            return bulk, None

        try:
            bulk, broken = run(work, data_dir)
        finally:
            failures.close()
    _tell(bulk, broken, failures.path, run_name=name, dry_run=options.dry_run, as_json=as_json)
    if broken or bulk.stopped or bulk.counts[Fate.FAILED]:
        raise typer.Exit(1)


def _storing(services: Services) -> Take:
    async def take(fields: dict[str, object], key: str) -> Awaitable[Answer]:
        return await services.intake.begin(fields, OPERATOR, idempotency_key=key)

    return take


def _checking(accounts: set[str]) -> Take:
    """Looks at rows as the intake does, and stores nothing."""

    async def check(fields: dict[str, object]) -> WrapupError | None:
        try:
            account = parse_disposition(fields).account
        except InvalidInput as error:
            return error
        if account in accounts:
            return None
        return InvalidInput([Fault("account", f"There is no account {quoted(account)}. Check CloudAgent's user name.")])

    async def take(fields: dict[str, object], _key: str) -> Awaitable[Answer]:
        return check(fields)

    return take


@contextmanager
def _opened(path: Path) -> Iterator[tuple[FileIO, int | None]]:
    """The file and its size in bytes; None for what can be read only once.

    Without a buffer, and not sys.stdin: both have a lock, and the thread that waits for a pipe would hold it when they
    are to be closed.
    """
    try:
        file = FileIO(0, closefd=False) if path == STDIN else FileIO(str(path))
    except OSError as error:
        raise typer.BadParameter(f"'{path}' can't be read: {error.strerror}") from None
    with file:
        yield file, path.stat().st_size if path != STDIN and path.is_file() else None


def _format(path: Path, given: Format | None) -> Format:
    found = given or _BY_SUFFIX.get(path.suffix.lower())
    if found is None:
        raise typer.BadParameter(f"--format is missing: '{path}' does not say whether it is {', '.join(Format)}")
    return found


def _run_name(file: FileIO, size: int | None, given: str | None) -> str:
    """What the rows' idempotency keys are made of: the same for the same bytes, whatever the file is called."""
    if given is not None:
        if not _RUN.fullmatch(given):
            raise typer.BadParameter(f"--run '{given}' is not 1 to 100 letters, digits, dots, dashes and underscores")
        return given
    if size is None:
        raise typer.BadParameter(
            "--run is missing: what is read from a pipe needs a name, under which the same rows are known the next time"
        )
    digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=10)).hexdigest()
    file.seek(0)
    return digest


def _delimiter(given: str | None, kind: Format) -> str | None:
    if given is None:
        return None
    if kind is not Format.CSV:
        raise typer.BadParameter(f"--delimiter is for CSV, and this is {kind}")
    found = "\t" if given in ("\\t", "tab") else given
    if len(found) != 1 or found in '"\r\n':
        raise typer.BadParameter(f"--delimiter '{given}' is not one character, or tab")
    return found


def _rows(lines: Lines, kind: Format, columns: Columns, delimiter: str | None) -> Rows:
    match kind:
        case Format.CSV:
            return CsvRows(lines, columns, delimiter)
        case Format.JSON:
            return JsonRows(lines, columns)
        case Format.NDJSON:
            return NdjsonRows(lines, columns)


def _failures_path(path: Path, options: FileOptions, name: str, kind: Format) -> Path | None:
    given = options.failures
    if given is None:
        if options.dry_run:
            return None
        return beside(Path(f"{name}.{kind}") if path == STDIN else path)
    if given.exists() and path != STDIN and given.samefile(path):
        raise typer.BadParameter(f"--failures '{given}' is the file that is read: name another one")
    return given


def _telling(failures: Failures) -> Callable[[Row, str, str | None], None]:
    told = 0

    def failed(row: Row, why: str, key: str | None) -> None:
        nonlocal told
        told += 1
        failures.add(row, why, key)
        if told <= _TOLD:
            complain(f"row {row.number}: {why}")
        elif told == _TOLD + 1:
            where = f" They are all in {failures.path}." if failures.path else " --failures FILE keeps them all."
            note(f"        There are more.{where}")

    return failed


@contextmanager
def _progress(total: int | None, bulk: Bulk) -> Iterator[Callable[[], None]]:
    """A bar on stderr, if that is a terminal; what it gives is called after each row."""
    columns = (
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=total)

        def seen() -> None:
            if bulk.settled % _SHOW_EVERY == 1:
                show()

        def show() -> None:
            failed = f", {bulk.counts[Fate.FAILED]} failed" if bulk.counts[Fate.FAILED] else ""
            progress.update(task, completed=bulk.at, description=f"{bulk.settled} rows{failed}")

        yield seen
        show()


def _tell(
    bulk: Bulk, broken: Unreadable | None, failures: Path | None, *, run_name: str, dry_run: bool, as_json: bool
) -> None:
    fates = (Fate.GOOD, Fate.FAILED) if dry_run else (Fate.STORED, Fate.THERE_ALREADY, Fate.FAILED)
    if as_json:
        counts = {str(fate): bulk.counts[fate] for fate in fates}
        end = {"failures": failures and str(failures), "run": run_name, "complete": not (broken or bulk.stopped)}
        print_json(counts | end)
    else:
        counted = ", ".join(f"{fate.replace('_', ' ')} {bulk.counts[fate]}" for fate in fates)
        print(f"{counted} ({failures})" if failures else counted)
    if broken:
        again = "" if dry_run else f" Mend it and go on with --run {run_name}: what is stored is not stored again."
        complain(f"{broken}{again}")
    elif bulk.stopped:
        again = "" if dry_run else " Run the same again to go on: what is stored is not stored again."
        complain(f"stopped after row {bulk.settled}.{again}")
