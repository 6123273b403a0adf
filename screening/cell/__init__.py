"""From materials to cells: parameters, simulation, reduced-order model, KPIs, ageing."""
