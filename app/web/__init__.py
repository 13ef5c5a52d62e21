"""The HTTP side of Wrapup: routes that parse, authorise, call one service and answer."""
