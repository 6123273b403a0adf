"""Percolation and diffusion on small networks whose answers are known."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import Crystal
from ionbridge.structures.transport.hop_network import (
    JumpNetwork,
    carrier_network,
    diffusion_tensor,
    percolation_barriers,
    percolation_dimensionality,
    sampled_percolation_barriers,
)
from ionbridge.structures.units import BOLTZMANN_EV_PER_K, CM2_S_PER_A2_PS
from tests.screening.tiny import layered
from tests.tolerances import STANDARD_ERRORS, TIGHT

T = 300.0
KT = BOLTZMANN_EV_PER_K * T
NU = 10.0
A = 3.0
INF = np.inf


def network(hops, saddles, sites=(0.0,), lattice=None):
    """A network from rows (start, end, x, y, z)."""
    rows = np.array(hops, int).reshape(-1, 5)
    return JumpNetwork(
        lattice=A * np.eye(3) if lattice is None else np.asarray(lattice, float),
        start=rows[:, 0],
        end=rows[:, 1],
        shift=rows[:, 2:],
        site_energy_eV=np.array(sites, float),
        saddle_eV=np.broadcast_to(np.asarray(saddles, float), len(rows)).copy(),
    )


def rate(barrier):
    return NU * np.exp(-barrier / KT)


def random_network(seed, n_sites=5, n_edges=14, samples=(), spread=0.05):
    rng = np.random.default_rng(seed)
    ring = np.arange(n_sites)
    start = np.concatenate([ring, rng.integers(0, n_sites, n_edges - n_sites)])
    end = np.concatenate([np.roll(ring, 1), rng.integers(0, n_sites, n_edges - n_sites)])
    energy = rng.normal(0.0, spread, (*samples, n_sites))
    ends = np.maximum(energy[..., start], energy[..., end])
    return JumpNetwork(
        lattice=A * np.eye(3) + rng.normal(0.0, 0.3, (3, 3)),
        start=start,
        end=end,
        shift=rng.integers(-1, 2, (n_edges, 3)),
        site_energy_eV=energy,
        saddle_eV=ends + rng.uniform(0.0, 3 * spread, (*samples, n_edges)),
    )


def supercell(net, box):
    """The same network described by a cell repeated ``box`` times."""
    box = np.array(box)
    cells = np.stack(np.meshgrid(*map(np.arange, box), indexing="ij"), -1).reshape(-1, 3)
    n = net.n_sites
    index = {tuple(c): k for k, c in enumerate(cells.tolist())}
    hops = []
    for k, cell in enumerate(cells):
        for i, j, shift in zip(net.start, net.end, net.shift, strict=True):
            wrapped, inside = np.divmod(cell + shift, box)
            hops.append([k * n + i, index[tuple(inside.tolist())] * n + j, *wrapped])
    return network(
        hops,
        np.tile(net.saddle_eV, len(cells)),
        np.tile(net.site_energy_eV, len(cells)),
        net.lattice * box[:, None],
    )


def change_cell(net, unimodular):
    """The same network in another primitive cell, whose rows are ``unimodular @ lattice``."""
    inverse = np.rint(np.linalg.inv(unimodular)).astype(int)
    return replace(net, lattice=unimodular @ net.lattice, shift=net.shift @ inverse)


def bias_corrected_walk(net, temperature=T):
    """Second route: D = <w d d>/2 minus the bias through the generator's pseudo-inverse."""
    kT = BOLTZMANN_EV_PER_K * temperature
    n = net.n_sites
    occupied = np.exp(-net.site_energy_eV / kT)
    occupied = occupied / occupied.sum()
    generator, bias, bare = np.zeros((n, n)), np.zeros((n, 3)), np.zeros((3, 3))
    forth = zip(net.start, net.end, net.shift @ net.lattice, net.saddle_eV, strict=True)
    for a, b, jump, saddle in forth:
        for i, j, d in ((a, b, jump), (b, a, -jump)):
            w = NU * np.exp(-(saddle - net.site_energy_eV[i]) / kT)
            generator[i, j] += w
            generator[i, i] -= w
            bias[i] += w * d
            bare += occupied[i] * w * np.outer(d, d) / 2
    root = np.sqrt(occupied)[:, None]
    symmetric = root * generator / root.T
    correction = (root * bias).T @ np.linalg.pinv(symmetric, hermitian=True) @ (root * bias)
    return (bare + correction) * CM2_S_PER_A2_PS


