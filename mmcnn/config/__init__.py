"""Finding, reading, checking and changing of configs."""
