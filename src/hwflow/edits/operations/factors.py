"""Weights as products of smaller ones: the factors of SVD, Tucker and CP decompositions."""

from __future__ import annotations

import torch
from torch import Tensor

from hwflow.running import seeded

SWEEPS = 30
"""How often alternating least squares goes through the three factors of CP."""


def svd(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return (r, C, R, S) and (K, r, 1, 1): the best product of rank r (Eckart and Young)."""
    u, s, v = torch.linalg.svd(weight.double().flatten(1), full_matrices=False)
    root = s[:rank].sqrt()
    first = (root[:, None] * v[:rank]).reshape(rank, *weight.shape[1:])
    return first.to(weight.dtype), _pointwise(u[:, :rank] * root, weight)


def tucker(weight: Tensor, inner: int, outer: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return (r1, C, 1, 1), (r2, r1, R, S), (K, r2, 1, 1): the truncated higher-order SVD.

    Kim et al., "Compression of deep CNNs", arXiv 1511.06530.
    """
    full = weight.double()
    u = torch.linalg.svd(full.flatten(1), full_matrices=False)[0][:, :outer]
    v = torch.linalg.svd(full.transpose(0, 1).flatten(1), full_matrices=False)[0][:, :inner]
    core = torch.einsum("kcrs,kp,cq->pqrs", full, u, v)
    return _pointwise(v.T, weight), core.to(weight.dtype), _pointwise(u, weight)


def cp(weight: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return (r, C, 1, 1), (r, 1, R, S), (K, r, 1, 1): r products of three vectors.

    By alternating least squares from random starts (seeded); Lebedev et al., arXiv 1412.6553, with
    the kernel's rows and columns as one axis.
    """
    full = weight.double().flatten(2)
    with seeded(0):
        parts = [torch.randn(size, rank, dtype=torch.float64) for size in full.shape]
    ridge = 1e-9 * torch.eye(rank, dtype=torch.float64)
    for sweep in range(3 * SWEEPS):
        axis = sweep % 3
        a, b = (part for place, part in enumerate(parts) if place != axis)
        gram = (a.T @ a) * (b.T @ b)
        product = torch.einsum("xyz,yr,zr->xr", full.movedim(axis, 0), a, b)
        scale = float(gram.diagonal().mean())
        parts[axis] = torch.linalg.solve(gram + scale * ridge, product.T).T
    outputs, inputs, kernel = _balanced(parts)
    spatial = kernel.T.reshape(rank, 1, *weight.shape[2:]).to(weight.dtype)
    return _pointwise(inputs.T, weight), spatial, _pointwise(outputs, weight)


def _balanced(parts: list[Tensor]) -> list[Tensor]:
    """Return the factors with columns of equal norms, so that training moves them alike."""
    norms = [part.norm(dim=0).clamp(min=1e-30) for part in parts]
    mean = (norms[0] * norms[1] * norms[2]) ** (1 / 3)
    return [part / norm * mean for part, norm in zip(parts, norms, strict=True)]


def _pointwise(matrix: Tensor, like: Tensor) -> Tensor:
    return matrix[:, :, None, None].to(like.dtype).contiguous()
