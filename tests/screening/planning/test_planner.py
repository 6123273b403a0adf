"""Search and comparison of chains: closed forms for errors, and what happens at the edges."""

import math

import pytest

from ionbridge.screening.errors import InputError
from ionbridge.screening.planning.catalogue import (
    Catalogue,
    Conditions,
    Entry,
    EntryDomain,
    ValidatedError,
)
from ionbridge.screening.planning.formulas import formula_entries
from ionbridge.screening.planning.inputs import Given
from ionbridge.screening.planning.planner import AS_GOOD_AS, plan
from ionbridge.screening.planning.potentials import label_error_eV
from ionbridge.structures.units import BOLTZMANN_EV_PER_K

SODIUM = {"id": "hop0", "working_ion": "Na", "host_species": ["Mn", "O"], "status": "ok"}


def entry(name, inputs, outputs, std=None, cost_s=1.0, slopes=None, **fields):
    errors = {} if std is None else {o: {"all": ValidatedError(std, 9, "test")} for o in outputs}
    return Entry(
        name=name,
        kind="formula",
        about=name,
        inputs=inputs,
        outputs=outputs,
        fidelity="physics",
        cost_s=cost_s,
        errors=fields.pop("errors", errors),
        sensitivities=lambda at: slopes or {},
        run=lambda tables, context: {},
        **fields,
    )


def given(**tables):
    return [Given("test", {name: tuple(rows) for name, rows in tables.items()})]


HOPS = given(hop=[SODIUM])


def catalogue(*entries):
    return Catalogue(entries)


class TestErrors:
    def test_a_barrier_costs_decades_as_arrhenius_says(self):
        barrier = entry("model", ("crystal",), ("migration_barrier",), std=0.1)
        made = plan(
            "diffusivity",
            given(crystal=[SODIUM]),
            catalogue(barrier, *(e for e in formula_entries() if e.name == "jump-network")),
            Conditions(temperature_K=500.0),
        )
        decades = 0.1 / (BOLTZMANN_EV_PER_K * 500.0 * math.log(10.0))
        assert made.chosen.error == pytest.approx(math.hypot(decades, 0.5))

    def test_one_error_on_two_ways_to_the_goal_counts_once_and_coherently(self):
        one = {("diffusivity", "migration_barrier"): 2.0}
        other = {("carrier_density", "migration_barrier"): -2.0}
        both = {("conductivity", q): 1.0 for q in ("diffusivity", "carrier_density")}
        made = plan(
            "conductivity",
            HOPS,
            catalogue(
                entry("model", ("hop",), ("migration_barrier",), std=1.0),
                entry("a", ("migration_barrier",), ("diffusivity",), std=0.0, slopes=one),
                entry("b", ("migration_barrier",), ("carrier_density",), std=0.0, slopes=other),
                entry("c", ("diffusivity", "carrier_density"), ("conductivity",), 0.0, slopes=both),
            ),
        )
        assert made.chosen.error == pytest.approx(0.0)
        assert made.chosen.steps[0].entry == "model"

    def test_errors_of_separate_entries_add_in_squares(self):
        slope = {("diffusivity", "migration_barrier"): 3.0}
        made = plan(
            "diffusivity",
            HOPS,
            catalogue(
                entry("model", ("hop",), ("migration_barrier",), std=1.0),
                entry("formula", ("migration_barrier",), ("diffusivity",), std=4.0, slopes=slope),
            ),
        )
        assert made.chosen.error == pytest.approx(5.0)

    def test_no_error_is_larger_than_all_there_is(self):
        slope = {("cell_capacity", "diffusivity"): 9.0}
        cell = entry(
            "cell",
            ("diffusivity",),
            ("cell_capacity",),
            std=0.1,
            slopes=slope,
            largest_errors={"cell_capacity": 2.3},
        )
        made = plan(
            "cell_capacity", HOPS, catalogue(entry("m", ("hop",), ("diffusivity",), std=1.0), cell)
        )
        assert made.chosen.error == pytest.approx(2.3)

    def test_what_is_not_validated_has_no_error_and_comes_last(self):
        made = plan(
            "migration_barrier",
            HOPS,
            catalogue(
                entry("unknown", ("hop",), ("migration_barrier",), cost_s=0.1),
                entry("bad", ("hop",), ("migration_barrier",), std=9.0),
            ),
        )
        assert made.chosen.words == "bad"
        assert made.runners_up[0].error is None