@dataclass(frozen=True)
class WalkResult:
    mean: np.ndarray
    standard_error: np.ndarray


def kinetic_monte_carlo(net, temperature, n_walkers, times, seed):
    """Residence-time walkers from equilibrium; D_xx, D_yy, D_zz from the MSD between two times."""
    rng = np.random.default_rng(seed)
    kT = BOLTZMANN_EV_PER_K * temperature
    jumps = [[] for _ in range(net.n_sites)]
    forth = zip(net.start, net.end, net.shift @ net.lattice, net.saddle_eV, strict=True)
    for a, b, jump, saddle in forth:
        for i, j, d in ((a, b, jump), (b, a, -jump)):
            jumps[i].append((NU * np.exp(-(saddle - net.site_energy_eV[i]) / kT), j, d))
    width = max(map(len, jumps))
    rates = np.array([[w for w, _, _ in row] + [0.0] * (width - len(row)) for row in jumps])
    targets = np.array([[j for _, j, _ in row] + [0] * (width - len(row)) for row in jumps])
    steps = np.array([[d for *_, d in row] + [np.zeros(3)] * (width - len(row)) for row in jumps])
    total = rates.sum(1)
    ladder = np.cumsum(rates, 1) / total[:, None]
    occupied = np.exp(-net.site_energy_eV / kT)
    site = rng.choice(net.n_sites, n_walkers, p=occupied / occupied.sum())
    place, clock = np.zeros((n_walkers, 3)), np.zeros(n_walkers)
    seen = np.zeros((2, n_walkers, 3))
    while clock.min() < times[1]:
        after = clock + rng.exponential(1.0 / total[site])
        for k, moment in enumerate(times):
            here = (clock <= moment) & (after > moment)
            seen[k, here] = place[here]
        pick = (rng.random(n_walkers)[:, None] > ladder[site]).sum(1)
        place, site = place + steps[site, pick], targets[site, pick]
        clock = after
    D = (seen[1] ** 2 - seen[0] ** 2) / (2 * (times[1] - times[0])) * CM2_S_PER_A2_PS
    return WalkResult(D.mean(0), D.std(0) / np.sqrt(n_walkers))


