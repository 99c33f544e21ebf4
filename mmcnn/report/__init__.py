"""Analysis of a training run's AP: errors by kind, suspect annotations, findings, and a page with all of them."""
