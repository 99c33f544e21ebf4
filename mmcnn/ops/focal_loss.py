"""Sigmoid focal loss and its gradient, elementwise (Lin et al. 2017, arXiv 1708.02002, eq. 5)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def sigmoid_focal_loss_forward(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, gamma: float = 2.0, alpha: float = 0.25
) -> Tensor:
    """Return the focal loss of every class of every sample, not reduced.

    Args:
        logits: ``(N, C)`` scores before the sigmoid.
        target: ``(N,)`` class indices, int64; C (or any index that is not a class) is background.
        weight: ``(C,)`` factor of the samples whose target is that class; None or empty: 1. Background has factor 1.
        gamma: Focusing exponent.
        alpha: Factor of positives; negatives have ``1 - alpha``.

    Returns:
        ``(N, C)``, in the type of the logits; float16 and bfloat16 are computed in float32.

    Raises:
        ValueError: the shapes do not match.
    """
    x, positive, factor = _prepare(logits, target, weight, alpha)
    signed = torch.where(positive, x, -x)
    return (-factor * torch.sigmoid(-signed) ** gamma * F.logsigmoid(signed)).to(logits.dtype)


def sigmoid_focal_loss_backward(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, gamma: float = 2.0, alpha: float = 0.25
) -> Tensor:
    """Return the derivative of :func:`sigmoid_focal_loss_forward` with respect to the logits, element by element.

    Args:
        logits: see :func:`sigmoid_focal_loss_forward`, as for all others.
        target: ``(N,)``.
        weight: ``(C,)``, None or empty.
        gamma: Focusing exponent.
        alpha: Factor of positives.

    Returns:
        ``(N, C)``, in the type of the logits.

    Raises:
        ValueError: the shapes do not match.
    """
    x, positive, factor = _prepare(logits, target, weight, alpha)
    signed = torch.where(positive, x, -x)
    # With p the probability of the correct answer: d/dx of -(1 - p)^gamma log p, and the sign of x.
    p, q = torch.sigmoid(signed), torch.sigmoid(-signed)
    slope = q**gamma * (gamma * p * F.logsigmoid(signed) - q)
    return (factor * torch.where(positive, slope, -slope)).to(logits.dtype)


def _prepare(logits: Tensor, target: Tensor, weight: Tensor | None, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits in at least float32, a mask of the positives, and the factor of each element."""
    if logits.dim() != 2 or target.shape != logits.shape[:1]:
        raise ValueError(
            f'logits and target must have shapes (N, C) and (N,), not {tuple(logits.shape)} and {tuple(target.shape)}'
        )
    num_classes = logits.size(1)
    x = logits.to(torch.promote_types(logits.dtype, torch.float32))
    positive = target[:, None] == torch.arange(num_classes, device=target.device)
    factor = torch.where(positive, alpha, 1 - alpha).to(x.dtype)
    if weight is not None and weight.numel():
        if weight.shape != (num_classes,):
            raise ValueError(f'weight must have one entry per class, ({num_classes},), not {tuple(weight.shape)}')
        is_class = (target >= 0) & (target < num_classes)
        of_target = weight.to(x.dtype)[target.clamp(0, num_classes - 1)]
        factor = factor * torch.where(is_class, of_target, 1.0)[:, None]
    return x, positive, factor
