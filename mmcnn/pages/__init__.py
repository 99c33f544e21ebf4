"""Pages that are looked at in a browser: one file each, with styles, figures, tables and images in it."""
