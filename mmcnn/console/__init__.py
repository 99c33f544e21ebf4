"""The output of a run on a terminal, in a pipe or in a notebook. Imports neither PyTorch nor MMEngine."""

from .console import Console

__all__ = ['Console']