class TestChoice:
    def test_least_error_wins(self):
        made = plan(
            "migration_barrier",
            HOPS,
            catalogue(
                entry("cheap", ("hop",), ("migration_barrier",), std=0.4, cost_s=0.1),
                entry("good", ("hop",), ("migration_barrier",), std=0.2, cost_s=9.0),
            ),
        )
        assert made.chosen.words == "good"
        assert [chain.words for chain in made.runners_up] == ["cheap"]

    def test_of_equally_good_chains_the_cheapest(self):
        nearly = 0.2 * (1.0 + 0.9 * AS_GOOD_AS)
        made = plan(
            "migration_barrier",
            HOPS,
            catalogue(
                entry("cheap", ("hop",), ("migration_barrier",), std=nearly, cost_s=0.1),
                entry("good", ("hop",), ("migration_barrier",), std=0.2, cost_s=9.0),
            ),
        )
        assert made.chosen.words == "cheap"
        assert "costs more" in made.why

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"domain": EntryDomain(working_ions=frozenset(("Li",)))}, "unseen ion Na"),
            ({"domain": EntryDomain(elements=frozenset(("Na", "O")))}, "unseen element Mn"),
            ({"measure": lambda tables: [3.0]}, "outside"),
        ],
    )
    def test_a_model_outside_its_domain_gives_way_and_is_never_silent(self, fields, reason):
        outside = entry("outside", ("hop",), ("migration_barrier",), std=0.1, **fields)
        inside = entry("inside", ("hop",), ("migration_barrier",), std=5.0)
        made = plan("migration_barrier", HOPS, catalogue(outside, inside))
        assert made.chosen.words == "inside"
        alone = plan("migration_barrier", HOPS, catalogue(outside))
        assert not alone.chosen.is_inside
        assert reason in " ".join(alone.warnings)

    def test_an_unseen_family_gets_the_error_of_unseen_families(self):
        errors = {
            "migration_barrier": {
                "all": ValidatedError(0.1, 9, "seen"),
                "unseen_family": ValidatedError(0.7, 9, "unseen"),
            }
        }
        model = entry(
            "model",
            ("hop",),
            ("migration_barrier",),
            errors=errors,
            domain=EntryDomain(families=frozenset(("olivine",))),
        )
        new = plan(
            "migration_barrier", given(hop=[{**SODIUM, "family": "garnet"}]), catalogue(model)
        )
        old = plan(
            "migration_barrier", given(hop=[{**SODIUM, "family": "olivine"}]), catalogue(model)
        )
        assert (new.chosen.error, old.chosen.error) == (0.7, 0.1)

    def test_labels_that_are_given_judge_the_models(self):
        def judge(tables):
            return {"migration_barrier": ValidatedError(0.9, 8, "labels given")}

        judged = entry("judged", ("hop",), ("migration_barrier",), std=0.1, judge=judge)
        other = entry("other", ("hop",), ("migration_barrier",), std=0.5)
        both = catalogue(judged, other)
        labelled = given(hop=[SODIUM], hop_labels=[{**SODIUM, "barrier_eV": 0.3}])
        assert plan("migration_barrier", HOPS, both).chosen.words == "judged"
        assert plan("migration_barrier", labelled, both).chosen.words == "other"

    def test_a_step_that_learns_from_the_labels_says_what_it_gains_on_them(self):
        def judge(std):
            return lambda tables: {"migration_barrier": ValidatedError(std, 2, "labels given")}

        inputs = ("hop_labels", "hop")
        made_of_labels = entry(
            "adapted", inputs, ("migration_barrier",), judge=judge(0.3), learns=True
        )
        shipped = entry("shipped", ("hop",), ("migration_barrier",), judge=judge(0.5), std=0.4)
        worse = entry("worse", ("hop",), ("migration_barrier",), judge=judge(0.7), std=0.4)
        labels = [{**SODIUM, "barrier_eV": 0.3}, {**SODIUM, "id": "b", "barrier_eV": 0.5}]
        labelled = given(hop=[SODIUM], hop_labels=labels)
        own = label_error_eV(labels)  # independent of what models err by
        before, after = math.hypot(0.5, own), math.hypot(0.3, own)
        made = plan("migration_barrier", labelled, catalogue(made_of_labels, shipped, worse))
        assert made.chosen.words == "adapted"
        assert made.why.endswith(
            f"adapted learns from 2 labels; error on labels unseen {after:.2g} eV (one sigma), "
            f"before {before:.2g} (shipped): gain {before - after:.2g}"
        )
        alone = plan("migration_barrier", labelled, catalogue(made_of_labels))
        assert "learns from 2 labels" in alone.why
        assert "before" not in alone.why

    def test_what_cannot_run_is_only_a_runner_up(self):
        missing = entry("gone", ("hop",), ("migration_barrier",), std=0.1, missing="not shipped")
        made = plan(
            "migration_barrier",
            HOPS,
            catalogue(missing, entry("here", ("hop",), ("migration_barrier",), std=0.5)),
        )
        assert made.chosen.words == "here"
        assert "not shipped" in made.why
        alone = plan("migration_barrier", HOPS, catalogue(missing))
        assert alone.chosen is None
        assert "not shipped" in alone.why

    def test_a_temperature_that_a_model_does_not_know_is_outside(self):
        warm = EntryDomain(ranges={"temperature_K": (288.0, 308.0)})
        room = entry("room", ("hop",), ("conductivity",), std=0.1, domain=warm)
        every = entry("every", ("hop",), ("conductivity",), std=3.0)
        both = catalogue(room, every)
        assert plan("conductivity", HOPS, both).chosen.words == "room"
        hot = plan("conductivity", HOPS, both, Conditions(temperature_K=600.0))
        assert hot.chosen.words == "every"

    def test_a_model_that_breaks_when_looked_at_is_not_used(self):
        def broken(tables):
            raise RuntimeError("altered weights")

        bad = entry("bad", ("hop",), ("migration_barrier",), std=0.1, measure=broken)
        good = entry("good", ("hop",), ("migration_barrier",), std=0.5)
        made = plan("migration_barrier", HOPS, catalogue(bad, good))
        assert made.chosen.words == "good"
        assert "altered weights" in made.why


