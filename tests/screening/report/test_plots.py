"""Figures say what the table and the network say."""

import json

import numpy as np
import pandas as pd
import pytest

import ionbridge as ib
from ionbridge.models.library import card, find
from ionbridge.models.validation import GROUPED, read_validation
from ionbridge.screening.campaign.starter import starter_hops
from ionbridge.screening.report.network_plot import network_figure
from tests.screening.report.test_report import network, ranked, row
from tests.tolerances import TIGHT

NAME = '<img src=x onerror="document.title=1">'


def stability_rows():
    rng = np.random.default_rng(0)
    return ranked(
        [
            row(
                k,
                role="electrolyte",
                log10_conductivity_S_cm=float(rng.normal(-6, 2)),
                energy_above_hull_eV_atom=float(rng.exponential(0.05)) if k % 7 else None,
            )
            for k in range(60)
        ]
    )


def traces(figure):
    return {trace.name.split(" (")[0]: trace for trace in figure.data if trace.name}


def test_the_pareto_front_holds_what_nothing_beats():
    rows = stability_rows()
    front = traces(ib.plots.against_stability(rows))["Pareto front ± 1σ"]
    points = [
        (r["energy_above_hull_eV_atom"], r["log10_conductivity_S_cm"])
        for r in rows
        if r["energy_above_hull_eV_atom"] is not None
    ]
    best = [p for p in points if not any(q[0] <= p[0] and q[1] >= p[1] and q != p for q in points)]
    assert list(zip(front.x, front.y, strict=True)) == sorted(best)
    assert front.error_y.array == (0.5,) * len(best)
    assert not traces(ib.plots.against_stability(rows, "electrode"))


def test_a_data_frame_gives_the_figure_of_its_rows():
    rows = stability_rows()
    frame = pd.DataFrame(rows)
    for draw in (ib.plots.against_stability, ib.plots.ranking, ib.plots.by_family):
        assert json.loads(draw(frame).to_json()) == json.loads(draw(rows).to_json())
    with pytest.raises(ValueError, match="no column 'colour'"):
        ib.plots.ranking(frame, "colour")


def test_families_show_their_quantiles():
    rows = [row(k, family="a", log10_conductivity_S_cm=float(k)) for k in range(101)]
    median = traces(ib.plots.by_family(rows))["median"]
    assert median.customdata[0][0:2] == ["a", 101]
    assert median.customdata[0][2:] == pytest.approx([5.0, 25.0, 50.0, 75.0, 95.0])


def test_measured_against_predicted_with_the_source():
    rows = [
        row(k, measured_log10_conductivity_S_cm=-3.0 - k, measured_source=NAME) for k in range(5)
    ]
    figure = ib.plots.against_measured(rows)
    shown = traces(figure)["known conductors ± 1σ"]
    assert list(shown.x) == [-3.0, -4.0, -5.0, -6.0, -7.0]
    assert figure.layout.title.text == "rank correlation 1.00 (5 rows)"
    assert NAME not in figure.to_json()
    assert not ib.plots.against_measured([row(0)]).data


@pytest.mark.parametrize("name", ["hop-barrier", "conduction-estimate", "conductivity-trees"])
def test_validation_shows_every_row_with_its_error(name):
    figure = ib.plots.validation(name)
    points = [t for t in figure.data if t.mode == "markers"]
    rows = read_validation(find(name))[GROUPED]
    assert sum(len(t.x) for t in points) == len(rows)
    errors = np.concatenate([np.abs(t.y - t.x) for t in points])
    # the stored errors have five decimals, labels six significant digits
    assert np.sort(errors) == pytest.approx(np.sort([r.absolute_error for r in rows]), abs=1e-4)
    assert card(name)["predicts"]
    with pytest.raises(ValueError, match="no validation rows"):
        ib.plots.validation("cell-rom-lco")


def test_every_hop_of_the_cell_is_drawn_with_its_barrier():
    top, energies = network(row(0))
    figure = network_figure(top.graph, energies, top.conducting)
    lines = {t.name: t for t in figure.data if t.mode == "lines" and t.name != "cell"}
    assert set(lines) == {"hops that carry conduction", "others"}
    drawn = []
    for trace in lines.values():
        points = np.stack([trace.x, trace.y, trace.z], axis=1).reshape(-1, 3, 3)
        length = np.linalg.norm(points[:, 1] - points[:, 0], axis=1)
        drawn += list(zip(np.asarray(trace.line.color)[::3], length, strict=True))
    height = energies.central_barrier_eV[top.graph.orbit]  # ends alike: the same both ways
    found = np.array(sorted(drawn))
    expected = np.array(sorted(zip(height.round(3), top.graph.length_A, strict=True)))
    assert found == pytest.approx(expected, abs=2e-3)
    atoms = [t for t in figure.data if t.name in ("Co", "O")]
    assert sum(len(t.x) for t in atoms) == 3


def test_a_crystal_of_any_form_shows_its_network():
    structure = top_crystal().to_pymatgen()
    figure = ib.plots.hop_network(structure)
    assert {"Co", "O", "sites of Li", "hops"} <= {t.name for t in figure.data}
    with pytest.raises(ValueError, match="cannot predict a float"):
        ib.plots.hop_network(3.0)
    with pytest.raises(ValueError, match="expected one crystal"):
        ib.plots.hop_network([structure, structure])


def top_crystal():
    return network(row(0)).top.crystal


def test_the_energy_along_a_hop_ends_where_its_barriers_say():
    hop = next(h for h in starter_hops() if h.id.startswith("LiFePO4"))
    shown = traces(ib.plots.barrier_along_path(hop))
    predicted = ib.predict([hop]).iloc[0]
    assert shown["predicted ± 1σ"].y[1] == pytest.approx(predicted.migration_barrier_eV, rel=1e-3)
    back = ib.predict([hop.reversed()]).iloc[0].migration_barrier_eV
    top, end = shown["predicted ± 1σ"].y[1:]
    assert top - end == pytest.approx(back, rel=1e-3)
    assert max(shown["bond valences"].y) == pytest.approx(hop.barrier_eV, rel=TIGHT, abs=1e-3)


def test_of_very_many_rows_the_first_are_drawn_and_the_front_is_that_of_all(monkeypatch):
    monkeypatch.setattr(ib.plots, "N_DRAWN", 10)
    rows = stability_rows()
    few = traces(ib.plots.against_stability(rows))
    monkeypatch.undo()
    every = traces(ib.plots.against_stability(rows))
    assert [len(few[n].x) for n in ("in the domain", "outside the domain")] == [10, 10]
    assert "first 10 of" in few["in the domain"].name
    assert few["Pareto front ± 1σ"] == every["Pareto front ± 1σ"]
