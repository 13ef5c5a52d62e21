"""The command line: parse, call one service, print. One file for each noun; no SQL and no rule."""
