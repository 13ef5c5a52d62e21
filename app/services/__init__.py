"""What Wrapup does, one verb after the other. No SQL here, no HTTP, no rule that the domain can hold."""
