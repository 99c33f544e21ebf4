"""The libraries that weights come from: one module each, with its layers' names, layouts and published files."""
