"use strict";

// What a spreadsheet takes for a formula: such texts have an apostrophe in front (screening/table.py).
const FORMULA_START = /^'+[=+\-@\t\r]/;
const NEEDS_QUOTES = /[\r\n",]/;
const AMOUNT = /(?<=[A-Za-z)\]])(\d+(?:\.\d+)?)/;
const PAGE_SIZES = [50, 200, 1000];
const FILTERS = { family: "family", working_ion: "ion", role: "role", status: "status", in_domain: "in domain" };
const HULL = "energy_above_hull_eV_atom";

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), c => c.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(plain).text());
}

const textOf = cell => FORMULA_START.test(cell) ? cell.slice(1) : cell;

function formula(text) {
  return text.split(AMOUNT).map((part, k) => k % 2 ? el("sub", {}, part) : part);
}

// A value as far as its spread goes, and the spread to two digits, as in table.with_spread.
function withSpread(value, std) {
  if (!(std > 0 && std < Infinity)) return [String(Number(value.toPrecision(3))), ""];
  const decimals = Math.max(0, 1 - Math.floor(Math.log10(std)));
  return [value.toFixed(Math.min(decimals, 100)), std.toFixed(Math.min(decimals, 100))];
}

class Rows {
  constructor(root, table, files) {
    this.columns = table.columns;
    this.cells = Object.fromEntries(table.columns.map((c, k) => [c.name, table.cells[k]]));
    this.n = table.cells.length ? table.cells[0].length : 0;
    this.files = files;
    this.shown = new Set(table.columns.filter(c => c.shown && c.name in this.cells).map(c => c.name));
    this.chosen = {};
    this.words = [];
    this.hull = Infinity;
    this.sort = null;
    this.page = 0;
    this.size = PAGE_SIZES[0];
    this.searched = null;
    this.build(root);
    this.refresh();
  }

  number(name, i) {
    const cell = this.cells[name]?.[i];
    return cell === "" || cell === undefined ? NaN : Number(cell);
  }

  searchText(i) {
    this.searched ??= Array.from({ length: this.n }, (_, k) => this.columns
      .filter(c => !c.numeric).map(c => textOf(this.cells[c.name][k])).join("\n").toLowerCase());
    return this.searched[i];
  }

  matching() {
    const found = [];
    for (let i = 0; i < this.n; i++) {
      if (Object.entries(this.chosen).some(([name, value]) => textOf(this.cells[name][i]) !== value)) continue;
      if (this.hull < Infinity && !(this.number(HULL, i) <= this.hull)) continue;
      if (this.words.length && !this.words.every(w => this.searchText(i).includes(w))) continue;
      found.push(i);
    }
    return this.sorted(found);
  }

  sorted(rows) {
    let { name, up } = this.sort ?? { name: null };
    if (name === null) {  // as the table came; of one role, by the place in it
      if (!this.chosen.role) return rows;
      [name, up] = ["rank_in_role", true];
    }
    const numeric = this.columns.find(c => c.name === name).numeric;
    const key = i => numeric ? this.number(name, i) : textOf(this.cells[name][i]);
    const empty = x => numeric ? Number.isNaN(x) : x === "";
    return rows.map(i => [key(i), i]).sort(([x, i], [y, j]) => {
      if (empty(x) || empty(y)) return empty(x) - empty(y) || i - j;  // last in either order
      const order = numeric ? x - y : x.localeCompare(y, "en", { numeric: true });
      return (up ? order : -order) || i - j;
    }).map(([, i]) => i);
  }

