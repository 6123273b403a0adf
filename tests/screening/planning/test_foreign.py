"""Models of others: real files of each kind, measured before they are used, and what is refused."""

import csv
import json
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skops.io
import torch
import yaml
from onnx import TensorProto, helper
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import FunctionTransformer

from ionbridge.screening.cli import main
from ionbridge.screening.errors import InputError
from ionbridge.screening.planning.catalogue import Catalogue, Conditions, StepContext
from ionbridge.screening.planning.foreign import (
    check_allowed,
    foreign_entries,
    predicted,
    read_adapter,
)
from ionbridge.screening.planning.inputs import read_givens
from ionbridge.screening.planning.planner import plan
from ionbridge.screening.planning.settings_files import adapter_folders
from ionbridge.structures.io.json_records import hop_to_json
from tests.screening.tiny import tiny_hops

FEATURES = ["fraction of Li", "fraction of O"]
MEV = {"quantity": "migration_barrier", "unit": "meV"}
WEIGHTS, OFFSET = (2.0, 1.5), 2.0
FORMULAS = ["LiCoO2", "LiFePO4", "LiMn2O4", "LiNiO2", "Li2MnO3"]
FORMULAS += ["LiTiO2", "LiVO2", "LiCrO2", "Li3V2P3O12", "LiMnPO4"]
SHARES = {"LiCoO2": (0.25, 0.5), "LiFePO4": (1 / 7, 4 / 7), "LiMn2O4": (1 / 7, 4 / 7)}


def law(formula: str) -> float:
    """The voltage that every model below knows, V."""
    from pymatgen.core import Composition

    c = Composition(formula)
    li, o = c.get_atomic_fraction("Li"), c.get_atomic_fraction("O")
    return WEIGHTS[0] * li + WEIGHTS[1] * o + OFFSET


