"""Web pages in one file each, including styles, figures, tables and images."""
