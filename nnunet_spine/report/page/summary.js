// What was evaluated, what failed, the cohort in numbers, and the rules behind them.

function drawHead() {
  document.getElementById("title").textContent = DATA.title;
  const vertebrae = CASES.reduce((sum, entry) => sum + entry.vertebrae.length, 0);
  const parts = [plural(CASES.length, "scan"), plural(vertebrae, "reference vertebra", "reference vertebrae")];
  if (DATA.failures.length) parts.push(`${DATA.failures.length} not evaluated`);
  document.getElementById("subtitle").textContent = parts.join("  ·  ");
  document.getElementById("foot").append(
    el("p", {}, `${DATA.software}, from ${DATA.source}. Research software: not a medical device, not for clinical decisions.`),
    CASES.some((entry) => entry.viewer) ? licences() : "");
}

function licences() {
  const text = el("pre", {});
  const open = async () => { text.textContent ||= new TextDecoder().decode(await inflatedBlob("licences")); };
  return el("details", { toggle: open }, el("summary", {}, "Slices are drawn by NiiVue (BSD 2-Clause): licences"), text);
}

function drawSummary() {
  const section = document.getElementById("summary");
  const { regions } = DATA.summary;
  const all = regions.find((group) => group.group === "All");
  section.append(el("h2", { id: "summary-heading" }, "Cohort"));
  if (!CASES.length) {
    section.append(el("p", { class: "empty" }, "No case was evaluated."));
    return;
  }
  const interval = (low, high, show) => (low === null ? "" : `95 % interval ${show(low)} to ${show(high)}`);
  const figure = (label, value, detail) =>
    el("div", { class: "figure" }, el("dt", {}, label), el("dd", { class: "value" }, value), el("dd", { class: "detail" }, detail));
  const mean = (metric, s) => {
    const show = (value) => number(value, metric.decimals);
    return figure(metric.title, el("span", {}, show(s.mean), metric.unit ? el("small", {}, ` ${metric.unit}`) : null), interval(s.low, s.high, show));
  };
  const rate = (metric, r) => figure(metric.title, percent(r.value), `${r.count} of ${r.total}${r.low === null ? "" : `, ${percent(r.low, 0)} to ${percent(r.high, 0)}`}`);
  section.append(
    el("dl", { class: "figures" }, METRICS.filter((m) => m.headline).map((m) => {
      const summary = m.level === "vertebra" ? all[m.mean_key] : DATA.summary[m.key];
      return (m.is_share ? rate : mean)(m, summary);
    })),
    cohortTable(regions.filter((group) => group.group === "All" || group.reference || group.surplus)),
    el("p", { class: "caption" },
      "Mean ± standard deviation over vertebrae, below it the median and the 95 % interval of the mean (bootstrap over scans). ",
      "Shares in percent, below them their interval; * all scans alike, where a bootstrap cannot tell: Clopper-Pearson over scans."),
    scanTable(),
  );
}

function cohortTable(groups) {
  return scroller("Cohort summary", el("table", { class: "numbers cohort" },
    el("thead", {}, el("tr", {}, ["Region", "Vertebrae", "Missed", "Surplus", ...VERTEBRA_METRICS.map(withUnit)]
      .map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, groups.map((group) => el("tr", {},
      el("th", { scope: "row" }, REGIONS[group.group] ?? group.group),
      el("td", {}, String(group.reference)),
      el("td", { class: group.missed ? "warn-text" : "" }, String(group.missed)),
      el("td", { class: group.surplus ? "note-text" : "" }, String(group.surplus)),
      VERTEBRA_METRICS.map((metric) => summaryCell(metric, group[metric.mean_key])))))));
}

// What has one value per scan or per cohort; one row for all cases and one per group that the user named.
function scanTable() {
  const metrics = METRICS.filter((m) => m.level !== "vertebra");
  const rows = Object.entries({ "All scans": DATA.summary, ...DATA.groups });
  return scroller("Scans", el("table", { class: "numbers cohort", id: "scan-table" },
    el("thead", {}, el("tr", {}, ["Scans", "n", ...metrics.map(withUnit)].map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, rows.map(([name, summary]) => el("tr", {},
      el("th", { scope: "row" }, name), el("td", {}, String(summary.cases)),
      metrics.map((metric) => summaryCell(metric, summary[metric.key])))))));
}

const RULES = {
  centre: "Centre of a vertebra",
  identification: "Identification",
  identification_radius_mm: "Identification radius, mm",
  hd95: "HD95",
  nsd_tolerance_mm: "NSD tolerance, mm",
  covering_share: "Covering share",
  miss_penalty_mm: "Penalty of a missed vertebra, mm",
  bootstrap_draws: "Bootstrap draws",
  bootstrap_seed: "Bootstrap seed",
  grid: "Grid",
  kind: "Structures",
  prediction_labels: "Labels of the prediction",
  reference_labels: "Labels of the reference",
};
const LONG = 60; // characters of a value that gets a line of its own

function drawRules() {
  const section = document.getElementById("rules");
  const name = (key) => RULES[key] ?? key.replaceAll("_", " ");
  const text = (value) => (typeof value === "object" && value !== null ? JSON.stringify(value) : String(value ?? NONE));
  section.append(
    el("h2", { id: "rules-heading" }, "Rules and settings"),
    el("dl", { class: "rules" }, Object.entries(DATA.settings).filter(([key]) => key !== "centre_kind").map(([key, value]) =>
      el("div", { class: text(value).length > LONG && "long" }, el("dt", {}, name(key)), el("dd", {}, text(value))))),
    el("p", { class: "caption" },
      "Wrong name: not identified although predicted, or found under another name. Missed: no voxel predicted under the name. ",
      "Surplus: predicted, but not in the reference. ",
      MARKS_TEXT ? `Marked: a vertebra with ${MARKS_TEXT}. ` : "",
      "Suspicion orders the cases by how much they ask to be looked at, from 0 to 1; any wrong, missed or surplus name is above 0.5."),
    el("h3", {}, "Metrics"),
    el("dl", { class: "rules", id: "definitions" }, METRICS.map((m) =>
      el("div", { class: "long" }, el("dt", {}, m.title), el("dd", {}, m.definition)))),
  );
}
