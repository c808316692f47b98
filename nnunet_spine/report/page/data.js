// The evaluation as embedded by the builder, and what can be derived from it.

const DATA = JSON.parse(document.getElementById("report-data").textContent);
const LOW_DICE = 0.7;

const LEVELS = DATA.levels; // cranio-caudal: {name, region, color}
const LEVEL = Object.fromEntries(LEVELS.map((level, index) => [level.name, { ...level, index }]));
const REGIONS = { All: "All", C: "Cervical", T: "Thoracic", L: "Lumbar" };

// Scores of a vertebra; `summary` is their name in the cohort's summary and in a case.
const METRICS = {
  dice: { label: "Dice", unit: "", digits: 3, summary: "dice" },
  assd_mm: { label: "ASSD", unit: "mm", digits: 2, summary: "assd_mm" },
  hd95_mm: { label: "HD95", unit: "mm", digits: 1, summary: "hd95_mm" },
  nsd: { label: "NSD", unit: "", digits: 3, summary: "nsd" },
  distance_mm: { label: "Localisation error", unit: "mm", digits: 1, summary: "localisation_error_mm" },
};

const CASES = DATA.cases.map((entry, index) => {
  const vertebrae = entry.vertebrae.map((row) => Object.fromEntries(DATA.fields.map((name, i) => [name, row[i]])));
  for (const v of vertebrae) v.wrong = v.misnamed || (!v.identified && !v.missed);
  const wrong = vertebrae.filter((v) => v.wrong);
  return { ...entry, index, vertebrae, wrong, findings: wrong.length + entry.missed.length + entry.surplus.length };
});

function withUnit(metric) {
  return metric.unit ? `${metric.label}, ${metric.unit}` : metric.label;
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
