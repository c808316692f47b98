// The table of cases: sorting, filters, and one strip of all levels per case.

const COLUMNS = [
  { key: "case", label: "Case", value: (c) => c.case, first: "ascending" },
  { key: "suspicion", label: "Suspicion", value: (c) => c.suspicion },
  { key: "findings", label: "Findings", text: true, value: (c) => c.findings },
  { key: "levels", label: LEVELS.length > 1 ? `Levels ${LEVELS[0].name} to ${LEVELS.at(-1).name}` : "Structure", text: true, value: (c) => c.n_reference },
  ...CASE_METRICS.map((metric) => ({
    key: metric.mean_key, label: withUnit(metric), metric, value: (c) => c[metric.mean_key],
    first: metric.better === "higher" ? "ascending" : "descending", // the worst at the top
  })),
];

const FILTERS = {
  all: ["All", () => true],
  wrong: ["Wrong names", (c) => c.wrong?.length > 0],
  missed: ["Missed", (c) => c.missed?.length > 0],
  surplus: ["Surplus", (c) => c.surplus?.length > 0],
  ...(MARKED.length ? { low: [MARKS_TEXT, (c) => c.vertebrae?.some((v) => markedBy(v).length)] } : {}),
  failures: ["Failures", (c) => c.failure],
};

// Failed cases stand in the table too; nothing asks more for a look.
const ROWS = [
  ...CASES,
  ...DATA.failures.map((f) => ({ case: f.case, failure: true, message: f.message, suspicion: 2, findings: Infinity })),
];

const tableState = { key: "suspicion", direction: "descending", filter: "all", text: "" };

function drawCases() {
  const section = document.getElementById("cases");
  const search = el("input", {
    type: "search", id: "search", placeholder: "Filter by name", "aria-label": "Filter cases by name", autocomplete: "off",
    input: (event) => { tableState.text = event.target.value.toLowerCase(); updateTable(); },
  });
  const filters = el("div", { class: "filters", role: "group", "aria-label": "Show" },
    Object.entries(FILTERS).map(([key, [label, test]]) => {
      const count = ROWS.filter(test).length;
      return el("button", {
        type: "button", class: "filter", "data-filter": key, "aria-pressed": String(key === "all"), disabled: !count && key !== "all",
        click: () => { tableState.filter = key; updateTable(); },
      }, label, el("span", { class: "count" }, String(count)));
    }));
  const heads = COLUMNS.map((column) =>
    el("th", { scope: "col", "data-key": column.key, class: column.text && "text" },
      el("button", { type: "button", class: "sort", click: () => sortBy(column) }, column.label, el("span", { class: "arrow", "aria-hidden": "true" }))));
  section.append(
    el("h2", { id: "cases-heading" }, "Cases"),
    el("div", { class: "toolbar" }, search, filters),
    stripLegend(),
    scroller("Cases", el("table", { class: "numbers cases", id: "case-table" },
      el("thead", {}, el("tr", {}, heads)), el("tbody", {}, ROWS.map(caseRow)))),
    el("p", { class: "caption", id: "shown", role: "status" }),
  );
  updateTable();
}

function sortBy(column) {
  const opposite = { ascending: "descending", descending: "ascending" };
  tableState.direction = tableState.key === column.key ? opposite[tableState.direction] : column.first ?? "descending";
  tableState.key = column.key;
  updateTable();
}

// The rows shown, in order; what has no value comes last in both directions.
function shownRows() {
  const { value } = COLUMNS.find((column) => column.key === tableState.key);
  const sign = tableState.direction === "ascending" ? 1 : -1;
  const compare = (a, b) => {
    const [x, y] = [value(a) ?? null, value(b) ?? null];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : Math.sign(Number(x) - Number(y)) || 0);
  };
  const test = FILTERS[tableState.filter][1];
  return ROWS.filter((row) => test(row) && row.case.toLowerCase().includes(tableState.text)).sort(compare);
}

function updateTable() {
  const rows = shownRows();
  document.querySelector("#case-table tbody").replaceChildren(...rows.map((row) => row.node));
  for (const head of document.querySelectorAll("#case-table th[data-key]")) {
    const sorted = head.dataset.key === tableState.key;
    if (sorted) head.setAttribute("aria-sort", tableState.direction);
    else head.removeAttribute("aria-sort");
  }
  for (const button of document.querySelectorAll("[data-filter]")) {
    button.setAttribute("aria-pressed", String(button.dataset.filter === tableState.filter));
  }
  document.getElementById("shown").textContent = `${rows.length} of ${plural(ROWS.length, "case")} shown`;
}

function caseRow(entry) {
  if (entry.failure) {
    entry.node = el("tr", { class: "failed" }, el("th", { scope: "row" }, entry.case),
      el("td", { class: "text", colspan: String(COLUMNS.length - 1) }, el("span", { class: "chip bad" }, "not evaluated"), ` ${entry.message}`));
    return entry.node;
  }
  const found = findingsOf(entry);
  const values = CASE_METRICS.map((metric) => el("td", {}, valueText(metric, entry[metric.mean_key])));
  entry.node = el("tr", { "data-case": String(entry.index), click: () => openCase(entry) },
    el("th", { scope: "row" }, el("a", { href: caseHash(entry), click: (event) => event.stopPropagation() }, entry.case)),
    el("td", {}, el("span", { class: "meter", title: "suspicion", style: `--share:${entry.suspicion}` }), number(entry.suspicion, 2)),
    el("td", { class: "text findings" }, found.length ? chips(found) : el("span", { class: "calm" }, "labels right")),
    el("td", { class: "text" }, levelStrip(entry)),
    values);
  return entry.node;
}

function caseHash(entry) {
  return `#case=${encodeURIComponent(entry.case)}`;
}

const STRIP = { width: 6.5, height: 14, gap: 1.5 };

// One cell per level at a fixed place, so that rows line up; four paths, whatever the number of levels.
function levelStrip(entry) {
  const paths = { good: "", low: "", wrong: "", missed: "", surplus: "" };
  const cell = (name) => {
    const x = LEVEL[name].index * STRIP.width;
    return `M${x} 0h${STRIP.width - STRIP.gap}v${STRIP.height}h-${STRIP.width - STRIP.gap}z`;
  };
  for (const v of entry.vertebrae) {
    const state = v.wrong ? "wrong" : v.missed ? "missed" : markedBy(v).length ? "low" : "good";
    paths[state] += cell(v.name);
  }
  for (const s of entry.surplus) paths.surplus += cell(s.name);
  const size = { width: LEVELS.length * STRIP.width, height: STRIP.height };
  const summary = findingsOf(entry).map(([, text]) => text).join(", ") || "labels right";
  return svg("svg", { class: "strip", ...size, viewBox: `0 0 ${size.width} ${size.height}`, role: "img", "aria-label": summary },
    Object.entries(paths).filter(([, d]) => d).map(([state, d]) => svg("path", { class: state, d })));
}

function stripLegend() {
  const texts = { good: "right", low: MARKS_TEXT, wrong: "wrong name", missed: "missed", surplus: "surplus" };
  return el("p", { class: "legend" }, Object.entries(texts).map(([state, text]) =>
    el("span", {}, svg("svg", { class: "strip", width: 8, height: 14, "aria-hidden": "true" }, svg("path", { class: state, d: "M1 1h6v12h-6z" })), text)));
}
