"""Public data sets with permissive licences: where they are, and how a copy of theirs becomes a data folder."""
