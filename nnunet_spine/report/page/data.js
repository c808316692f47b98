// The cases of an evaluation, and what can be derived from them.

const MARKED = VERTEBRA_METRICS.filter((m) => m.mark !== null);

// The metrics by which a vertebra is worse than their mark.
function markedBy(v) {
  return MARKED.filter((m) => v[m.key] !== null && v[m.key] !== undefined && (m.better === "higher" ? v[m.key] < m.mark : v[m.key] > m.mark));
}

const MARKS_TEXT = MARKED.map((m) => `${m.title} ${m.better === "higher" ? "below" : "above"} ${m.mark}`).join(", ");

const CASES = DATA.cases.map((entry, index) => {
  const vertebrae = entry.vertebrae.map((row) => Object.fromEntries(DATA.fields.map((name, i) => [name, row[i]])));
  for (const v of vertebrae) v.wrong = v.misnamed || (v.identified === false && !v.missed);
  const wrong = vertebrae.filter((v) => v.wrong);
  return { ...entry, index, vertebrae, wrong, findings: wrong.length + entry.missed.length + entry.surplus.length };
});

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
