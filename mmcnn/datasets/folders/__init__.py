"""Data folders in the layouts that users have: their readers, what can be wrong with them, and the drawn demo data."""
