"""Calling CloudAgent: one delivery is one HTTP exchange, with a total deadline and no key in sight.

Read ``client.py`` first; below it lie ``transport.py`` (connections kept alive), ``connection.py`` (one of
them) and ``wire.py`` (HTTP as bytes). ``v3_query.py`` knows the vendor's names, ``addresses.py`` where a call
may go.
"""
