"""comparison.html: what a comparison found, to be looked at."""
