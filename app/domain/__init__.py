"""What Wrapup knows without doing anything: states, replies, retries, fields. No I/O, no clock, no framework."""