class TestReach:
    def test_labelled_hops_beside_crystals_teach_and_are_not_the_crystals_hops(self):
        labelled = {**SODIUM, "barrier_eV": 0.3}
        finder = entry("finder", ("crystal",), ("hop",))
        adapted = entry("adapted", ("hop_labels", "hop"), ("migration_barrier",), std=0.2)
        network = entry("network", ("migration_barrier",), ("diffusivity",), std=0.5)
        made = plan(
            "diffusivity",
            given(hop=[labelled], hop_labels=[labelled], crystal=[SODIUM]),
            catalogue(finder, adapted, network),
        )
        assert made.chosen.words == "finder -> adapted -> network"

    def test_a_given_goal_needs_no_step(self):
        made = plan(
            "voltage",
            given(voltage=[{"id": "x", "voltage_V": 3.0}]),
            catalogue(entry("m", ("hop",), ("voltage",))),
        )
        assert made.chosen.steps == ()

    def test_what_is_missing_is_named_with_what_would_provide_it(self):
        made = plan("diffusivity", HOPS, Catalogue(formula_entries()))
        assert made.chosen is None
        assert [m.quantity for m in made.missing] == ["crystal"]
        assert made.missing[0].would_feed == "crystal-conduction"
        assert "CIF" in made.why

    def test_of_what_lacks_the_least_is_named_that_uses_what_is_given(self):
        ways = catalogue(
            entry("finder", ("crystal",), ("diffusivity",)),
            entry("analysis", ("trajectory", "frame_interval"), ("diffusivity",)),
        )
        made = plan("diffusivity", given(trajectory=[{"id": "run", "status": "ok"}]), ways)
        assert [missing.quantity for missing in made.missing] == ["frame_interval"]
        assert "analysis" in made.why

    def test_what_takes_too_long_is_only_a_runner_up(self):
        short = entry("short", ("hop",), ("diffusivity",), std=2.0, cost_s=5.0)
        long = entry("long", ("hop",), ("diffusivity",), std=1.0, cost_s=500.0)
        both = catalogue(short, long)
        hasty = plan("diffusivity", HOPS, both, max_cost_s=60.0)
        assert hasty.chosen.words == "short"
        assert "longer than 60 s" in hasty.why
        assert plan("diffusivity", HOPS, both).chosen.words == "long"
        assert plan("diffusivity", HOPS, catalogue(long), max_cost_s=60.0).chosen.words == "long"

    def test_a_circle_is_found_and_named(self):
        circle = catalogue(
            entry("a", ("diffusivity",), ("conductivity",)),
            entry("b", ("conductivity",), ("diffusivity",)),
        )
        assert set(circle.cycle()) == {"diffusivity", "conductivity"}
        made = plan("conductivity", HOPS, circle)
        assert made.chosen is None
        assert "circle" in made.why

    def test_a_circle_beside_the_way_does_no_harm(self):
        made = plan(
            "conductivity",
            HOPS,
            catalogue(
                entry("a", ("diffusivity",), ("conductivity",), std=0.1),
                entry("b", ("conductivity",), ("diffusivity",), std=0.1),
                entry("c", ("hop",), ("diffusivity",), std=0.1),
            ),
        )
        assert made.chosen.words == "c -> a"

    def test_all_chains_are_found(self):
        ways = [entry(f"a{i}", ("hop",), ("diffusivity",), std=0.1 * i) for i in range(1, 4)]
        goals = [entry(f"b{i}", ("diffusivity",), ("conductivity",), std=i) for i in range(1, 3)]
        made = plan("conductivity", HOPS, catalogue(*ways, *goals))
        assert 1 + len(made.runners_up) == 6


