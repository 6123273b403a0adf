"""Bond-valence energies against direct sums, bvlain, symmetry, and known conductors."""

import warnings

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation
from scipy.special import erfc

from ionbridge.structures.bond_valence.bvse import (
    bond_valence_field,
    hop_field,
    landscape,
    relax_paths,
)
from ionbridge.structures.bond_valence.softbv import coulomb_pair, morse_pair
from ionbridge.structures.records import Crystal, Hop, UnusableStructureError
from tests.tolerances import TIGHT

MEV = 1e-3
STATES = {"Li": 1, "Fe": 2, "P": 5, "O": -2, "Co": 3, "S": -2, "Al": 3}


def states_of(crystal: Crystal) -> list[dict[str, float]]:
    return [{symbol: STATES[symbol] for symbol in site} for site in crystal.species]


def crystal_of(structure: Structure) -> Crystal:
    return Crystal.from_pymatgen(structure, "test")


@pytest.fixture(scope="module")
def olivine() -> Crystal:
    """LiFePO4, Pnma: channels along b (Streltsov et al., Acta Cryst. B 49, 147 (1993))."""
    lattice = Lattice.orthorhombic(10.332, 6.010, 4.692)
    sites = {
        "Li": [[0, 0, 0]],
        "Fe": [[0.2822, 0.25, 0.9747]],
        "P": [[0.0948, 0.25, 0.4182]],
        "O": [[0.0967, 0.25, 0.7428], [0.4573, 0.25, 0.2060], [0.1656, 0.0465, 0.2848]],
    }
    species = [s for s, positions in sites.items() for _ in positions]
    positions = [p for group in sites.values() for p in group]
    return crystal_of(Structure.from_spacegroup("Pnma", lattice, species, positions))


@pytest.fixture(scope="module")
def layered() -> Crystal:
    """LiCoO2, R-3m in its hexagonal cell (Orman and Wiseman, Acta Cryst. C 40, 12 (1984))."""
    return crystal_of(
        Structure.from_spacegroup(
            "R-3m",
            Lattice.hexagonal(2.816, 14.08),
            ["Li", "Co", "O"],
            [[0, 0, 0.5], [0, 0, 0], [0, 0, 0.2605]],
        )
    )


@pytest.fixture(scope="module")
def scrambled() -> Crystal:
    """A triclinic cell without symmetry."""
    rng = np.random.default_rng(3)
    return Crystal(
        "scrambled",
        np.array([[5.1, 0.2, -0.3], [1.4, 6.2, 0.5], [-0.8, 1.1, 7.0]]),
        tuple({s: 1.0} for s in ["O", "O", "S", "P", "Fe", "Li", "O"]),
        rng.uniform(0, 1, (7, 3)),
    )


