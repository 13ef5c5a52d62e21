"""`python -m app.sandbox` is `wrapup sandbox`."""

import typer

from app.sandbox.command import sandbox

if __name__ == "__main__":
    typer.run(sandbox)
