"""The report in a browser: what a person does with it, without one request to a network."""

import csv
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from ionbridge.screening.table import COLUMNS, Row, to_csv
from tests.screening.report.test_report import page, ranked, row

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="no chromium and chromedriver (Debian: apt-get install chromium chromium-driver)",
)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",  # WebGL without a graphics card
    "--enable-unsafe-swiftshader",
    "--window-size=1300,1000",
)
NAME = '<img src=x onerror="document.title=1">'
N = 130


def rows() -> list[Row]:
    made = [
        row(
            k,
            candidate_id=f"c{k}",
            role=("electrode", "electrolyte")[k % 2],
            family=("layered", "garnet", "spinel")[k % 3],
            working_ion=("Li", "Na")[k % 2],
            energy_above_hull_eV_atom=0.002 * k,
            energy_above_hull_std_eV_atom=0.01,
            note="=1+1" if k == 5 else None,
            formula="Li10GeP2S12" if k == 7 else "LiCoO2",
        )
        for k in range(N - 3)
    ]
    known = {"source": "reference", "measured_source": NAME, "role": "electrolyte"}
    made.append(row(127, **known, measured_log10_conductivity_S_cm=-3.0, candidate_id=NAME))
    failed = {"status": "failed", "log10_diffusivity_cm2_s": None, "in_domain": None}
    made.append(row(128, **failed, candidate_id="broken", reason="no working ion, " + "why " * 90))
    made.append(row(129, **failed, candidate_id=f"{NAME}2", formula=NAME, reason=NAME))
    return made


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Opens the page anew in one browser, its size and colours as asked."""
    folder = tmp_path_factory.mktemp("report")
    file = folder / "report.html"
    file.write_text(page(rows(), networks=2), encoding="utf-8")
    options = Options()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_script_timeout(60)

    def open_page(dark: bool = False, width: int = 1300) -> Any:
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 700}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(file.as_uri())
        wait(lambda: driver.execute_script("return document.documentElement.dataset.ready"))
        return driver

    open_page.folder = folder  # type: ignore[attr-defined]
    yield open_page
    driver.quit()


def wait(condition: Callable[[], Any], seconds: float = 180.0) -> Any:
    """What a condition gives once it holds."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, "the page never came so far"
        time.sleep(0.05)
    return found


def column(driver: Any, name: str) -> list[str]:
    """Texts of a column of the table as shown."""
    script = """
      const heads = [...document.querySelectorAll("#rows th button")];
      const k = heads.findIndex(button => button.dataset.name === arguments[0]);
      return [...document.querySelectorAll("#rows tbody tr")].map(tr => tr.cells[k].textContent);
    """
    found: list[str] = driver.execute_script(script, name)
    return found


def choose(driver: Any, filter: str, value: str) -> None:
    select = driver.find_element(By.ID, f"filter-{filter}")
    select.find_element(By.XPATH, f"option[.='{value}']").click()


def seen(driver: Any, places: list[Any]) -> None:
    """Scroll to plots, which are drawn then."""
    for place in places:
        driver.execute_script("arguments[0].scrollIntoView()", place)
        wait(lambda place=place: place.find_elements(By.CSS_SELECTOR, "svg.main-svg"))


def count(driver: Any) -> str:
    text: str = driver.find_element(By.ID, "count").text
    return text


def test_no_error_and_no_request(opened: Callable[..., Any]) -> None:
    driver = opened()
    driver.get_log("browser"), driver.get_log("performance")
    driver = opened(dark=True)
    seen(driver, driver.find_elements(By.CSS_SELECTOR, ".plot"))
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    messages = [json.loads(e["message"])["message"] for e in driver.get_log("performance")]
    asked = [
        m["params"]["request"]["url"]
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    ]
    own = (opened.folder / "report.html").as_uri()  # type: ignore[attr-defined]
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {own}


def test_names_that_contain_html_are_text(opened: Callable[..., Any]) -> None:
    driver = opened()
    assert driver.title.startswith("garnets & more")
    assert driver.find_elements(By.CSS_SELECTOR, "img") == []
    driver.find_element(By.ID, "search").send_keys("onerror")
    assert count(driver).startswith("1 to 2 of 2")
    assert [name.removesuffix(" reference") for name in column(driver, "candidate_id")] == [
        NAME,
        f"{NAME}2",
    ]
    assert column(driver, "formula")[1] == NAME
    assert driver.title.startswith("garnets & more")


def test_formulas_have_subscripts_and_values_their_digits(opened: Callable[..., Any]) -> None:
    driver = opened()
    driver.find_element(By.ID, "search").send_keys("Li10GeP2S12")
    cell = driver.find_element(By.CSS_SELECTOR, "#rows td.formula")
    assert cell.get_attribute("innerHTML") == ("Li<sub>10</sub>GeP<sub>2</sub>S<sub>12</sub>")
    assert column(driver, "log10_conductivity_S_cm") == ["-10.00 ± 0.50"]
    assert column(driver, "percolation_barrier_eV") == ["0.270 ± 0.050"]


def test_search_filters_and_stability_narrow_the_rows(opened: Callable[..., Any]) -> None:
    driver = opened()
    assert count(driver) == f"1 to 50 of {N} rows"
    choose(driver, "family", "garnet")
    choose(driver, "role", "electrolyte")
    choose(driver, "in_domain", "false")
    expected = [k for k in range(N - 3) if k % 3 == 1 and k % 2]
    assert count(driver) == f"1 to {len(expected)} of {len(expected)} (of {N} rows)"
    assert column(driver, "candidate_id") == [f"c{k}" for k in expected]  # by place in the role
    assert len(driver.find_elements(By.CSS_SELECTOR, "#rows tr.outside")) == len(expected)
    driver.find_element(By.ID, "filter-hull").send_keys("0.02")
    assert column(driver, "candidate_id") == [f"c{k}" for k in expected if 0.002 * k <= 0.02]
    driver.find_element(By.ID, "search").send_keys("c7 GARNET")
    assert column(driver, "candidate_id") == ["c7"]
    driver = opened()
    choose(driver, "status", "failed")
    choose(driver, "working_ion", "–")
    assert sorted(column(driver, "candidate_id")) == sorted(["broken", f"{NAME}2"])


