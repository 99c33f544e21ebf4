"""Pictures of boxes, curves, data and networks."""
