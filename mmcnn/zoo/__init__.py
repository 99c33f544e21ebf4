"""The zoo: all networks with their parameters, costs and levels. What only prints the table does not load torch."""
