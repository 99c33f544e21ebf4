"""Runs: their options, and the steps of a training, an evaluation or an inference in order."""
