"""Any ASE calculator by name; what is no calculator is one clear line."""

import sys

import pytest

from ionbridge.screening.errors import InputError, MissingExtraError
from ionbridge.screening.labelling.bands.calculators import CalculatorChoice


def test_by_import_path_with_arguments() -> None:
    choice = CalculatorChoice.parsed("ase.calculators.lj:LennardJones", '{"sigma": 2.5}')
    assert choice.make().parameters.sigma == 2.5
    assert choice.version.split(".")[0] == "3"


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("emt", None, "unknown calculator 'emt'; known: chgnet, sevennet, or an import path"),
        ("no_such_package.x:Y", None, "cannot be imported .* install its package"),
        ("ase.calculators.emt:Nothing", None, "has no Nothing"),
        ("ase.calculators.tip3p:TIP3P", '{"colour": 1}', "cannot be made with arguments"),
        ("ase:Atoms", None, "made a Atoms, which is no ASE calculator"),
        ("chgnet", "{", "--calculator-arguments"),
        ("chgnet", "[1]", "expected a JSON object"),
    ],
)
def test_one_line_for_what_cannot_be_used(name: str, arguments: str | None, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        CalculatorChoice.parsed(name, arguments).make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["chgnet", "sevennet"])
def test_a_missing_package_is_answered_with_its_install_line(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, f"ionbridge.screening.labelling.bands.{name}_calculator", None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'ionbridge\[{name}\]'"):
        CalculatorChoice(name).make()
