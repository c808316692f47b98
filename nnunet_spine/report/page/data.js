// The evaluation as embedded by the builder, and what can be derived from it.

const DATA = JSON.parse(document.getElementById("report-data").textContent);

const LEVELS = DATA.levels; // cranio-caudal: {name, region, color}
const LEVEL = Object.fromEntries(LEVELS.map((level, index) => [level.name, { ...level, index }]));
const REGIONS = { All: "All", C: "Cervical", T: "Thoracic", L: "Lumbar" };

// The declared metrics: {key, mean_key, title, level, unit, better, decimals, is_share, mark, ...}. A value of a vertebra
// stands under `key`, the mean of a case and the summary of a group under `mean_key`.
const METRICS = DATA.metrics;
const VERTEBRA_METRICS = METRICS.filter((m) => m.level === "vertebra");
const CASE_METRICS = METRICS.filter((m) => m.paired);
const MARKED = VERTEBRA_METRICS.filter((m) => m.mark !== null);

// The metrics by which a vertebra is worse than their mark.
function markedBy(v) {
  return MARKED.filter((m) => v[m.key] !== null && v[m.key] !== undefined && (m.better === "higher" ? v[m.key] < m.mark : v[m.key] > m.mark));
}

const MARKS_TEXT = MARKED.map((m) => `${m.title} ${m.better === "higher" ? "below" : "above"} ${m.mark}`).join(", ");

// A value as text: yes or no, a share in percent, or a number with the metric's decimals.
function valueText(metric, value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return metric.is_share ? number(value === null || value === undefined ? value : 100 * value, 1) : number(value, metric.decimals);
}

const CASES = DATA.cases.map((entry, index) => {
  const vertebrae = entry.vertebrae.map((row) => Object.fromEntries(DATA.fields.map((name, i) => [name, row[i]])));
  for (const v of vertebrae) v.wrong = v.misnamed || (!v.identified && !v.missed);
  const wrong = vertebrae.filter((v) => v.wrong);
  return { ...entry, index, vertebrae, wrong, findings: wrong.length + entry.missed.length + entry.surplus.length };
});

function withUnit(metric) {
  const unit = metric.is_share ? "%" : metric.unit;
  return unit ? `${metric.title}, ${unit}` : metric.title;
}

function signed(count) {
  return count > 0 ? `+${count}` : `−${-count}`;
}

// What is wrong with a case, as short texts: [kind, text, title].
function findingsOf(entry) {
  const found = [];
  if (entry.shift) {
    const side = entry.shift > 0 ? "caudal" : "cranial";
    found.push(["bad", `shifted ${signed(entry.shift)}`, `renaming by ${Math.abs(entry.shift)} explains the names: the prediction is too ${side}`]);
  }
  if (entry.wrong.length) found.push(["bad", plural(entry.wrong.length, "wrong name"), namesOf(entry.wrong)]);
  if (entry.missed.length) found.push(["warn", `missed ${shortList(entry.missed)}`, entry.missed.join(", ")]);
  const surplus = entry.surplus.map((s) => s.name);
  if (surplus.length) found.push(["note", `surplus ${shortList(surplus)}`, surplus.join(", ")]);
  return found;
}

function namesOf(vertebrae) {
  return vertebrae.map((v) => (v.found_as && v.misnamed ? `${v.name} named ${v.found_as}` : v.name)).join(", ");
}

function shortList(names) {
  return names.length > 3 ? String(names.length) : names.join(" ");
}

function chips(found) {
  return found.map(([kind, text, title]) => el("span", { class: `chip ${kind}`, title }, text));
}

function levelDot(name) {
  return el("span", { class: "dot", style: `background:${LEVEL[name]?.color ?? "#888"}` });
}
