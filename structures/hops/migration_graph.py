"""The periodic network of sites and hops of one mobile ion, without energies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.records import Crystal, Hop

Carrier = Literal["vacancy", "interstitial"]


@dataclass(frozen=True, eq=False)
class MigrationGraph:
    """The periodic network of sites and hops of one mobile ion.

    Attributes:
        crystal: The crystal it belongs to, in its canonical cell, neither turned nor moved.
        working_ion: Symbol of the mobile ion.
        site_frac: (n_sites, 3) fractional coordinates, in one cell whose corner is an atom.
        site_occupancy: (n_sites,) of the working ion; 0 for an interstitial site.
        site_orbit: (n_sites,) sites with one number are equivalent by symmetry.
        start: (n_edges,) site index; every undirected hop is listed once.
        end: (n_edges,) site index.
        shift: (n_edges, 3) integer cell of the end, the start being in cell 0.
        orbit: (n_edges,) index into ``hops``.
        reversed: (n_edges,) True where the start of the edge is equivalent to the END of the
            representative hop (and not to its start by the same operation).
        hops: One representative for each orbit, shortest first. Its ``extra`` holds ``path``
            (``relaxed`` or ``straight``), ``oxidation_states`` and ``bvse_profile_eV`` (eV above
            the first image) where bond valences exist, ``start_site`` and ``end_site``, and
            ``n_passed_sites`` and ``passed_sites_A`` (cartesian) where the path leads over further
            sites, emptied in its host.
        carrier: ``vacancy`` if the network is walked by vacancies, ``interstitial`` if by ions.
        n_ions: Working ions in the cell, sum of the occupancies.
        n_carriers: Mobile carriers in the cell.
    """

    crystal: Crystal
    working_ion: str
    site_frac: NDArray[np.float64]
    site_occupancy: NDArray[np.float64]
    site_orbit: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    shift: NDArray[np.int64]
    orbit: NDArray[np.int64]
    reversed: NDArray[np.bool_]
    hops: tuple[Hop, ...]
    carrier: Carrier
    n_ions: float
    n_carriers: float

    @property
    def n_sites(self) -> int:
        """Number of sites of the mobile ion in the cell, vacant ones included."""
        return len(self.site_frac)

    @property
    def n_edges(self) -> int:
        """Number of undirected hops in the cell."""
        return len(self.start)

    @property
    def length_A(self) -> NDArray[np.float64]:
        """(n_edges,) straight distance of every hop, angstrom."""
        vector = (self.site_frac[self.end] + self.shift - self.site_frac[self.start]) @ (
            self.crystal.lattice
        )
        return np.asarray(np.linalg.norm(vector, axis=1))
