"""The schema's history: expand, then contract."""
