"""Inference: what goes in (images, folders, videos, cameras), the detector, and what comes out."""