def test_sorting_by_mouse_and_by_keyboard(opened: Callable[..., Any]) -> None:
    driver = opened()
    key = "percolation_barrier_eV"
    driver.find_element(By.CSS_SELECTOR, f"button[data-name={key}]").click()
    first = column(driver, key)
    assert first == sorted(first, key=lambda text: float(text.split()[0]))
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert column(driver, key)[0].startswith("1.490")
    th = driver.find_element(By.CSS_SELECTOR, f"th:has(button[data-name={key}])")
    assert th.get_attribute("aria-sort") == "descending"
    driver.switch_to.active_element.send_keys(Keys.TAB + Keys.SPACE)
    assert (
        driver.switch_to.active_element.get_attribute("data-name") == "percolation_dimensionality"
    )
    name = "candidate_id"
    button = driver.find_element(By.CSS_SELECTOR, f"button[data-name={name}]")
    button.send_keys(Keys.ENTER)
    assert column(driver, name)[2:6] == ["broken", "c0", "c1", "c2"]  # numbers as numbers
    # a missing value comes last either way
    key = "log10_diffusivity_cm2_s"
    for _ in range(2):
        driver.find_element(By.CSS_SELECTOR, f"button[data-name={key}]").click()
        assert column(driver, key)[0] != ""


def test_columns_can_be_chosen_and_pages_turned(opened: Callable[..., Any]) -> None:
    driver = opened()
    driver.find_element(By.ID, "columns").click()
    driver.find_element(By.CSS_SELECTOR, ".chooser input[value=note]").click()
    driver.find_element(By.CSS_SELECTOR, ".chooser input[value=family]").click()
    heads = driver.execute_script(
        "return [...document.querySelectorAll('#rows th button')].map(b => b.dataset.name)"
    )
    assert "note" in heads
    assert "family" not in heads
    assert column(driver, "note")[5] == "=1+1"
    driver.find_element(By.XPATH, "//button[contains(., 'next')]").click()
    assert count(driver).startswith("51 to 100")


def test_the_filtered_rows_are_downloaded_as_in_the_table(opened: Callable[..., Any]) -> None:
    driver = opened()
    file: Path = opened.folder / "rows.csv"  # type: ignore[attr-defined]
    driver.find_element(By.ID, "download").click()
    wait(file.exists)
    assert wait(lambda: file.read_text(encoding="utf-8")) == to_csv(ranked(rows()), COLUMNS)
    file.unlink()
    choose(driver, "family", "spinel")
    driver.find_element(By.ID, "download").click()
    wait(file.exists)
    found = list(csv.DictReader(io.StringIO(wait(lambda: file.read_text(encoding="utf-8")))))
    assert {r["family"] for r in found} == {"spinel"}
    assert len(found) == len([r for r in rows() if r["family"] == "spinel"])
    assert next(r for r in found if r["candidate_id"] == "c5")["note"] == "'=1+1"


def test_plots_are_drawn_and_can_be_hovered(opened: Callable[..., Any]) -> None:
    driver = opened()
    places = driver.find_elements(By.CSS_SELECTOR, "[data-figure]")
    assert len(places) == 7
    seen(driver, places)
    script = """
      const plot = document.querySelector("[data-figure=measured]");
      Plotly.Fx.hover(plot, [{ curveNumber: plot.data.length - 1, pointNumber: 0 }]);
      return plot.querySelector(".hoverlayer").textContent;
    """
    assert NAME in driver.execute_script(script)


def test_cells_are_shown_in_3d_with_their_hops(opened: Callable[..., Any]) -> None:
    driver = opened()
    state = """
      const plot = document.getElementById("network");
      const lines = plot.data.find(t => t.name === "hops that carry conduction");
      const canvas = plot.querySelector("canvas");
      const cobalt = plot.data.some(t => t.name === "Co");
      return [canvas.width > 100, lines.line.cmax > lines.line.cmin, cobalt];
    """
    seen(driver, [driver.find_element(By.ID, "network")])
    assert driver.execute_script(state) == [True, True, True]
    second = driver.find_element(By.CSS_SELECTOR, "button[data-network=network_1]")
    second.click()
    wait(lambda: second.get_attribute("aria-pressed") == "true")
    assert driver.execute_script(state) == [True, True, True]
    link = driver.find_element(By.LINK_TEXT, "crystal (CIF)")
    assert link.get_attribute("href").endswith("paths/001_%3Ci%3Ea.cif")


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_is_wide_enough(opened: Callable[..., Any], dark: bool) -> None:
    driver = opened(dark=dark, width=390)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
    ink, ground = (
        driver.execute_script(f"return getComputedStyle(document.body).{name}")
        for name in ("color", "backgroundColor")
    )
    lightness = [sum(map(int, rgb.strip("rgb()").split(","))) for rgb in (ink, ground)]
    assert (lightness[0] > lightness[1]) == dark
    seen(driver, driver.find_elements(By.CSS_SELECTOR, "[data-figure=barrier]"))
    text = driver.execute_script(
        "return document.querySelector('[data-figure=barrier]').layout.font.color"
    )
    assert text == ("#e6eaee" if dark else "#1f252b")