  build(root) {
    const changed = () => { this.page = 0; this.refresh(); };
    const search = el("input", { type: "search", id: "search", "aria-label": "search formula, id, reason", oninput: e => {
      this.words = e.target.value.toLowerCase().split(/\s+/).filter(Boolean); changed();
    } });
    this.controls = [el("label", { class: "wide" }, "search", search)];
    for (const [name, label] of Object.entries(FILTERS)) {
      const values = [...new Set((this.cells[name] ?? []).map(textOf))].sort();
      const select = el("select", { id: `filter-${name}`, onchange: e => {
        const k = e.target.selectedIndex;
        if (k === 0) delete this.chosen[name]; else this.chosen[name] = values[k - 1];
        changed();
      } }, el("option", {}, "all"), ...values.map(v => el("option", {}, v === "" ? "–" : v)));
      this.controls.push(el("label", {}, label, select));
    }
    this.controls.push(el("label", {}, "above hull, at most (eV/atom)", el("input", {
      type: "number", min: 0, step: 0.01, id: "filter-hull", oninput: e => {
        this.hull = e.target.value === "" ? Infinity : Number(e.target.value); changed();
      } })));
    const boxes = this.columns.map(c => el("label", {}, el("input", {
      type: "checkbox", value: c.name, checked: this.shown.has(c.name), onchange: e => {
        if (e.target.checked) this.shown.add(c.name); else this.shown.delete(c.name);
        this.refresh();
      } }), c.label === c.name ? c.name : `${c.label} – ${c.name}`));
    this.controls.push(el("details", { class: "chooser" }, el("summary", { id: "columns" }, "columns"), el("div", {}, ...boxes)));
    this.controls.push(el("button", { class: "plain", type: "button", id: "download", onclick: () => this.download() }, "download these rows (CSV)"));
    this.count = el("span", { id: "count", role: "status" });
    this.before = el("button", { class: "plain", type: "button", onclick: () => { this.page--; this.refresh(); } }, "‹ before");
    this.after = el("button", { class: "plain", type: "button", onclick: () => { this.page++; this.refresh(); } }, "next ›");
    const size = el("select", { "aria-label": "rows on a page", onchange: e => {
      this.size = PAGE_SIZES[e.target.selectedIndex]; changed();
    } }, ...PAGE_SIZES.map(n => el("option", {}, `${n} rows`)));
    this.head = el("thead");
    this.body = el("tbody");
    root.append(
      el("div", { class: "controls" }, ...this.controls),
      el("div", { class: "pages" }, this.count, this.before, this.after, el("span", { class: "controls" }, size)),
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "all rows" },
        el("table", { id: "rows" }, this.head, this.body)));
  }

  refresh() {
    this.found = this.matching();
    const last = Math.max(0, Math.ceil(this.found.length / this.size) - 1);
    this.page = Math.min(Math.max(this.page, 0), last);
    const first = this.page * this.size;
    const part = this.found.slice(first, first + this.size);
    const columns = this.columns.filter(c => this.shown.has(c.name));
    const focused = this.head.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    this.head.replaceChildren(el("tr", {}, ...columns.map(c => this.heading(c))));
    this.head.querySelector(`button[data-name="${focused}"]`)?.focus();
    this.body.replaceChildren(...part.map(i => this.row(columns, i)));
    this.count.textContent = part.length
      ? `${first + 1} to ${first + part.length} of ${this.found.length}${this.found.length < this.n ? ` (of ${this.n} rows)` : " rows"}`
      : `none of ${this.n} rows`;
    this.before.disabled = this.page === 0;
    this.after.disabled = this.page === last;
  }

  heading(column) {
    const own = this.sort?.name === column.name;
    const button = el("button", { type: "button", "data-name": column.name, title: [column.name, column.meaning].filter(Boolean).join(": "), onclick: () => {
      this.sort = { name: column.name, up: !(own && this.sort.up) };
      this.page = 0;
      this.refresh();
    } }, column.label);
    const order = own ? (this.sort.up ? "ascending" : "descending") : "none";
    return el("th", { scope: "col", class: column.numeric ? "n" : null, "aria-sort": order }, button);
  }

  row(columns, i) {
    const kinds = [];
    if (this.cells.source?.[i] === "reference") kinds.push("reference");
    if (this.cells.in_domain?.[i] === "false") kinds.push("outside");
    return el("tr", { class: kinds.join(" ") || null }, ...columns.map(c => this.cell(c, i)));
  }

  cell(column, i) {
    const text = textOf(this.cells[column.name][i]);
    if (column.name === "candidate_id") {
      const file = this.files[this.cells.rank?.[i]];
      const name = file ? el("a", { href: file, title: "its CIF, beside this page" }, text) : text;
      const badge = this.cells.source?.[i] === "reference" ? [" ", el("span", { class: "badge" }, "reference")] : [];
      return el("td", { class: "id" }, name, ...badge);
    }
    if (column.name === "formula") return el("td", { class: "formula" }, ...formula(text));
    if (column.name === "percolation_dimensionality" && text) {
      return el("td", { class: "n" }, `${text}-D `, el("span", { class: "soft" }, this.cells.fast_direction?.[i] ?? ""));
    }
    if (column.name === "in_domain" && text === "false") return el("td", {}, el("span", { class: "badge" }, "outside"));
    if (column.name === "in_domain") return el("td", {}, text === "true" ? "yes" : "");
    if (!column.numeric || text === "") return el("td", { class: column.numeric ? "n" : text.length > 40 ? "text" : null }, column.name.endsWith("_source") ? text.replaceAll("_", " ") : text);
    if (!column.std) return el("td", { class: "n" }, text);
    const [value, std] = withSpread(Number(text), this.number(column.std, i));
    return el("td", { class: "n" }, value, ...(std ? [el("span", { class: "soft" }, ` ± ${std}`)] : []));
  }

  csv() {
    const quoted = cell => NEEDS_QUOTES.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
    const lines = this.found.map(i => this.columns.map(c => quoted(this.cells[c.name][i])).join(","));
    return [this.columns.map(c => quoted(c.name)).join(","), ...lines, ""].join("\n");
  }

  download() {
    const address = URL.createObjectURL(new Blob([this.csv()], { type: "text/csv" }));
    el("a", { href: address, download: "rows.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }
}

// Only these buttons: others would send a plot to a server.
const BUTTONS = { flat: [["toImage", "zoom2d", "pan2d", "resetScale2d"]], deep: [["toImage", "resetCameraDefault3d"]] };
const config = figure => ({
  responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
  modeBarButtons: figure.layout.scene ? BUTTONS.deep : BUTTONS.flat,
});
const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();

function draw(place, figure) {
  const layout = { ...figure.layout, font: { ...figure.layout.font, color: ink() } };
  return Plotly.react(place, figure.data, layout, config(figure));
}

function whenSeen(places, show) {  // plots are drawn when one comes near them, or prints
  const waiting = new Set(places);
  const once = place => { if (waiting.delete(place)) show(place); };
  const watcher = new IntersectionObserver(seen => seen.filter(s => s.isIntersecting).forEach(s => once(s.target)), { rootMargin: "500px" });
  waiting.forEach(place => watcher.observe(place));
  addEventListener("beforeprint", () => [...waiting].forEach(once));
}

function has3d() {
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl2") ?? canvas.getContext("webgl"));
}

function networks(figures) {
  const place = document.getElementById("network");
  const buttons = [...document.querySelectorAll("button[data-network]")];
  const show = button => {
    buttons.forEach(b => b.setAttribute("aria-pressed", b === button));
    draw(place, figures[button.dataset.network]);
  };
  if (!has3d()) {
    place.textContent = "This browser shows no 3-D (WebGL is switched off); the CIF files hold the same cells.";
    buttons.forEach(b => { b.disabled = true; });
    return;
  }
  buttons.forEach(b => b.addEventListener("click", () => show(b)));
  show(buttons[0]);
}

function sortable(table) {  // the short tables, which stand in the page as they are
  table.querySelectorAll("thead th").forEach((th, column) => {
    const button = el("button", { type: "button" }, ...th.childNodes);
    th.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = th.getAttribute("aria-sort") !== "ascending";
      const key = tr => tr.cells[column].dataset.v ?? tr.cells[column].textContent.trim();
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)], d = x - y;
        return (up ? 1 : -1) * (Number.isNaN(d) ? x.localeCompare(y, "en", { numeric: true }) : d);
      });
      table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", up ? "ascending" : "descending");
      table.tBodies[0].append(...rows);
    });
  });
}

async function start() {
  document.querySelectorAll("table.sortable").forEach(sortable);
  const files = JSON.parse(document.getElementById("files").textContent);
  const { table, figures } = await unpacked("packed");
  window.rows = new Rows(document.getElementById("all-rows"), table, files);
  whenSeen(document.querySelectorAll("[data-figure]"), place => draw(place, figures[place.dataset.figure]));
  whenSeen(document.querySelectorAll("#network"), () => networks(figures));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    document.querySelectorAll(".js-plotly-plot").forEach(plot => Plotly.relayout(plot, { "font.color": ink() }));
  });
  document.documentElement.dataset.ready = "true";
}

start().catch(error => {
  document.getElementById("all-rows").textContent =
    `This browser cannot show the table and the plots (${error.message}); ranked.csv beside this page holds all rows.`;
  throw error;
});
