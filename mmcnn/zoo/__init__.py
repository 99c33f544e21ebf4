"""The zoo: all networks with their parameters, costs and levels. Printing the table does not import torch."""