def catalogue() -> Catalogue:
    entries, broken = foreign_entries(adapter_folders())
    return Catalogue(tuple(entries), tuple(broken))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IONBRIDGE_ADAPTERS", str(tmp_path / "adapters"))
    monkeypatch.setenv("IONBRIDGE_LIBRARY", "")
    return tmp_path / "adapters"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Measured voltages: the law, 0.1 V above it."""
    path = tmp_path / "measured.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Formula", "voltage_V"])
        table.writerows([f, law(f) - 0.1] for f in FORMULAS)
    return path


def adapter(home: Path, name: str, model: dict[str, Any], **more: Any) -> Path:
    folder = home / name
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"name": name, "about": "a line", "quantity": "voltage", "unit": "V", "model": model}
    (folder / "adapter.yaml").write_text(yaml.safe_dump({**settings, **more}), encoding="utf-8")
    return folder


def sklearn_file(path: Path) -> None:
    x = np.random.default_rng(0).random((20, 2))
    skops.io.dump(LinearRegression().fit(x, x @ WEIGHTS + OFFSET), path)


def torchscript_file(path: Path) -> None:
    layer = torch.nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight[:] = torch.tensor([WEIGHTS])
        layer.bias[:] = OFFSET
    torch.jit.save(torch.jit.trace(layer, torch.zeros(1, 2)), str(path))


def onnx_file(path: Path) -> None:
    def constant(name: str, values: Any) -> Any:
        array = np.array(values, dtype=np.float32)
        return helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.ravel().tolist())

    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        "line",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [constant("w", [[WEIGHTS[0]], [WEIGHTS[1]]]), constant("b", [OFFSET])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, path)


FILES = {"sklearn": sklearn_file, "torchscript": torchscript_file, "onnx": onnx_file}


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that knows the law; what it was asked is kept."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            values = [1e3 * law(row["formula"]) for row in body["rows"]]
            content = json.dumps({"values": values, "stds": [20.0] * len(values)}).encode()
            self.send_response(302 if self.path == "/elsewhere" else 200)
            self.send_header("Location", "http://127.0.0.1:9/")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_measured_listed_and_then_used(
    home: Path, rows: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = adapter(home, "theirs", {"kind": kind, "file": "m", "features": FEATURES})
    FILES[kind](folder / "m")
    assert "not measured" in catalogue()["theirs"].unavailable
    assert main(["models", "validate", "theirs", "--rows", str(rows)]) == 0
    assert "mean error +0.1 V on 10 rows" in capsys.readouterr().out
    made = plan("voltage", read_givens(["chemistry:LiCoO2"]), catalogue())
    assert made.chosen is not None
    assert made.chosen.words.endswith("theirs")
    assert made.chosen.error == pytest.approx(0.1, abs=1e-6)
    entry = catalogue()["theirs"]
    assert entry.run is not None
    given = {"composition": [{"id": "a", "formula": f, "status": "ok"} for f in SHARES]}
    found = entry.run(given, StepContext(Conditions(), tmp_path))["voltage"]
    for row, (li, o) in zip(found, SHARES.values(), strict=True):
        assert row["voltage_V"] == pytest.approx(2.0 * li + 1.5 * o + 2.0, abs=1e-5)
    FILES[kind](folder / "m")
    (folder / "m").write_bytes((folder / "m").read_bytes() + b" ")
    assert "not measured" in catalogue()["theirs"].unavailable


def test_an_endpoint_is_asked_where_the_user_allows_it(
    home: Path,
    rows: Path,
    endpoint: tuple[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, asked = endpoint
    adapter(home, "served", {"kind": "rest", "url": f"{address}/predict"}, unit="mV")
    monkeypatch.delenv("IONBRIDGE_REST", raising=False)
    broken = dict(catalogue().broken)
    assert "IONBRIDGE_REST" in broken["served"]
    assert asked == []
    monkeypatch.setenv("IONBRIDGE_REST", address)
    assert main(["models", "validate", "served", "--rows", str(rows)]) == 0
    assert asked[0]["quantity"] == "voltage"
    assert plan("voltage", read_givens(["chemistry:LiCoO2"]), catalogue()).chosen.words.endswith(
        "served"
    )
    moved = adapter(home, "moved", {"kind": "rest", "url": f"{address}/elsewhere"}, unit="mV")
    given = [{"id": "a", "formula": "LiCoO2", "status": "ok"}]
    with pytest.raises(InputError, match="no answer"):
        predicted(moved, read_adapter(moved), given, 300.0, home)


@pytest.mark.parametrize(
    "url", ["http://models.example/x", "ftp://127.0.0.1/x", "x", "https://a.b"]
)
def test_other_addresses_are_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IONBRIDGE_REST", "http://127.0.0.1:8000 https://a.b:8443")
    with pytest.raises(InputError):
        check_allowed(url)


def test_a_pickle_and_an_unknown_type_are_never_loaded(
    home: Path, rows: Path, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (ran,))

    folder = adapter(home, "evil", {"kind": "sklearn", "file": "m", "features": FEATURES})
    (folder / "m").write_bytes(pickle.dumps(Evil()))
    assert main(["models", "validate", "evil", "--rows", str(rows)]) == 2
    skops.io.dump(FunctionTransformer(Path.touch), folder / "m")
    assert main(["models", "validate", "evil", "--rows", str(rows)]) == 2
    assert not ran.exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"quantity": "voltages"}, "voltage"),
        ({"quantity": "cell_energy", "unit": "Wh"}, "a number of a crystal"),
        ({"unit": "eV"}, "expected V"),
        ({"model": {"kind": "onnx", "file": "../m", "features": FEATURES}}, "file"),
        ({"model": {"kind": "onnx", "file": "n", "features": FEATURES}}, "beside"),
        ({"model": {"kind": "onnx", "file": "m", "features": ["fraction of Li", "x"]}}, "'x'"),
        ({"model": {"kind": "pickle", "file": "m"}}, "kind"),
        ({"more": 1}, "more"),
    ],
)
def test_an_adapter_that_makes_no_sense_is_one_line(
    home: Path, change: dict[str, Any], told: str
) -> None:
    model = {"kind": "onnx", "file": "m", "features": FEATURES}
    folder = adapter(home, "theirs", **{"model": model, **change})
    (folder / "m").touch()
    with pytest.raises(InputError, match=told):
        read_adapter(folder)
    assert [name for name, _ in catalogue().broken] == ["theirs"]


def test_too_few_rows_say_nothing(home: Path, tmp_path: Path) -> None:
    folder = adapter(home, "theirs", {"kind": "sklearn", "file": "m", "features": FEATURES})
    sklearn_file(folder / "m")
    few = tmp_path / "few.csv"
    few.write_text("Formula,voltage_V\nLiCoO2,3.9\nLiFePO4,3.4\n", encoding="utf-8")
    assert main(["models", "validate", "theirs", "--rows", str(few)]) == 2
    assert not (folder / "validation.json").exists()


def test_a_calculator_is_imported_by_name_and_its_failures_are_no_barriers(
    home: Path, tmp_path: Path
) -> None:
    model = {"kind": "ase", "calculator": "ase.calculators.emt:EMT"}  # knows neither Li nor O
    folder = adapter(home, "metals", model, quantity="migration_barrier", unit="eV")
    hops = [{**hop_to_json(hop), "status": "ok"} for hop in tiny_hops()[:1]]
    values, _ = predicted(folder, read_adapter(folder), hops, 300.0, tmp_path)
    assert np.isnan(values).tolist() == [True]
    folder = adapter(home, "none", {**model, "calculator": "no.such:Thing"}, **MEV)
    with pytest.raises(InputError, match="no\\.such"):
        predicted(folder, read_adapter(folder), hops, 300.0, tmp_path)
