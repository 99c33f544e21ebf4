"""Why the AP of one training run is what it is: errors by kind, suspect annotations, findings, and a page of them."""
