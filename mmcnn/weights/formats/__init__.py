"""How the bytes of a file become arrays: one module for each kind of file."""
