"""Checks whether a data folder can be used for training, by its annotations and images."""
