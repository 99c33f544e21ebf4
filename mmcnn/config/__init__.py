"""Configs: found, read, checked, changed."""
