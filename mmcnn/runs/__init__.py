"""Runs: options, and everything in the order in which a training, an evaluation or an inference needs it."""
