"""What tools/benchmark.py measures of the input pipeline."""
