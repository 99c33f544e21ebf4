"""Plots of boxes, training curves, data sets, networks and comparisons; they get what they draw as arguments."""
