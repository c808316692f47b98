// What the builder embedded, and its values as text and table cells.

const DATA = JSON.parse(document.getElementById("report-data").textContent);

const LEVELS = DATA.levels; // cranio-caudal: {name, region, color}
const LEVEL = Object.fromEntries(LEVELS.map((level, index) => [level.name, { ...level, index }]));
const REGIONS = { All: "All", C: "Cervical", T: "Thoracic", L: "Lumbar" };

// The declared metrics: {key, mean_key, title, level, unit, better, decimals, is_share, mark, ...}. A value of a vertebra
// stands under `key`, the mean of a case and the summary of a group under `mean_key`.
const METRICS = DATA.metrics;
const VERTEBRA_METRICS = METRICS.filter((m) => m.level === "vertebra");
const CASE_METRICS = METRICS.filter((m) => m.paired);
// A value as text: yes or no, a share in percent, or a number with the metric's decimals.
function valueText(metric, value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return metric.is_share ? number(value === null || value === undefined ? value : 100 * value, 1) : number(value, metric.decimals);
}

function withUnit(metric) {
  const unit = metric.is_share ? "%" : metric.unit;
  return unit ? `${metric.title}, ${unit}` : metric.title;
}

// A cell of a summary: of a mean, or of a share.
function summaryCell(metric, s) {
  const bounds = (show) => (s.low === null ? "" : `[${show(s.low)}, ${show(s.high)}]`);
  if ("total" in s) {
    const sign = s.interval?.startsWith("Clopper") ? "*" : "";
    return el("td", { title: s.interval ?? null }, el("span", { class: "main" }, number(s.value === null ? null : 100 * s.value, 1)),
      el("span", { class: "sub" }, bounds((value) => number(100 * value, 1)) + sign));
  }
  const [factor, digits] = metric.is_share ? [100, 1] : [1, metric.decimals];
  const show = (value) => number(value === null ? null : factor * value, digits);
  return el("td", {}, el("span", { class: "main" }, show(s.mean), el("span", { class: "sd" }, s.sd === null ? "" : ` ± ${show(s.sd)}`)),
    el("span", { class: "sub" }, s.mean === null ? "" : `${show(s.median)}${s.low === null ? "" : `  ${bounds(show)}`}`));
}

// A wide table in a box that scrolls by itself, also by keyboard.
function scroller(label, table) {
  return el("div", { class: "scroller", role: "region", "aria-label": label, tabindex: "0" }, table);
}

function levelDot(name) {
  return el("span", { class: "dot", style: `background:${LEVEL[name]?.color ?? "#888"}` });
}
