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

function drawFailures() {
  const section = document.getElementById("failures");
  if (!DATA.failures.length) return;
  section.hidden = false;
  section.className = "callout";
  section.append(
    el("h2", { id: "failures-heading" }, `${plural(DATA.failures.length, "case")} could not be evaluated`),
    el("ul", {}, DATA.failures.map((failure) =>
      el("li", {}, el("strong", {}, failure.case), ` ${failure.message}`, failure.path ? el("code", {}, failure.path) : null))),
  );
}

function drawSummary() {
  const section = document.getElementById("summary");
  const { regions, all_labels_correct: correct } = DATA.summary;
  const all = regions.find((group) => group.group === "All");
  section.append(el("h2", { id: "summary-heading" }, "Cohort"));
  if (!CASES.length) {
    section.append(el("p", { class: "empty" }, "No case was evaluated."));
    return;
  }
  const interval = (low, high, show) => (low === null ? "" : `95 % interval ${show(low)} to ${show(high)}`);
  const figure = (label, value, detail) =>
    el("div", { class: "figure" }, el("dt", {}, label), el("dd", { class: "value" }, value), el("dd", { class: "detail" }, detail));
  const mean = (label, metric, unit = "") => {
    const s = all[metric.summary];
    const show = (value) => number(value, metric.digits);
    return figure(label, el("span", {}, show(s.mean), unit ? el("small", {}, ` ${unit}`) : null), interval(s.low, s.high, show));
  };
  const rate = (label, r) => figure(label, percent(r.value), `${r.count} of ${r.total}${r.low === null ? "" : `, ${percent(r.low, 0)} to ${percent(r.high, 0)}`}`);
  section.append(
    el("dl", { class: "figures" },
      mean("Dice per vertebra", METRICS.dice),
      mean("HD95", METRICS.hd95_mm, "mm"),
      mean("Localisation error", METRICS.distance_mm, "mm"),
      rate("Identified vertebrae", all.identification_rate),
      rate("Scans with every label right", correct)),
    cohortTable(regions.filter((group) => group.group === "All" || group.reference || group.surplus)),
    el("p", { class: "caption" },
      "Mean ± standard deviation over vertebrae, below it the median and the 95 % interval of the mean (bootstrap over scans). ",
      "A missed vertebra counts as 0 in Dice and NSD and is left out of the distances."),
  );
}

function cohortTable(groups) {
  const cell = (metric, s) =>
    el("td", {}, el("span", { class: "main" }, number(s.mean, metric.digits), el("span", { class: "sd" }, s.sd === null ? "" : ` ± ${number(s.sd, metric.digits)}`)),
      el("span", { class: "sub" }, s.mean === null ? "" : `${number(s.median, metric.digits)}${s.low === null ? "" : `  [${number(s.low, metric.digits)}, ${number(s.high, metric.digits)}]`}`));
  const rate = (r) =>
    el("td", {}, el("span", { class: "main" }, r.value === null ? NONE : number(100 * r.value, 1)),
      el("span", { class: "sub" }, r.low === null ? "" : `[${number(100 * r.low, 1)}, ${number(100 * r.high, 1)}]`));
  const metrics = Object.values(METRICS);
  return scroller("Cohort summary", el("table", { class: "numbers cohort" },
    el("thead", {}, el("tr", {}, ["Region", "Vertebrae", ...metrics.map(withUnit), "Identified, %", "Glocker’s rule, %", "Missed", "Surplus"]
      .map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, groups.map((group) => el("tr", {},
      el("th", { scope: "row" }, REGIONS[group.group] ?? group.group),
      el("td", {}, String(group.reference)),
      metrics.map((metric) => cell(metric, group[metric.summary])),
      rate(group.identification_rate), rate(group.identification_rate_glocker),
      el("td", { class: group.missed ? "warn-text" : "" }, String(group.missed)),
      el("td", { class: group.surplus ? "note-text" : "" }, String(group.surplus)))))));
}

// A wide table in a box that scrolls by itself, also by keyboard.
function scroller(label, table) {
  return el("div", { class: "scroller", role: "region", "aria-label": label, tabindex: "0" }, table);
}

const RULES = {
  center: "Centre of a vertebra",
  identification: "Identification",
  identification_radius_mm: "Identification radius, mm",
  nsd_tolerance_mm: "NSD tolerance, mm",
  covering_share: "Covering share",
  miss_penalty_mm: "Penalty of a missed vertebra, mm",
  bootstrap_draws: "Bootstrap draws",
  bootstrap_seed: "Bootstrap seed",
  grid: "Grid",
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
    el("dl", { class: "rules" }, Object.entries(DATA.settings).filter(([key]) => key !== "center_kind").map(([key, value]) =>
      el("div", { class: text(value).length > LONG && "long" }, el("dt", {}, name(key)), el("dd", {}, text(value))))),
    el("p", { class: "caption" },
      "Wrong name: not identified although predicted, or found under another name. Missed: no voxel predicted under the name. ",
      "Surplus: predicted, but not in the reference. ",
      `Low Dice: a vertebra below ${LOW_DICE}. `,
      "Suspicion orders the cases by how much they ask to be looked at, from 0 to 1; any wrong, missed or surplus name is above 0.5."),
  );
}
