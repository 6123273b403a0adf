"""Size of a campaign's report and how quick it is in a browser, for many rows.

    python -m benchmarks.report_page --campaign results/screen --rows 5000

The rows of a finished campaign are repeated under new names, every predicted number moved by a
fifth of itself (digits are what compression has to store). Sizes stand beside those of the same
rows as they are, and of the whole of plotly.js instead of the bundle that the page holds. Times
are of headless Chromium, where it is installed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from plotly.offline import get_plotlyjs

from ionbridge.screening.execution.machine import machine
from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.report.report import HERE, render
from ionbridge.screening.table import COLUMNS, Row, to_csv

RESULT = Path(__file__).parent / "results" / "report_page.json"
SPREAD = 0.2
WHOLE = ("rank", "rank_in_role", "percolation_dimensionality", "n_sites", "n_hops", "pareto_front")
KEPT = (*WHOLE, "temperature_K")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ACTIONS = {
    "sort_ms": "document.querySelector('button[data-name=log10_conductivity_S_cm]').click()",
    "search_ms": "const s = document.getElementById('search'); s.value = 'garnet li';"
    " s.dispatchEvent(new Event('input'))",
    "download_ms": "window.rows.csv()",
}


def read_rows(folder: Path) -> list[Row]:
    """The rows of a finished campaign, empty cells None."""
    text = dict.fromkeys(("percolating_hops", "measured_source", "note", "reason"), str)
    table = pd.read_csv(folder / "ranked.csv", dtype=text)
    whole = table.astype(object).where(table.notna(), None)
    rows: list[Row] = [dict(row) for row in whole.to_dict("records")]
    for row in rows:
        row.update({c: int(row[c]) for c in WHOLE if row[c] is not None})
    return rows


def enlarged(rows: list[Row], n: int, seed: int = 0) -> list[Row]:
    """So many rows: the given ones, then copies with other names and numbers."""
    rng = np.random.default_rng(seed)
    made = list(rows)
    for k in range(n - len(rows)):
        row = rows[k % len(rows)]
        moved = {
            c: float(v) * (1.0 + SPREAD * rng.normal())
            for c, v in row.items()
            if isinstance(v, float) and c not in KEPT
        }
        name = {"candidate_id": f"{row['candidate_id']}_{k}", "source": "copy", "why": None}
        made.append({**row, **moved, **name, "measured_log10_conductivity_S_cm": None})
    return made[:n]


def browser_times(page: str) -> dict[str, Any] | None:
    """Seconds until the table stands, and milliseconds of what a person does with it."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        return None
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    with tempfile.TemporaryDirectory() as folder:
        for flag in (*FLAGS, f"--user-data-dir={folder}/profile"):
            options.add_argument(flag)
        file = Path(folder) / "report.html"
        file.write_text(page, encoding="utf-8")
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        browser.set_page_load_timeout(300)
        started = time.perf_counter()
        browser.get(file.as_uri())
        while not browser.execute_script("return document.documentElement.dataset.ready"):
            time.sleep(0.02)
        found = {"table_s": round(time.perf_counter() - started, 2)}
        for name, action in ACTIONS.items():
            script = f"const t = performance.now(); {action}; return performance.now() - t"
            found[name] = round(browser.execute_script(script))
        browser.quit()
    return found


def main() -> None:
    """Measure one page and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--campaign", type=Path, required=True, metavar="DIR")
    parser.add_argument("--rows", type=int, default=5000, metavar="N")
    args = parser.parse_args()
    record = json.loads((args.campaign / "campaign.json").read_text(encoding="utf-8"))
    rows = enlarged(read_rows(args.campaign), args.rows)
    started = time.perf_counter()
    page = render(rows, record)
    result = {
        "n_rows": len(rows),
        "render_s": round(time.perf_counter() - started, 1),
        "page_MB": round(len(page.encode()) / 1e6, 2),
        "plotly_bundle_MB": round((HERE / "vendor/plotly-gl3d.min.js").stat().st_size / 1e6, 2),
        "rows_as_csv_MB": round(len(to_csv(rows, COLUMNS).encode()) / 1e6, 2),
        "whole_plotly_MB": round(len(get_plotlyjs().encode()) / 1e6, 2),
        "browser": browser_times(page),
        "machine": machine(),
    }
    print(json.dumps(result, indent=1))
    write_json(RESULT, result)


if __name__ == "__main__":
    main()
