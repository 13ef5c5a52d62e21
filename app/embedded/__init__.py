"""PostgreSQL and Valkey from their wheels, and the children of ``wrapup up``: started, watched, stopped."""
