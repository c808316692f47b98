// Methods side by side: over all cases, by level and by case, with the paired differences to the first one.

const METHODS = DATA.methods; // {name, summary, values: case -> key -> value, page}
const [BASELINE, ...OTHERS] = METHODS;
const PAIRED = METRICS.filter((m) => m.paired);
const COLOURS = ["#2453c9", "#c2571a", "#1b7043", "#8a3fb0", "#7a6a00", "#b4232f"];

function drawHead() {
  document.getElementById("title").textContent = DATA.title;
  document.getElementById("subtitle").textContent =
    [plural(DATA.cases.length, "common scan"), METHODS.map((m) => m.name).join(", ")].join("  ·  ");
  document.getElementById("foot").append(
    el("p", {}, `${DATA.software}, from ${DATA.source}. Research software: not a medical device, not for clinical decisions.`));
}

// Fewer scans of one sign come about by chance too often (sign test: six of six, p = 0.03), whatever a bootstrap says.
const FEWEST = 6;

// A difference to the baseline: green or red where its interval leaves no doubt of the sign.
function differenceCell(metric, d, count = DATA.cases.length) {
  if (!d || d.mean === null) return el("td", {}, NONE);
  const [factor, digits] = metric.is_share ? [100, 1] : [1, metric.decimals];
  const show = (value) => (value > 0 ? "+" : "") + number(factor * value, digits);
  const sure = d.count >= FEWEST && d.low !== null && (d.low > 0 || d.high < 0);
  const better = (d.mean > 0) === (metric.better === "higher");
  const detail = [d.low === null ? "" : `[${show(d.low)}, ${show(d.high)}]`, d.count === count ? "" : `n = ${d.count}`];
  return el("td", { class: sure ? (better ? "good-text" : "bad-text") : "" },
    el("span", { class: "main" }, show(d.mean)), el("span", { class: "sub" }, detail.filter(Boolean).join("  ")));
}

function differenceHeads() {
  return OTHERS.map((m) => `${m.name} − ${BASELINE.name}`);
}

function heads(texts) {
  return el("thead", {}, el("tr", {}, texts.map((text) => el("th", { scope: "col" }, text))));
}

const DIFFERENCE_NOTE = `Differences to ${BASELINE.name}: mean over scans of each scan's difference, below it its 95 % interval ` +
  `(bootstrap over scans; where all scans differ by the same share, by Clopper and Pearson). Coloured where it leaves 0 out and at least ${FEWEST} scans have the score: green is better.`;

function summaryOf(method, metric) {
  if (metric.level !== "vertebra") return method.summary[metric.key];
  return method.summary.regions.find((g) => g.group === "All")[metric.mean_key];
}

function drawOverall() {
  const rows = METRICS.map((metric) => el("tr", { "data-metric": metric.mean_key },
    el("th", { scope: "row" }, withUnit(metric), el("span", { class: "sub" }, metric.better === "higher" ? "higher is better" : "lower is better")),
    METHODS.map((method) => summaryCell(metric, summaryOf(method, metric))),
    OTHERS.map((method) => metric.paired ? differenceCell(metric, DATA.differences[method.name].All[metric.mean_key]) : el("td", {}, NONE))));
  document.getElementById("overall").append(
    el("h2", { id: "overall-heading" }, "All cases"),
    el("p", { class: "caption" }, "Mean ± standard deviation over vertebrae or scans, below it median and interval; shares in percent."),
    scroller("All cases", el("table", { class: "numbers cohort", id: "overall-table" },
      heads(["Metric", ...METHODS.map((m) => m.name), ...differenceHeads()]), el("tbody", {}, rows))),
    el("p", { class: "caption" }, DIFFERENCE_NOTE));
}

function groupsOf(method) {
  return [...method.summary.regions, ...method.summary.levels];
}

