"""Inference: inputs (images, folders, videos, cameras), the detector, and its results."""
