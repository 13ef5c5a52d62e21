"""``python -m app.cli``: the command without its console script, as ``wrapup up`` starts its children."""

from app.cli.main import main

main()