class TestBadInput:
    def test_an_unknown_goal_names_the_nearest(self):
        with pytest.raises(InputError, match="diffusivity"):
            plan("difusivity", HOPS, catalogue(entry("m", ("hop",), ("diffusivity",))))

    def test_a_record_is_no_goal(self):
        with pytest.raises(InputError, match="unknown goal"):
            plan("crystal", HOPS, catalogue(entry("m", ("hop",), ("diffusivity",))))

    def test_an_empty_catalogue(self):
        with pytest.raises(InputError, match="empty"):
            plan("diffusivity", HOPS, catalogue())

    def test_nothing_given(self):
        with pytest.raises(InputError, match="nothing is given"):
            plan("diffusivity", [], catalogue(entry("m", ("hop",), ("diffusivity",))))

    def test_names_clash_loudly(self):
        one = entry("same", ("hop",), ("diffusivity",))
        with pytest.raises(InputError, match="same"):
            catalogue(one, one)

    def test_unknown_quantities_are_refused(self):
        with pytest.raises(InputError, match="unknown quantity"):
            catalogue(entry("m", ("hop",), ("speed",)))


def test_a_plan_can_be_written_as_json():
    import json

    made = plan("diffusivity", HOPS, catalogue(entry("m", ("hop",), ("diffusivity",), std=0.1)))
    stored = json.loads(json.dumps(made.to_dict()))
    assert stored["chosen"]["steps"][0]["entry"] == "m"
    assert stored["chosen"]["steps"][0]["outputs"][0]["unit"] == "decades of cm2/s"


class TestNinetyPercent:
    def test_it_is_that_of_the_validation_rows_not_of_a_normal_distribution(self):
        error = ValidatedError(0.2, 100, "test", half_90=0.5)
        made = plan("migration_barrier", HOPS, catalogue(barriers(error)))
        assert (made.chosen.error, made.chosen.error_90) == (0.2, pytest.approx(0.5))
        plain = plan(
            "migration_barrier", HOPS, catalogue(barriers(ValidatedError(0.2, 100, "test")))
        )
        assert plain.chosen.error_90 == pytest.approx(1.645 * 0.2)

    def test_it_travels_with_the_slope_of_each_step_and_adds_in_squares(self):
        first = barriers(ValidatedError(0.1, 9, "test", half_90=0.4))
        second = entry(
            "second",
            ("migration_barrier",),
            ("voltage",),
            slopes={("voltage", "migration_barrier"): 3.0},
            errors={"voltage": {"all": ValidatedError(0.2, 9, "test", half_90=0.6)}},
        )
        made = plan("voltage", HOPS, catalogue(first, second))
        assert made.chosen.error == pytest.approx(math.hypot(0.3, 0.2))
        assert made.chosen.error_90 == pytest.approx(math.hypot(1.2, 0.6))
        assert made.to_dict()["chosen"]["error_90"] == made.chosen.error_90

    def test_an_error_on_top_widens_both(self):
        error = ValidatedError(0.3, 9, "test", half_90=0.6).beside(0.4)
        assert error.std == pytest.approx(0.5)
        assert error.half_90 == pytest.approx(math.hypot(0.6, 1.645 * 0.4))


def barriers(error):
    return entry("model", ("hop",), ("migration_barrier",),
                 errors={"migration_barrier": {"all": error}})  # fmt: skip