function drawLevels() {
  const section = document.getElementById("levels");
  const present = groupsOf(BASELINE).filter((g) => g.reference > 0).map((g) => g.group);
  const plot = el("div", { class: "scroller plot", role: "region", tabindex: "0", "aria-label": "By level" });
  const holder = el("div");
  let shown = VERTEBRA_METRICS[0].key;
  const show = (key) => {
    shown = key;
    const metric = VERTEBRA_METRICS.find((m) => m.key === key);
    const cell = (method, name) => groupsOf(method).find((g) => g.group === name)?.[metric.mean_key];
    plot.replaceChildren(levelPlot(metric, present, cell, plot.clientWidth - 16));
    const rows = present.map((name) => el("tr", { "data-group": name },
      el("th", { scope: "row" }, LEVEL[name] ? levelDot(name) : null, REGIONS[name] ?? name),
      el("td", {}, String(groupsOf(BASELINE).find((g) => g.group === name).reference)),
      METHODS.map((method) => (cell(method, name) ? summaryCell(metric, cell(method, name)) : el("td", {}, NONE))),
      OTHERS.map((method) => differenceCell(metric, DATA.differences[method.name][name]?.[metric.mean_key]))));
    holder.replaceChildren(scroller("By level", el("table", { class: "numbers cohort", id: "level-table" },
      heads(["Level", "n", ...METHODS.map((m) => m.name), ...differenceHeads()]), el("tbody", {}, rows))));
  };
  const labels = Object.fromEntries(VERTEBRA_METRICS.map((m) => [m.key, m.title]));
  section.append(
    el("div", { class: "section-head" }, el("h2", { id: "levels-heading" }, "By region and level"),
      segmented("Score", labels, VERTEBRA_METRICS[0].key, show)),
    plot, legend(), holder);
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== width) show(shown); // a phone's address bar changes the height only
    width = window.innerWidth;
  });
  show(shown);
}

function legend() {
  return el("p", { class: "legend" }, METHODS.map((method, i) =>
    el("span", {}, el("span", { class: "dot", style: `background:${COLOURS[i % COLOURS.length]}` }), method.name)),
  "Points: mean or share, with its 95 % interval over scans.");
}

const PLOT = { height: 300, top: 14, bottom: 40, left: 52, right: 8, region: 76, level: 36 };

// One point with its interval per method and level.
function levelPlot(metric, names, cell, available) {
  const factor = metric.is_share ? 100 : 1;
  const middle = (s) => (s === undefined ? null : "total" in s ? s.value : s.mean);
  const all = names.flatMap((name) => METHODS.flatMap((m) => {
    const s = cell(m, name);
    return [middle(s), s?.low, s?.high];
  })).filter((v) => v !== null && v !== undefined).map((v) => v * factor);
  if (!all.length) return el("p", { class: "empty" }, `No vertebra has a value of ${metric.title}.`);
  const bounded = metric.is_share || (!metric.unit && Math.min(...all) >= 0 && Math.max(...all) <= 1);
  const top = bounded ? factor : Math.max(...all, 0) * 1.05 || 1;
  const bottom = Math.min(...all, 0) * 1.05;
  const y = (value) => PLOT.top + (top - value) / (top - bottom) * (PLOT.height - PLOT.top - PLOT.bottom);
  const regions = names.filter((name) => !LEVEL[name]).length;
  const room = (available - PLOT.left - PLOT.right - regions * PLOT.region) / Math.max(1, names.length - regions);
  const step = Math.max(PLOT.level, Math.min(PLOT.region, room));
  const middleOf = (k) => PLOT.left + (k < regions ? (k + 0.5) * PLOT.region : regions * PLOT.region + (k - regions + 0.5) * step);
  const width = PLOT.left + regions * PLOT.region + (names.length - regions) * step + PLOT.right;
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => bottom + share * (top - bottom));
  const points = names.flatMap((name, k) => METHODS.map((method, i) => {
    const s = cell(method, name);
    const value = middle(s);
    if (value === null) return null;
    const x = middleOf(k) + (i - (METHODS.length - 1) / 2) * Math.min(12, 36 / METHODS.length);
    const colour = COLOURS[i % COLOURS.length];
    return svg("g", {},
      s.low === null ? null : svg("line", { x1: x, x2: x, y1: y(factor * s.low), y2: y(factor * s.high), stroke: colour, "stroke-width": 2 }),
      svg("circle", { cx: x, cy: y(factor * value), r: 4, fill: colour, class: "mean" },
        svg("title", {}, `${name}, ${method.name}: ${valueText(metric, value)}`)));
  }));
  return svg("svg", { class: "chart", width, height: PLOT.height, viewBox: `0 0 ${width} ${PLOT.height}`, role: "img", "aria-label": withUnit(metric) },
    ticks.map((t) => [
      svg("line", { class: "grid", x1: PLOT.left, x2: width, y1: y(t), y2: y(t) }),
      svg("text", { class: "tick", x: PLOT.left - 8, y: y(t) + 4 }, String(Number(t.toPrecision(3)))),
    ]),
    names.map((name, k) => svg("text", { class: LEVEL[name] ? "name" : "name strong", x: middleOf(k), y: PLOT.height - 16 }, REGIONS[name] ?? name)),
    points.filter(Boolean));
}

