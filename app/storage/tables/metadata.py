"""What all tables share."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    DateTime,
    MetaData,
    func,
)

metadata = MetaData()

TIME = DateTime(timezone=True)


def created() -> Column[object]:
    """When the row was written, by the database's clock."""
    return Column("created_at", TIME, nullable=False, server_default=func.clock_timestamp())
