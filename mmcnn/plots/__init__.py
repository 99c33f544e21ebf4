"""Plots of boxes, training curves, data sets, networks and comparisons; the data is passed as arguments."""
