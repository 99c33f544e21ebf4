"""Finding, reading, checking and changing configs."""
