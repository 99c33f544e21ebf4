"""Public data sets with permissive licences: their addresses and their conversion to data folders."""