def free_points(crystal: Crystal, n: int, seed: int = 0, nearest_A: float = 1.3):
    """Random points in and around the cell that are not inside an atom."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 2, (50 * n, 3))
    away = points[:, None] - crystal.frac
    away -= np.round(away)
    far = (np.linalg.norm(away @ crystal.lattice, axis=2) > nearest_A).all(axis=1)
    assert far.sum() >= n
    return points[far][:n] @ crystal.lattice


def direct_energy(crystal: Crystal, ion: str, states, point, cutoff: float, include: bool) -> float:
    """The formula of the module, term by term over images, without a switch."""
    total = 0.0
    for a in range(-5, 6):
        for b in range(-5, 6):
            for c in range(-5, 6):
                for site, frac, state in zip(crystal.species, crystal.frac, states, strict=True):
                    r = np.linalg.norm((frac + np.array([a, b, c])) @ crystal.lattice - point)
                    if r > cutoff:
                        continue
                    for symbol, occupancy in site.items():
                        if symbol == ion and not include:
                            continue
                        if state[symbol] < 0:
                            m = morse_pair(ion, 1, symbol, state[symbol])
                            well = (np.exp(m.alpha_per_A * (m.r_min_A - r)) - 1) ** 2 - 1
                            total += occupancy * m.depth_eV * well / 2
                        else:
                            strength, length = coulomb_pair(ion, 1, symbol)
                            total += occupancy * strength * state[symbol] * erfc(r / length) / r
    return total


@pytest.mark.parametrize("include", [False, True])
def test_energy_equals_a_direct_sum(scrambled, include):
    states = states_of(scrambled)
    field = bond_valence_field(scrambled, "Li", states, include, cutoff_A=12.0)
    points = free_points(scrambled, 4)
    direct = [direct_energy(scrambled, "Li", states, p, 12.0, include) for p in points]
    np.testing.assert_allclose(field.energy(points), direct, atol=1e-4)
    # the default cutoff is long enough
    default = bond_valence_field(scrambled, "Li", states, include)
    np.testing.assert_allclose(default.energy(points), direct, atol=5 * MEV)


def test_gradient_equals_finite_differences(scrambled):
    field = bond_valence_field(scrambled, "Li", states_of(scrambled))
    points = free_points(scrambled, 20)
    energy, gradient, hessian = field.derivatives(points)
    np.testing.assert_allclose(energy, field.energy(points))
    h = 1e-4
    for k in range(3):
        step = h * np.eye(3)[k]
        numeric = (field.energy(points + step) - field.energy(points - step)) / (2 * h)
        np.testing.assert_allclose(gradient[:, k], numeric, atol=1e-4)
        slope = [field.derivatives(points + side)[1] for side in (step, -step)]
        numeric = (slope[0] - slope[1]) / (2 * h)
        np.testing.assert_allclose(hessian[:, k], numeric, atol=1e-3)


def test_energy_and_slope_are_smooth_at_the_cutoff():
    lone = Crystal("lone", 40 * np.eye(3), ({"O": 1.0},), np.zeros((1, 3)))
    field = bond_valence_field(lone, "Li", [{"O": -2}], cutoff_A=3.0)
    line = np.linspace(1.9, 3.1, 2001)[:, None] * [1.0, 0, 0]
    energy, gradient, _ = field.derivatives(line)
    assert np.abs(np.diff(energy)).max() < 2e-3
    assert np.abs(np.diff(gradient[:, 0])).max() < 5e-3
    assert energy[-1] == 0


def test_translation_supercell_cell_choice_and_permutation_change_nothing(scrambled):
    states = states_of(scrambled)
    points = free_points(scrambled, 10)
    energy = bond_valence_field(scrambled, "Li", states).energy(points)
    move = np.array([0.3, -1.2, 0.7])
    moved = Crystal("m", scrambled.lattice, scrambled.species, scrambled.frac + move)
    shifted = points + move @ scrambled.lattice
    np.testing.assert_allclose(bond_valence_field(moved, "Li", states).energy(shifted), energy)
    change = np.array([[1, 1, 0], [0, 1, 2], [0, 0, 1]])  # same lattice, another cell
    other = Crystal(
        "o", change @ scrambled.lattice, scrambled.species, scrambled.frac @ np.linalg.inv(change)
    )
    np.testing.assert_allclose(bond_valence_field(other, "Li", states).energy(points), energy)
    order = np.random.default_rng(1).permutation(7)
    permuted = Crystal(
        "p", scrambled.lattice, tuple(scrambled.species[i] for i in order), scrambled.frac[order]
    )
    field = bond_valence_field(permuted, "Li", [states[i] for i in order])
    np.testing.assert_allclose(field.energy(points), energy)
    double = scrambled.to_pymatgen()
    double.make_supercell([2, 1, 1])
    double = crystal_of(double)
    np.testing.assert_allclose(
        bond_valence_field(double, "Li", states_of(double)).energy(points), energy
    )


def test_a_shared_site_is_the_weighted_sum_of_its_species(scrambled):
    points = free_points(scrambled, 5)
    states = [{"O": -2, "S": -2}, *states_of(scrambled)[1:]]

    def energy(content):
        crystal = Crystal("d", scrambled.lattice, (content, *scrambled.species[1:]), scrambled.frac)
        return bond_valence_field(crystal, "Li", states).energy(points)

    mixed = energy({"O": 0.3, "S": 0.6})
    parts = 0.3 * energy({"O": 1.0}) + 0.6 * energy({"S": 1.0}) + 0.1 * energy({"O": 0.0})
    np.testing.assert_allclose(mixed, parts, atol=TIGHT)


def test_fractional_charges_scale_coulomb_and_leave_morse(scrambled):
    points = free_points(scrambled, 5)

    def energy(iron, oxygen):
        states = [
            {s: {"Fe": iron, "O": oxygen}.get(s, STATES[s]) for s in site}
            for site in scrambled.species
        ]
        return bond_valence_field(scrambled, "Li", states).energy(points)

    np.testing.assert_allclose(energy(2.5, -2), 0.5 * (energy(2, -2) + energy(3, -2)), atol=TIGHT)
    np.testing.assert_allclose(energy(2, -1.0), energy(2, -2))  # peroxide: nearest tabulated


@pytest.mark.parametrize(
    ("ion", "anion"),
    [("Mg", "Se"), ("Mg", "Te"), ("Mg", "I"), ("Ca", "Br"), ("Ca", "I"), ("Sr", "Te")],
)
def test_corrupt_pairs_are_refused_by_name(ion, anion):
    crystal = Crystal("salt", 5 * np.eye(3), ({anion: 1.0},), np.zeros((1, 3)))
    with pytest.raises(UnusableStructureError, match=f"salt: .*{ion}-{anion}.*corrupt"):
        bond_valence_field(crystal, ion, [{anion: -1}])


def test_missing_parameters_and_anions_are_refused():
    def lone(symbol):
        return Crystal("x", 5 * np.eye(3), ({symbol: 1.0},), np.zeros((1, 3)))

    with pytest.raises(UnusableStructureError, match="no softBV parameters for the pair Li"):
        bond_valence_field(lone("P"), "Li", [{"P": -3}])
    with pytest.raises(UnusableStructureError, match="no anion"):
        bond_valence_field(lone("Fe"), "Li", [{"Fe": 2}])
    with pytest.raises(UnusableStructureError, match="working ion 'Ne'"):
        bond_valence_field(lone("O"), "Ne", [{"O": -2}])
    with pytest.raises(ValueError, match="2 oxidation states for 1 sites"):
        bond_valence_field(lone("O"), "Li", [{"O": -2}, {"O": -2}])


def test_landscape_holds_the_energies_of_the_field(scrambled):
    field = bond_valence_field(scrambled, "Li", states_of(scrambled))
    energy = landscape(field, 0.4).energy_eV
    grid = np.stack(np.meshgrid(*(np.arange(n) / n for n in energy.shape), indexing="ij"), axis=-1)
    exact = field.energy(grid.reshape(-1, 3) @ scrambled.lattice)
    low = exact < exact.min() + 5
    np.testing.assert_allclose(energy.ravel()[low], exact[low], atol=15 * MEV)


def test_agreement_with_bvlain_on_olivine(olivine):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from bvlain import Lain
    structure = olivine.to_pymatgen()
    structure.add_oxidation_state_by_element({"Li": 1, "Fe": 2, "P": 5, "O": -2})
    reference = Lain(verbose=False)
    reference.read_structure(structure, oxi_check=False)
    energy = reference.bvse_distribution(mobile_ion="Li1+", r_cut=10.0, resolution=0.3, k=300)
    points = (reference.mesh_ - reference.shift) @ olivine.lattice
    field = bond_valence_field(olivine, "Li", states_of(olivine), cutoff_A=10.0)
    low = energy.ravel() < energy.min() + 20
    np.testing.assert_allclose(field.energy(points[low]), energy.ravel()[low], atol=1e-4)
    theirs = list(reference.percolation_barriers(encut=10.0).values())
    ours = landscape(field, 0.3).percolation_barriers()
    np.testing.assert_allclose(ours, theirs, atol=0.1)


def test_olivine_percolates_along_b_only(olivine):
    field = bond_valence_field(olivine, "Li", states_of(olivine))
    along, plane, space = landscape(field, 0.25).percolation_barriers()
    assert 0.2 < along < 0.8
    assert plane > along + 1
    assert space >= plane
    # the direction: cut the channel at y = 0.25 and the 1-D way is gone
    grid = landscape(field, 0.25)
    blocked = grid.energy_eV.copy()
    blocked[:, blocked.shape[1] // 4] = 1e3
    assert type(grid)(blocked, grid.lattice).percolation_barriers()[0] > along + 1


def test_layered_oxide_percolates_in_its_layers(layered):
    grid = landscape(bond_valence_field(layered, "Li", states_of(layered)), 0.25)
    one, two, three = grid.percolation_barriers()
    assert one == pytest.approx(two, abs=0.05)
    assert three > two + 1


def test_percolation_does_not_depend_on_the_choice_of_cell(layered):
    primitive = crystal_of(layered.to_pymatgen().get_primitive_structure())
    assert primitive.n_sites == 4
    cells = [layered, primitive]
    double = layered.to_pymatgen()
    double.make_supercell([[1, 1, 0], [-1, 1, 0], [0, 0, 1]])
    cells.append(crystal_of(double))
    barriers = [
        landscape(bond_valence_field(c, "Li", states_of(c)), 0.2).percolation_barriers()[:2]
        for c in cells
    ]
    np.testing.assert_allclose(barriers[1:], [barriers[0]] * 2, atol=0.08)


def test_minima_of_the_empty_host_are_its_lithium_sites(olivine):
    grid = landscape(bond_valence_field(olivine, "Li", states_of(olivine)), 0.2)
    frac, energy = grid.minima(max_energy_eV=0.1, min_separation_A=1.0)
    assert len(frac) == 4
    assert (np.diff(energy) >= 0).all()
    lithium = olivine.frac[olivine.occupancy("Li") == 1]
    away = frac[:, None] - lithium
    away = np.linalg.norm((away - np.round(away)) @ olivine.lattice, axis=2)
    assert away.min(axis=1).max() < 0.25
    assert len(set(away.argmin(axis=1))) == 4


# Paths


def relax_path(field, start, end, n_images=7):
    """The one path between two points."""
    (path,), (energy,) = relax_paths(field, [start], [end], n_images)
    return path, energy


@pytest.fixture(scope="module")
def tunnel() -> Crystal:
    """Square windows of oxygen, 3 angstrom apart, around an empty axis along z."""
    half = 1.95 / np.sqrt(2) / 7
    corners = [[x, y, 0] for x in (half, -half) for y in (half, -half)]
    return Crystal("tunnel", np.diag([7.0, 7.0, 3.0]), ({"O": 1.0},) * 4, np.array(corners))


def test_a_path_through_a_symmetric_tunnel_is_straight(tunnel):
    field = bond_valence_field(tunnel, "Li", states_of(tunnel))
    path, energy = relax_path(field, [0, 0, 1.5], [0, 0, 4.5], n_images=9)
    assert path.shape == (9, 3)
    np.testing.assert_allclose(path[:, :2], 0, atol=0.02)
    np.testing.assert_allclose(path[:, 2], np.linspace(1.5, 4.5, 9), atol=0.01)
    np.testing.assert_allclose(energy, energy[::-1], atol=MEV)
    np.testing.assert_allclose(energy, field.energy(path))


def test_a_path_goes_round_an_atom_in_its_way(tunnel):
    blocked = Crystal(
        "blocked",
        np.diag([9.0, 9.0, 9.0]),
        ({"Al": 1.0}, {"O": 1.0}, {"O": 1.0}),
        np.array([[0, 0, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]),
    )
    field = bond_valence_field(blocked, "Li", states_of(blocked))
    start, end = np.array([0.05, 0, -2.0]), np.array([0.05, 0, 2.0])
    path, energy = relax_path(field, start, end, n_images=11)
    np.testing.assert_allclose(path[[0, -1]], [start, end])
    assert np.linalg.norm(path, axis=1).min() > 1.2
    straight = field.energy(np.linspace(start, end, 11))
    assert energy.max() < 0.2 * straight.max()
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert steps.max() / steps.min() < 1.05


def olivine_hop(crystal: Crystal, direction=(0, 0.5, 0)):
    start = np.zeros(3)
    end = np.asarray(direction) @ crystal.lattice
    keep = [
        i
        for i in range(crystal.n_sites)
        if np.linalg.norm(crystal.frac[i]) > 1e-6
        and np.linalg.norm(crystal.frac[i] - direction) > 1e-6
    ]
    return start, end, keep


def test_a_path_run_backwards_is_the_path_reversed(olivine, scrambled):
    field = bond_valence_field(olivine, "Li", states_of(olivine))
    start, end, _ = olivine_hop(olivine)
    path, energy = relax_path(field, start, end)
    back, back_energy = relax_path(field, end, start)
    np.testing.assert_allclose(back[::-1], path, atol=TIGHT)
    np.testing.assert_allclose(back_energy[::-1], energy, atol=TIGHT)
    field = bond_valence_field(scrambled, "Li", states_of(scrambled))
    a, b = free_points(scrambled, 2, seed=4)
    np.testing.assert_allclose(
        relax_path(field, a, b)[0], relax_path(field, b, a)[0][::-1], atol=TIGHT
    )


def test_an_olivine_path_is_curved_mirror_symmetric_and_at_rest(olivine):
    field = bond_valence_field(olivine, "Li", states_of(olivine))
    start, end, _ = olivine_hop(olivine)
    path, energy = relax_path(field, start, end, n_images=9)
    np.testing.assert_allclose(energy, energy[::-1], atol=2 * MEV)
    np.testing.assert_allclose(path[4, 1], olivine.lattice[1, 1] / 4, atol=0.01)  # on the mirror
    straight = field.energy(np.linspace(start, end, 9))
    assert energy.max() < straight.max() - 0.1
    _, gradient, _ = field.derivatives(path[1:-1])
    tangent = path[2:] - path[:-2]
    tangent /= np.linalg.norm(tangent, axis=1)[:, None]
    across = gradient - np.einsum("ij,ij->i", gradient, tangent)[:, None] * tangent
    assert np.linalg.norm(across, axis=1).max() < 0.3
    # no way on the grid is lower: the saddle is the percolation barrier of the channel
    barrier = landscape(field, 0.15).percolation_barriers()[0]
    fine = relax_path(field, start, end, n_images=41)[1]
    assert fine.max() - landscape(field, 0.15).minimum_eV == pytest.approx(barrier, abs=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_paths_turn_and_move_with_the_crystal(olivine, seed):
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(random_state=rng).as_matrix()
    offset = rng.uniform(-1, 1, 3)
    start, end, _ = olivine_hop(olivine)
    states = states_of(olivine)
    path, energy = relax_path(bond_valence_field(olivine, "Li", states), start, end)
    turned = Crystal(
        "t", olivine.lattice @ rotation.T, olivine.species, (olivine.frac + offset) % 1.0
    )
    move = offset @ turned.lattice
    field = bond_valence_field(turned, "Li", states)
    other, other_energy = relax_path(field, rotation @ start + move, rotation @ end + move)
    np.testing.assert_allclose(other, path @ rotation.T + move, atol=0.02)
    np.testing.assert_allclose(other_energy, energy, atol=5 * MEV)


def test_hop_field_is_the_crystal_without_the_two_emptied_sites(olivine):
    double = olivine.to_pymatgen()
    double.make_supercell([2, 3, 3])
    big = crystal_of(double)
    start = big.frac[0] @ big.lattice
    lithium = big.occupancy("Li") == 1
    away = big.frac - big.frac[0]
    away = (away - np.round(away)) @ big.lattice
    distance = np.where(lithium, np.linalg.norm(away, axis=1), np.inf)
    distance[0] = np.inf
    partner = int(distance.argmin())
    keep = [i for i in range(big.n_sites) if i not in (0, partner)]
    hop = Hop(
        "hop",
        "Li",
        big.lattice,
        tuple(big.species[i] for i in keep),
        big.frac[keep],
        np.stack([big.frac[0], big.frac[0] + away[partner] @ np.linalg.inv(big.lattice)]),
    )
    states = [{s: STATES[s] for s in site} for site in hop.host_species]
    points = start + np.linspace(0, 1, 5)[:, None] * away[partner]
    with_ions = hop_field(hop, states).energy(points)
    empty = hop_field(hop, states, include_working_ion=False).energy(points)
    np.testing.assert_allclose(
        empty, bond_valence_field(olivine, "Li", states_of(olivine)).energy(points), atol=TIGHT
    )
    assert (with_ions > empty).all()  # the other lithium ions repel


def test_ends_on_one_point_and_too_few_images_are_refused(tunnel):
    field = bond_valence_field(tunnel, "Li", states_of(tunnel))
    with pytest.raises(UnusableStructureError, match="two distinct sites"):
        relax_path(field, [0, 0, 1], [0, 0, 1])
    with pytest.raises(ValueError, match="2 or more images"):
        relax_path(field, [0, 0, 1], [0, 0, 3], n_images=1)
