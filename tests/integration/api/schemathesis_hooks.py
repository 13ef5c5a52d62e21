"""What schemathesis has to be told: how NDJSON is sent."""

import schemathesis
from schemathesis import SerializationContext


@schemathesis.serializer("application/x-ndjson")
def ndjson(_: SerializationContext, value: object) -> bytes:
    """A text, as it is."""
    return str(value).encode("utf-8", "replace")
