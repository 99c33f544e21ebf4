"""Export of networks to files that run without PyTorch."""
