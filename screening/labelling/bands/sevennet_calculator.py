"""SevenNet for ASE, ten times faster on a CPU than as it comes.

SevenNet-0: Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024). Its weights lie in the package,
so it runs offline. What an atom gathers from its neighbours is a sum over bonds of radial weights
times features of the neighbour times spherical harmonics of the bond. The radial weights are a
network of the distance alone: they are tabulated once and interpolated. The sum is done bond after
bond, so that nothing as large as bonds times channels is ever in memory.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import sevenn._keys as key
import torch
from e3nn.o3 import wigner_3j
from numba import njit
from numpy.typing import NDArray
from sevenn.calculator import SevenNetCalculator
from sevenn.nn.convolution import IrrepsConvolution
from torch import Tensor, nn
from torch.autograd import forward_ad

compiled: Any = njit(fastmath=True, cache=True)
SHORTEST_A, KNOT_A = 0.5, 0.02
"""Where the table of radial weights begins, and the distance of its knots."""


class SevennetCalculator(SevenNetCalculator):
    """SevenNet with the weights of its package; runs offline.

    Args:
        model: ``7net-0``, ``7net-l3i5`` or ``7net-mf-0``.
        modal: Of a model that was trained on several sets, which one (``PBE`` or ``R2SCAN``).
        device: ``cpu`` or ``cuda``; by default CUDA where there is one.
    """

    def __init__(
        self, model: str = "7net-0", modal: str | None = None, device: str = "auto"
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            super().__init__(model=model, modal=modal, device=device)
        self.model.requires_grad_(False)  # else gradients of all weights come with the forces
        if self.device.type == "cpu":
            for name, layer in list(self.model.named_children()):
                if isinstance(layer, IrrepsConvolution):
                    self.model.replace_module(name, Gather(layer, self.model.edge_embedding))


class Gather(nn.Module):
    """What every atom gathers from its neighbours: sum over j of w(r_ij) (x_j (x) Y(r_ij)).

    Args:
        stock: The layer of the package that it stands for.
        bonds: How distances become the input of the network of radial weights.
    """

    def __init__(self, stock: Any, bonds: Any) -> None:
        super().__init__()
        product = stock.convolution
        self.scale = 1.0 / float(stock.denominator)
        self.inputs = [(mul, ir.dim) for mul, ir in product.irreps_in1]
        self.outputs = [(mul, ir.dim) for mul, ir in product.irreps_out]
        first = np.cumsum([0, *(mul * dim for mul, dim in self.inputs)])
        at, rows, couplings = np.zeros(3, dtype=np.int64), [], []
        for path in product.instructions:  # in the order of their outputs
            mul, ir = product.irreps_in1[path.i_in1]
            bond, ir_out = product.irreps_in2[path.i_in2].ir, product.irreps_out[path.i_out].ir
            coupling = torch.zeros(product.irreps_in2.dim, ir.dim, ir_out.dim)
            part = product.irreps_in2.slices()[path.i_in2]
            coupling[part] = wigner_3j(ir.l, bond.l, ir_out.l).transpose(0, 1)
            couplings.append(path.path_weight * coupling.flatten(1))
            rows.append((first[path.i_in1], mul, ir.dim, ir_out.dim, *at))
            at += (mul, ir.dim * ir_out.dim, mul * ir_out.dim)
        self.couplings = torch.cat(couplings, 1)
        self.paths = np.array(rows, dtype=np.int64)
        self.n_outputs = int(at[2])
        self.radial = radial_table(stock.weight_nn, bonds)

    def forward(self, data: Any) -> Any:
        """The graph, its features replaced by what was gathered."""
        x = _channels_last(data[key.NODE_FEATURE], self.inputs)
        angular = data[key.EDGE_ATTR] @ self.couplings
        gathered = _Gathered.apply(*data[key.EDGE_IDX], data[key.EDGE_LENGTH], angular, x, self)
        turned = [(dim, mul) for mul, dim in self.outputs]
        data[key.NODE_FEATURE] = _channels_last(gathered, turned) * self.scale
        return data


def radial_table(weights: Any, bonds: Any) -> NDArray[np.float32]:
    """(n_knots - 1, 4, n_weights) coefficients of cubics through radial weights and their slopes.

    Args:
        weights: Embedded distance -> radial weights.
        bonds: Distance -> embedded distance.
    """
    weights, bonds = copy.deepcopy(weights).double(), copy.deepcopy(bonds).double()
    cutoff = float(bonds.cutoff_function.r_cut)
    r = torch.arange(SHORTEST_A, cutoff + KNOT_A / 2, KNOT_A, dtype=torch.float64)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(r, torch.ones_like(r))
        embedded = bonds.basis_function(dual) * bonds.cutoff_function(dual)[:, None]
        value, slope = (part.numpy() for part in forward_ad.unpack_dual(weights(embedded)))
    slope = slope * KNOT_A
    rise = np.diff(value, axis=0)
    square = 3 * rise - 2 * slope[:-1] - slope[1:]
    cube = slope[:-1] + slope[1:] - 2 * rise
    return np.stack([value[:-1], slope[:-1], square, cube], axis=1).astype(np.float32)


def _channels_last(x: Tensor, parts: list[tuple[int, int]]) -> Tensor:
    """Each part (n_atoms, a b) of the features transposed to (n_atoms, b a)."""
    pieces = x.split([a * b for a, b in parts], 1)
    turned = [
        p.unflatten(1, part).transpose(1, 2).flatten(1)
        for p, part in zip(pieces, parts, strict=True)
    ]
    return torch.cat(turned, 1)


class _Gathered(torch.autograd.Function):
    """The sum over bonds with its first derivatives."""

    @staticmethod
    def forward(
        ctx: Any, atom: Tensor, other: Tensor, r: Tensor, angular: Tensor, x: Tensor, layer: Gather
    ) -> Tensor:
        ctx.save_for_backward(atom, other, r, angular, x)
        ctx.layer = layer
        out = torch.zeros(len(x), layer.n_outputs)
        bonds = (v.detach().numpy() for v in (atom, other, r, angular, x))
        _gather(*bonds, layer.radial, layer.paths, out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        atom, other, r, angular, x = ctx.saved_tensors
        found = torch.empty_like(r), torch.empty_like(angular), torch.zeros_like(x)
        bonds = (v.detach().numpy() for v in (atom, other, r, angular, x))
        _slopes(
            *bonds,
            ctx.layer.radial,
            ctx.layer.paths,
            slopes[0].contiguous().numpy(),
            *(v.numpy() for v in found),
        )
        return None, None, *found, None


@compiled
def _weights(r, table, value, slope):  # type: ignore[no-untyped-def]
    """Radial weights at one distance and their slopes, from the table."""
    at = (r - np.float32(SHORTEST_A)) / np.float32(KNOT_A)
    k = min(max(int(at), 0), len(table) - 1)
    t = np.float32(at - k)
    a, b, c, d = table[k, 0], table[k, 1], table[k, 2], table[k, 3]
    per_A = np.float32(1.0 / KNOT_A)
    for u in range(len(value)):
        value[u] = a[u] + t * (b[u] + t * (c[u] + t * d[u]))
        slope[u] = per_A * (b[u] + t * (np.float32(2) * c[u] + np.float32(3) * t * d[u]))


@compiled
def _gather(atom, other, r, angular, x, table, paths, out):  # type: ignore[no-untyped-def]
    """Add what every bond brings to `out`; of each path the channels are innermost."""
    value = np.empty(table.shape[2], np.float32)
    slope = np.empty(table.shape[2], np.float32)
    weighted = np.empty((paths[:, 2].max(), paths[:, 1].max()), np.float32)
    for e in range(len(r)):
        _weights(r[e], table, value, slope)
        xs, ys = x[other[e]], out[atom[e]]
        for p in range(len(paths)):
            first, n, n_in, n_out, w, at, to = paths[p]
            ws = value[w : w + n]
            for a in range(n_in):
                xa, za = xs[first + a * n : first + a * n + n], weighted[a]
                for u in range(n):
                    za[u] = ws[u] * xa[u]
            for c in range(n_out):
                yc = ys[to + c * n : to + c * n + n]
                for a in range(n_in):
                    za, coupling = weighted[a], angular[e, at + a * n_out + c]
                    for u in range(n):
                        yc[u] += za[u] * coupling


@compiled
def _slopes(  # type: ignore[no-untyped-def]
    atom, other, r, angular, x, table, paths, slopes, of_r, of_angular, of_x
):
    """What the slopes by `out` are by distance, by angular factor and by features."""
    value = np.empty(table.shape[2], np.float32)
    slope = np.empty(table.shape[2], np.float32)
    weighted = np.empty(paths[:, 1].max(), np.float32)
    passed = np.empty(paths[:, 1].max(), np.float32)
    for e in range(len(r)):
        _weights(r[e], table, value, slope)
        xs, gxs, gs = x[other[e]], of_x[other[e]], slopes[atom[e]]
        by_r = np.float32(0)
        for p in range(len(paths)):
            first, n, n_in, n_out, w, at, to = paths[p]
            ws, dws = value[w : w + n], slope[w : w + n]
            for a in range(n_in):
                xa, gxa = xs[first + a * n :][:n], gxs[first + a * n :][:n]
                for u in range(n):
                    weighted[u] = ws[u] * xa[u]
                    passed[u] = 0
                for c in range(n_out):
                    k = at + a * n_out + c
                    gc, coupling, total = gs[to + c * n :][:n], angular[e, k], np.float32(0)
                    for u in range(n):
                        passed[u] += coupling * gc[u]
                        total += weighted[u] * gc[u]
                    of_angular[e, k] = total
                for u in range(n):
                    gxa[u] += passed[u] * ws[u]
                    by_r += passed[u] * xa[u] * dws[u]
        of_r[e] = by_r
