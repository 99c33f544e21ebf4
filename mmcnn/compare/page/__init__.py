"""comparison.html, the page of a comparison."""