const caseState = { metric: PAIRED[0].mean_key, column: null, direction: 1 };

function drawCases() {
  const holder = el("div");
  const labels = Object.fromEntries(PAIRED.map((m) => [m.mean_key, m.title]));
  const show = (key) => {
    if (key) Object.assign(caseState, { metric: key, column: OTHERS.length ? METHODS.length : 0, direction: null });
    const metric = PAIRED.find((m) => m.mean_key === caseState.metric);
    caseState.direction ??= metric.better === "higher" ? 1 : -1; // the greatest losses first
    const rows = DATA.cases.map((name) => {
      const values = METHODS.map((method) => method.values[name][metric.mean_key]);
      const differences = values.slice(1).map((v) => (v === null || values[0] === null ? null : Number(v) - Number(values[0])));
      return { name, values, differences, sort: [...values, ...differences] };
    });
    const at = (row) => row.sort[caseState.column] ?? null;
    rows.sort((a, b) => {
      const [x, y] = [at(a), at(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return caseState.direction * (Number(x) - Number(y)) || a.name.localeCompare(b.name);
    });
    const columns = [...METHODS.map((m) => m.name), ...differenceHeads()];
    const head = el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Case"), columns.map((text, k) =>
      el("th", { scope: "col", "aria-sort": k === caseState.column ? (caseState.direction > 0 ? "ascending" : "descending") : null },
        el("button", { type: "button", class: "sort", click: () => sortBy(k) }, text, el("span", { class: "arrow", "aria-hidden": "true" }))))));
    const body = rows.map((row) => el("tr", { "data-case": row.name }, el("th", { scope: "row" }, row.name),
      row.values.map((v, i) => el("td", {}, caseLink(METHODS[i], row.name, valueText(metric, v)))),
      row.differences.map((d) => plainDifference(metric, d))));
    holder.replaceChildren(scroller("Cases", el("table", { class: "numbers cases", id: "case-table" }, head, el("tbody", {}, body))));
  };
  const sortBy = (column) => {
    caseState.direction = caseState.column === column ? -caseState.direction : 1;
    caseState.column = column;
    show();
  };
  document.getElementById("cases").append(
    el("div", { class: "section-head" }, el("h2", { id: "cases-heading" }, "Cases"), segmented("Score of cases", labels, PAIRED[0].mean_key, show)),
    holder);
  show(PAIRED[0].mean_key);
}

// A value leads to the case on the method's own page, where there is one beside this page.
function caseLink(method, name, text) {
  return method.page ? el("a", { href: `${method.page}#case=${encodeURIComponent(name)}` }, text) : text;
}

function plainDifference(metric, d) {
  if (d === null) return el("td", {}, NONE);
  const [factor, digits] = metric.is_share ? [100, 1] : [1, metric.decimals];
  const better = (d > 0) === (metric.better === "higher");
  return el("td", { class: d === 0 ? "" : better ? "good-text" : "bad-text" }, (d > 0 ? "+" : "") + number(factor * d, digits));
}

function drawRules() {
  document.getElementById("rules").append(
    el("h2", { id: "rules-heading" }, "Metrics"),
    el("dl", { class: "rules", id: "definitions" }, METRICS.map((m) =>
      el("div", { class: "long" }, el("dt", {}, m.title), el("dd", {}, m.definition)))));
}

drawHead();
drawFailures(DATA.failures);
drawOverall();
drawLevels();
drawCases();
drawRules();
document.documentElement.dataset.ready = "all";
