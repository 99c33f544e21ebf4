"""What ``tools/gpu_check.py`` measures on a GPU, stage by stage, within a number of minutes."""
