"""What happens to a batch before the network sees it."""

from .plan_preprocessor import PlanPreprocessor

__all__ = ['PlanPreprocessor']
