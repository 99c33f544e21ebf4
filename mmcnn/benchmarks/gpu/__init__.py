"""The measurements of ``tools/gpu_check.py`` on a GPU, stage by stage, within a number of minutes."""
