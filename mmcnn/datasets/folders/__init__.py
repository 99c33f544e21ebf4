"""Data folders in the usual layouts: their readers, their possible errors, and the synthetic demo data."""