SIMPLE_CUBIC = [[0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]
# Primitive cell: six of the twelve neighbours, the others are the reverse hops.
FCC = [*SIMPLE_CUBIC, [0, 0, 1, -1, 0], [0, 0, 1, 0, -1], [0, 0, 0, 1, -1]]
FCC_LATTICE = A / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
HONEYCOMB = [[0, 1, 0, 0, 0], [0, 1, -1, 0, 0], [0, 1, 0, -1, 0]]
HONEYCOMB_LATTICE = A * np.array([[1, 0, 0], [0.5, np.sqrt(0.75), 0], [0, 0, 3]])


class TestClosedForms:
    def test_simple_cubic(self):
        D = diffusion_tensor(network(SIMPLE_CUBIC, 0.3), T, NU)
        expected = 6 * A**2 * rate(0.3) / 6 * CM2_S_PER_A2_PS * np.eye(3)
        np.testing.assert_allclose(D, expected, rtol=TIGHT)

    def test_fcc(self):
        D = diffusion_tensor(network(FCC, 0.3, lattice=FCC_LATTICE), T, NU)
        jump2 = A**2 / 2
        expected = 12 * jump2 * rate(0.3) / 6 * CM2_S_PER_A2_PS * np.eye(3)
        np.testing.assert_allclose(D, expected, rtol=TIGHT, atol=TIGHT * expected.max())

    def test_honeycomb(self):
        D = diffusion_tensor(network(HONEYCOMB, 0.3, (0, 0), HONEYCOMB_LATTICE), T, NU)
        jump2 = A**2 / 3
        in_plane = 3 * jump2 * rate(0.3) / 4 * CM2_S_PER_A2_PS
        np.testing.assert_allclose(D, in_plane * np.diag([1, 1, 0]), atol=TIGHT * in_plane)

    @pytest.mark.parametrize(("low", "high"), [(0.3, 0.3), (0.2, 0.5), (0.2, 1.5), (0.2, 10.0)])
    def test_series_law(self, low, high):
        chain = network([[0, 1, 0, 0, 0], [1, 0, 1, 0, 0]], [low, high], (0, 0))
        expected = A**2 / 2 / (1 / rate(low) + 1 / rate(high)) * CM2_S_PER_A2_PS
        D = diffusion_tensor(chain, T, NU)
        np.testing.assert_allclose(D, expected * np.diag([1, 0, 0]), rtol=TIGHT)

    def test_chain_with_unequal_sites(self):
        """1-D: D = nu L^2 / (sum_i exp(-E_i/kT) sum_e exp(S_e/kT))."""
        rng = np.random.default_rng(1)
        n = 6
        sites = rng.normal(0, 0.1, n)
        saddles = np.maximum(sites, np.roll(sites, -1)) + rng.uniform(0.1, 0.4, n)
        hops = [[i, (i + 1) % n, int(i == n - 1), 0, 0] for i in range(n)]
        D = diffusion_tensor(network(hops, saddles, sites), T, NU)
        expected = NU * A**2 / np.exp(-sites / KT).sum() / np.exp(saddles / KT).sum()
        np.testing.assert_allclose(D[0, 0], expected * CM2_S_PER_A2_PS, rtol=TIGHT)

    def test_anisotropic_net(self):
        D = diffusion_tensor(network(SIMPLE_CUBIC[:2], [0.2, 0.4]), T, NU)
        expected = A**2 * np.diag([rate(0.2), rate(0.4), 0]) * CM2_S_PER_A2_PS
        np.testing.assert_allclose(D, expected, rtol=TIGHT)

    def test_trap_beside_the_road(self):
        """A dead end holds the carrier back by its occupation and does not carry current."""
        road = network(SIMPLE_CUBIC, 0.3)
        trapped = network([*SIMPLE_CUBIC, [0, 1, 0, 0, 0]], [0.3] * 3 + [0.4], (0, -0.1))
        slower = 1 + np.exp(0.1 / KT)
        np.testing.assert_allclose(
            diffusion_tensor(trapped, T) * slower, diffusion_tensor(road, T), rtol=TIGHT
        )

    def test_separate_networks_share_the_carriers_by_boltzmann(self):
        """Two rods, along x and y: each moves the carriers it holds."""
        rods = network([[0, 0, 1, 0, 0], [1, 1, 0, 1, 0]], [0.3, 0.35], (0.0, 0.05))
        share = np.array([1, np.exp(-0.05 / KT)]) / (1 + np.exp(-0.05 / KT))
        D = diffusion_tensor(rods, T, NU)
        expected = np.diag([*share * rate(0.3), 0]) * A**2 * CM2_S_PER_A2_PS
        np.testing.assert_allclose(D, expected, rtol=TIGHT)

    def test_no_hops_no_diffusion(self):
        assert not diffusion_tensor(network([], [], (0.0, 0.1)), T).any()
        closed = network(SIMPLE_CUBIC, INF)
        assert not diffusion_tensor(closed, T).any()


class TestSecondRoutes:
    @pytest.mark.parametrize("seed", range(8))
    def test_agrees_with_the_bias_corrected_walk(self, seed):
        net = random_network(seed)
        expected = bias_corrected_walk(net)
        D = diffusion_tensor(net, T, NU)
        np.testing.assert_allclose(D, expected, rtol=TIGHT, atol=TIGHT * expected.max())

    @pytest.mark.parametrize("seed", [0, 1])
    def test_agrees_with_kinetic_monte_carlo(self, seed):
        net = random_network(seed, n_sites=3, n_edges=8, spread=0.03)
        exact = np.diag(diffusion_tensor(net, T, NU))
        walk = kinetic_monte_carlo(net, T, n_walkers=4000, times=(1.0, 6.0), seed=seed)
        assert (np.abs(walk.mean - exact) < STANDARD_ERRORS * walk.standard_error).all()
        assert (walk.standard_error < 0.05 * exact.max()).all()

    def test_detailed_balance_gives_symmetric_positive_tensors(self):
        D = diffusion_tensor(random_network(3, samples=(20,)), T)
        np.testing.assert_allclose(D, np.swapaxes(D, -1, -2))
        assert (np.linalg.eigvalsh(D) > 0).all()


class TestHighBarriers:
    @pytest.mark.parametrize("high", [3.0, 6.0, 10.0])
    def test_a_blocked_direction_is_as_exact_as_an_open_one(self, high):
        """Layers of a buckled net with fast and slow hops, coupled by rods with a high saddle."""
        layer = [[0, 1, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 0, 1, 0], [1, 1, 0, 1, 0]]
        net = network([*layer, [0, 1, 0, 0, 1]], [0.2, 0.5, 0.3, 0.3, high], (0.0, 0.0))
        D = diffusion_tensor(net, T, NU) / (A**2 * CM2_S_PER_A2_PS)
        fast_x = 1 / (1 / rate(0.2) + 1 / rate(0.5)) / 2
        np.testing.assert_allclose(D[0, 0], fast_x, rtol=TIGHT)
        np.testing.assert_allclose(D[1, 1], rate(0.3), rtol=TIGHT)
        # Fast layers are equipotentials: the one slow hop per cell sets the pace, over two sites.
        np.testing.assert_allclose(D[2, 2], rate(high) / 2, rtol=TIGHT)

    @pytest.mark.parametrize("seed", range(4))
    def test_activation_energy_at_low_temperature_is_the_percolation_barrier(self, seed):
        """-d ln D / d(1/kT) of each fastest direction tends to E_1 (no trap off the path)."""
        net = random_network(seed, spread=0.4)
        temperatures = np.array([40.0, 41.0])
        D = np.trace(diffusion_tensor(network_repeated(net, 2), temperatures), axis1=-2, axis2=-1)
        slope = np.diff(np.log(D)) / np.diff(-1 / (BOLTZMANN_EV_PER_K * temperatures))
        reference = net.site_energy_eV.min()
        saddle_level = lowest_percolating_saddle(net)
        np.testing.assert_allclose(slope[0], saddle_level - reference, atol=2e-3)

    def test_saddle_below_a_site_is_raised_to_it(self):
        low = network([[0, 1, 0, 0, 0], [1, 0, 1, 0, 0]], [-1.0, 0.1], (0.0, 0.3))
        raised = replace(low, saddle_eV=np.array([0.3, 0.3]))
        np.testing.assert_allclose(diffusion_tensor(low, T), diffusion_tensor(raised, T))
        np.testing.assert_allclose(percolation_barriers(low), [0.3, INF, INF])


def network_repeated(net, n):
    """n identical samples."""
    return replace(
        net,
        site_energy_eV=np.tile(net.site_energy_eV, (n, 1)),
        saddle_eV=np.tile(net.saddle_eV, (n, 1)),
    )


def lowest_percolating_saddle(net):
    """Second route: bisect the level at which a breadth-first search meets its own image."""
    for level in np.sort(net.saddle_eV):
        open_hops = net.saddle_eV <= level
        for source in range(net.n_sites):
            if winding_rank(net, open_hops, source) >= 1:
                return level
    return INF


def winding_rank(net, open_hops, source):
    cells, todo, windings = {source: np.zeros(3, int)}, [source], [np.zeros(3, int)]
    rows = zip(net.start[open_hops], net.end[open_hops], net.shift[open_hops], strict=True)
    both = [(i, j, s) for a, b, d in rows for i, j, s in ((a, b, d), (b, a, -d))]
    while todo:
        i = todo.pop()
        for start, j, shift in both:
            if start != i:
                continue
            there = cells[i] + shift
            if j in cells:
                windings.append(there - cells[j])
            else:
                cells[j] = there
                todo.append(j)
    return np.linalg.matrix_rank(np.array(windings))


class TestPercolation:
    @pytest.mark.parametrize(
        ("hops", "saddles", "sites", "expected"),
        [
            (SIMPLE_CUBIC, [0.2, 0.3, 0.4], (0.0,), [0.2, 0.3, 0.4]),
            (FCC, 0.3, (0.0,), [0.3, 0.3, 0.3]),
            (HONEYCOMB, 0.3, (0, 0), [0.3, 0.3, INF]),
            (HONEYCOMB, [0.1, 0.2, 0.4], (0, 0), [0.2, 0.4, INF]),
            ([[0, 0, 1, 1, 0]], 0.3, (0.0,), [0.3, INF, INF]),
            # Winds along (1, 1, 0) only by way of a second site.
            ([[0, 1, 1, 0, 0], [1, 0, 0, 1, 0]], [0.3, 0.5], (0, 0), [0.5, INF, INF]),
            # A loop that closes on itself, not on an image.
            ([[0, 1, 1, 0, 0], [1, 0, -1, 0, 0]], 0.3, (0, 0), [INF, INF, INF]),
            # Only every second cell is met: still a direction.
            ([[0, 0, 2, 0, 0]], 0.3, (0.0,), [0.3, INF, INF]),
            # Three hops in one plane are two directions.
            ([[0, 0, 1, 1, 0], [0, 0, 0, 1, 1], [0, 0, 1, 2, 1]], 0.3, (0.0,), [0.3, 0.3, INF]),
            # Rods along x and y that never meet are one direction each.
            ([[0, 0, 1, 0, 0], [1, 1, 0, 1, 0]], [0.3, 0.4], (0, 0), [0.3, INF, INF]),
            # ... and two once a bridge joins them.
            (
                [[0, 0, 1, 0, 0], [1, 1, 0, 1, 0], [0, 1, 0, 0, 0]],
                [0.3, 0.4, 0.6],
                (0, 0),
                [0.3, 0.6, INF],
            ),
            # The network whose floor is higher has the lower barrier.
            ([[0, 0, 1, 0, 0], [1, 1, 1, 0, 0]], [0.5, 0.6], (0.0, 0.3), [0.3, INF, INF]),
            # A dead end opened at the same level counts into the floor.
            ([[0, 0, 1, 0, 0], [0, 1, 0, 0, 0]], 0.3, (0.0, -0.2), [0.5, INF, INF]),
            ([], [], (0.0,), [INF, INF, INF]),
            ([[0, 0, 1, 0, 0]], INF, (0.0,), [INF, INF, INF]),
        ],
    )
    def test_small_nets(self, hops, saddles, sites, expected):
        np.testing.assert_allclose(percolation_barriers(network(hops, saddles, sites)), expected)

    def test_two_interpenetrating_networks(self):
        """The net with body-diagonal hops falls into separate parts; each is 3-D on its own."""
        diagonals = [[0, 0, 1, 1, 0], [0, 0, 1, -1, 0], [0, 0, 0, 1, 1], [0, 0, 0, 1, -1]]
        np.testing.assert_allclose(percolation_barriers(network(diagonals, 0.3)), 0.3)
        doubled = supercell(network(diagonals, 0.3), (2, 2, 2))
        np.testing.assert_allclose(percolation_barriers(doubled), 0.3)

    @pytest.mark.parametrize("seed", range(6))
    def test_agrees_with_a_breadth_first_search(self, seed):
        net = random_network(seed, n_sites=6, n_edges=10, spread=0.3)
        net = replace(net, site_energy_eV=np.zeros(6))
        expected = [
            min(
                (
                    level
                    for level in net.barred_saddle_eV
                    for source in range(6)
                    if winding_rank(net, net.barred_saddle_eV <= level, source) >= rank
                ),
                default=INF,
            )
            for rank in (1, 2, 3)
        ]
        np.testing.assert_allclose(percolation_barriers(net), expected)

    def test_dimensionality_counts_directions_below_the_threshold(self):
        net = network(SIMPLE_CUBIC, [0.2, 0.3, 0.4])
        thresholds = [0.1, 0.2, 0.25, 0.3, 0.5]
        counts = [int(percolation_dimensionality(net, t)) for t in thresholds]
        assert counts == [0, 1, 1, 2, 3]


class TestInvariance:
    @pytest.mark.parametrize("box", [(2, 1, 1), (1, 2, 3), (2, 2, 2)])
    def test_supercell(self, box):
        net = random_network(5, n_sites=4, n_edges=9)
        big = supercell(net, box)
        D = diffusion_tensor(net, T)
        np.testing.assert_allclose(diffusion_tensor(big, T), D, atol=TIGHT * D.max())
        np.testing.assert_allclose(percolation_barriers(big), percolation_barriers(net))

    def test_choice_of_cell(self):
        net = random_network(6)
        other = change_cell(net, np.array([[1, 1, 0], [0, 1, 0], [2, 0, 1]]))
        D = diffusion_tensor(net, T)
        np.testing.assert_allclose(diffusion_tensor(other, T), D, atol=TIGHT * D.max())
        np.testing.assert_allclose(percolation_barriers(other), percolation_barriers(net))

    def test_rotation(self):
        net = random_network(7)
        turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
        rotated = replace(net, lattice=net.lattice @ turn.T)
        D = diffusion_tensor(net, T)
        np.testing.assert_allclose(
            diffusion_tensor(rotated, T), turn @ D @ turn.T, atol=TIGHT * D.max()
        )

    def test_listing_of_hops(self):
        """Order, direction and the cell in which a site is drawn are free."""
        net = random_network(8)
        rng = np.random.default_rng(0)
        moved = rng.integers(-2, 3, (net.n_sites, 3))
        shift = net.shift + moved[net.end] - moved[net.start]
        order, back = rng.permutation(len(net.start)), rng.random(len(net.start)) < 0.5
        other = replace(
            net,
            start=np.where(back, net.end, net.start)[order],
            end=np.where(back, net.start, net.end)[order],
            shift=np.where(back[:, None], -shift, shift)[order],
            saddle_eV=net.saddle_eV[order],
        )
        D = diffusion_tensor(net, T)
        np.testing.assert_allclose(diffusion_tensor(other, T), D, atol=TIGHT * D.max())
        np.testing.assert_allclose(percolation_barriers(other), percolation_barriers(net))

    def test_zero_of_energy(self):
        net = random_network(9)
        raised = replace(
            net, site_energy_eV=net.site_energy_eV - 7.0, saddle_eV=net.saddle_eV - 7.0
        )
        np.testing.assert_allclose(diffusion_tensor(raised, T), diffusion_tensor(net, T))
        np.testing.assert_allclose(percolation_barriers(raised), percolation_barriers(net))

    def test_samples_are_independent(self):
        net = random_network(10, samples=(2, 30))
        D, barriers = diffusion_tensor(net, T), percolation_barriers(net)
        assert D.shape == (2, 30, 3, 3)
        assert barriers.shape == (2, 30, 3)
        one = replace(net, site_energy_eV=net.site_energy_eV[1, 22], saddle_eV=net.saddle_eV[1, 22])
        np.testing.assert_allclose(D[1, 22], diffusion_tensor(one, T))
        np.testing.assert_allclose(barriers[1, 22], percolation_barriers(one))


def rocksalt(carrier="vacancy"):
    """The migration graph of LiF: an fcc net of one hop."""
    crystal = Crystal(
        "LiF", FCC_LATTICE, ({"Li": 1.0}, {"F": 1.0}), np.array([[0.0] * 3, [0.5] * 3])
    )
    return replace(find_hops(crystal), carrier=carrier)


def chain(carrier):
    """Two sites and two kinds of hop in a row along x."""
    graph = rocksalt(carrier)
    return replace(
        graph,
        site_frac=np.array([[0.0, 0, 0], [0.5, 0, 0]]),
        start=np.array([0, 1]),
        end=np.array([1, 0]),
        shift=np.array([[0, 0, 0], [1, 0, 0]]),
        orbit=np.array([0, 1]),
        hops=(*graph.hops, graph.hops[0].reversed()),
    )


class TestCarrierNetwork:
    def test_rocksalt_is_fcc(self):
        net = carrier_network(rocksalt(), [0.7], [0.3])
        expected = diffusion_tensor(network(FCC, 0.3, lattice=FCC_LATTICE), T)
        np.testing.assert_allclose(diffusion_tensor(net, T), expected, atol=TIGHT * expected.max())
        np.testing.assert_allclose(percolation_barriers(net), 0.3)

    def test_interstitial_keeps_the_energies_of_the_ion(self):
        net = carrier_network(chain("interstitial"), [0.1, 0.3], [0.4, 0.5])
        np.testing.assert_allclose(net.site_energy_eV, [0.1, 0.3])
        np.testing.assert_allclose(net.saddle_eV, [0.6, 0.7])

    def test_vacancy_jumps_backwards_over_the_same_barrier(self):
        """The ion's barrier from 0 to 1 is the vacancy's from 1 to 0."""
        ion = carrier_network(chain("interstitial"), [0.1, 0.3], [0.4, 0.5])
        vacancy = carrier_network(chain("vacancy"), [0.1, 0.3], [0.4, 0.5])
        np.testing.assert_allclose(
            ion.saddle_eV - ion.site_energy_eV[ion.start],
            vacancy.saddle_eV - vacancy.site_energy_eV[vacancy.end],
        )

    def test_kra_is_at_least_half_the_difference(self):
        net = carrier_network(chain("interstitial"), [0.0, 1.0], [0.1, 0.6])
        np.testing.assert_allclose(net.saddle_eV, [1.0, 1.1])

    def test_samples_broadcast(self):
        net = carrier_network(chain("vacancy"), np.zeros((5, 1, 2)), np.full((4, 2), 0.3))
        assert net.saddle_eV.shape == (5, 4, 2)
        assert diffusion_tensor(net, T).shape == (5, 4, 3, 3)

    @pytest.mark.parametrize("carrier", ["vacancy", "interstitial"])
    @pytest.mark.parametrize("graph", [chain("vacancy"), find_hops(layered())])
    def test_samples_in_which_orbits_open_are_networks_one_by_one(self, graph, carrier):
        rng = np.random.default_rng(0)
        graph = replace(graph, carrier=carrier)
        energy = rng.normal(0.0, 0.3, (3, graph.n_sites))  # one orbit in the oxide, two in a row
        member = rng.integers(0, 3, 40)
        kra = rng.uniform(0.0, 1.0, (40, len(graph.hops)))
        expected = percolation_barriers(carrier_network(graph, energy[member], kra))[:, 0]
        found = sampled_percolation_barriers(graph, energy, member, kra)
        np.testing.assert_allclose(found, expected)

    def test_wrong_sizes_are_named(self):
        with pytest.raises(ValueError, match="LiF: 3 site energies for 2 sites"):
            carrier_network(chain("vacancy"), np.zeros(3), np.zeros(2))


class TestErrors:
    def test_shapes_and_values(self):
        good = network(SIMPLE_CUBIC, 0.3)
        with pytest.raises(ValueError, match=r"saddle_eV has shape \(2,\), expected \(3,\)"):
            replace(good, saddle_eV=np.zeros(2))
        with pytest.raises(ValueError, match=r"outside 0\.\.0"):
            replace(good, end=np.array([0, 0, 1]))
        with pytest.raises(ValueError, match="must be finite"):
            replace(good, site_energy_eV=np.array([np.nan]))
        with pytest.raises(ValueError, match="must list the same hops"):
            replace(good, shift=np.zeros((2, 3), int))
        with pytest.raises(ValueError, match="lattice has shape"):
            replace(good, lattice=np.eye(2))

    def test_temperature(self):
        with pytest.raises(ValueError, match="temperature_K must be positive, got -5"):
            diffusion_tensor(network(SIMPLE_CUBIC, 0.3), -5.0)
