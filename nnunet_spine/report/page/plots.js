// Distributions per region and level: boxes with points, or identification rates with their intervals.

const PLOT = { height: 340, top: 14, bottom: 62, left: 44, right: 8, wide: 62, gap: 22, narrowest: 30, widest: 52 };
const MANY = 60; // more values than this in a column: only those beyond the whiskers are drawn as points

function drawDistributions() {
  const section = document.getElementById("distributions");
  if (!CASES.length) {
    section.hidden = true;
    return;
  }
  const holder = el("div", { class: "scroller plot", role: "region", tabindex: "0", "aria-label": "Distributions" });
  const note = el("p", { class: "caption" });
  const labels = Object.fromEntries(VERTEBRA_METRICS.map((metric) => [metric.key, metric.title]));
  const first = VERTEBRA_METRICS[0]?.key;
  let shown = first;
  const draw = () => {
    const available = holder.clientWidth - 16;
    const metric = VERTEBRA_METRICS.find((m) => m.key === shown);
    holder.replaceChildren(metric.is_share ? ratePlot(metric, available) : boxPlot(metric, available));
  };
  const show = (key) => {
    shown = key;
    draw();
    const metric = VERTEBRA_METRICS.find((m) => m.key === key);
    note.textContent = metric.is_share
      ? "Share of the reference vertebrae, with its 95 % interval over scans."
      : "Box: quartiles and median. Whiskers: last value within 1.5 box lengths. " +
        `Columns of more than ${MANY} vertebrae show only the points beyond the whiskers. Choose a point to open its case.`;
  };
  section.append(
    el("div", { class: "section-head" }, el("h2", { id: "distributions-heading" }, "By region and level"),
      segmented("Score", labels, first, show)),
    holder, note);
  show(first);
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== width) draw(); // a phone's address bar changes the height only
    width = window.innerWidth;
  });
}

function plotGroups() {
  const present = (group) => group.reference > 0;
  return [...DATA.summary.regions.filter(present), ...DATA.summary.levels.filter(present)];
}

// Where the columns stand: regions first, then levels with a gap between regions. They fill the width if they can.
function plotColumns(available) {
  let x = PLOT.left + 8;
  let before = null;
  const groups = plotGroups();
  const levels = groups.filter((group) => LEVEL[group.group]);
  const gaps = new Set(levels.map((group) => LEVEL[group.group].region)).size * PLOT.gap;
  const room = (available - x - PLOT.right - gaps - (groups.length - levels.length) * PLOT.wide) / levels.length;
  const levelWidth = Math.max(PLOT.narrowest, Math.min(PLOT.widest, room));
  const columns = groups.map((group) => {
    const level = LEVEL[group.group];
    const width = level ? levelWidth : PLOT.wide;
    const region = level?.region ?? "regions";
    if (before !== null && before !== region) x += PLOT.gap;
    before = region;
    const column = { group, level, name: level ? group.group : REGIONS[group.group], x: x + width / 2, width };
    x += width;
    return column;
  });
  return { columns, width: x + PLOT.right };
}

function valuesOf(group, key) {
  const inside = (name) => group === "All" || name === group || LEVEL[name].region === group;
  return CASES.flatMap((entry) => entry.vertebrae.filter((v) => inside(v.name) && v[key] !== null && v[key] !== undefined)
    .map((v) => ({ value: v[key], name: v.name, entry })));
}

function boxPlot(metric, available) {
  const { columns, width } = plotColumns(available);
  const all = valuesOf("All", metric.key).map((item) => item.value);
  if (!all.length) return el("p", { class: "empty" }, `No vertebra has a value of ${metric.title}.`);
  const [lowest, highest] = [Math.min(...all), Math.max(...all)];
  const isShare = !metric.unit && lowest >= 0 && highest <= 1; // a scale of its own would exaggerate small differences
  const top = isShare ? 1 : niceCeiling(highest);
  const bottom = lowest < 0 ? -niceCeiling(-lowest) : 0;
  const y = (value) => PLOT.top + (top - value) / (top - bottom) * (PLOT.height - PLOT.top - PLOT.bottom);
  const chart = plotFrame(columns, width, [bottom, top], y, withUnit(metric), isShare ? (t) => t.toFixed(1) : (t) => String(t));
  const uncounted = metric.missed_as === null; // otherwise missed vertebrae are among the values, or stand for one
  for (const column of columns) {
    const items = valuesOf(column.group.group, metric.key).sort((a, b) => a.value - b.value);
    if (items.length) chart.append(...boxAndPoints(column, items, y, metric));
    if (uncounted && column.group.missed) {
      chart.append(svg("text", { class: "missed-count", x: column.x, y: PLOT.height - 8 }, String(column.group.missed)));
    }
  }
  if (uncounted && columns.some((column) => column.group.missed)) {
    chart.append(svg("text", { class: "missed-count start", x: 2, y: PLOT.height - 8 }, "missed"));
  }
  return chart;
}

function plotFrame(columns, width, [bottom, top], y, title, text) {
  const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1].map((share) => bottom + share * (top - bottom));
  return svg("svg", { class: "chart", width, height: PLOT.height, viewBox: `0 0 ${width} ${PLOT.height}`, role: "img", "aria-label": title },
    ticks.map((t) => [
      svg("line", { class: "grid", x1: PLOT.left, x2: width - PLOT.right, y1: y(t), y2: y(t) }),
      svg("text", { class: "tick", x: PLOT.left - 8, y: y(t) + 4 }, text(Number(t.toPrecision(3)))),
    ]),
    columns.map((column) => [
      column.level ? svg("rect", { x: column.x - 7, y: PLOT.height - PLOT.bottom + 28, width: 14, height: 4, rx: 2, fill: column.level.color }) : null,
      svg("text", { class: column.level ? "name" : "name strong", x: column.x, y: PLOT.height - PLOT.bottom + 20 }, column.name),
    ]));
}

function boxAndPoints(column, items, y, metric) {
  const values = items.map((item) => item.value);
  const [q1, median, q3] = [0.25, 0.5, 0.75].map((q) => quantile(values, q));
  const reach = 1.5 * (q3 - q1);
  const low = values.find((v) => v >= q1 - reach);
  const high = values.findLast((v) => v <= q3 + reach);
  const half = Math.min(column.width * 0.32, 13);
  const shown = items.length > MANY ? items.filter((item) => item.value < low || item.value > high) : items;
  const spread = (i) => ((i * 0.618034) % 1 - 0.5) * half * 1.5; // golden ratio: even and the same at every drawing
  return [
    svg("line", { class: "whisker", x1: column.x, x2: column.x, y1: y(low), y2: y(high) }),
    svg("rect", { class: "box", x: column.x - half, width: 2 * half, y: y(q3), height: Math.max(1, y(q1) - y(q3)), rx: 2 },
      svg("title", {}, `${column.name}: median ${number(median, metric.decimals)}, quartiles ${number(q1, metric.decimals)} and ${number(q3, metric.decimals)}, n = ${items.length}`)),
    svg("g", {}, shown.map((item, i) =>
      svg("circle", { class: "point", cx: column.x + spread(i), cy: y(item.value), r: column.level ? 3.2 : 2.4, fill: LEVEL[item.name].color, click: () => openCase(item.entry, item.name) },
        svg("title", {}, `${item.entry.case}  ${item.name}  ${metric.title} ${number(item.value, metric.decimals)} ${metric.unit}`)))),
    svg("line", { class: "median", x1: column.x - half, x2: column.x + half, y1: y(median), y2: y(median) }),
  ];
}

function ratePlot(metric, available) {
  const { columns, width } = plotColumns(available);
  const y = (value) => PLOT.top + (1 - value) * (PLOT.height - PLOT.top - PLOT.bottom);
  const chart = plotFrame(columns, width, [0, 1], y, withUnit(metric), (t) => String(Math.round(t * 100)));
  for (const { group, x, level } of columns) {
    const rate = group[metric.mean_key];
    if (rate.value === null) continue;
    chart.append(svg("g", {},
      svg("title", {}, `${REGIONS[group.group] ?? group.group}: ${rate.count} of ${rate.total}`),
      svg("rect", { class: "bar", x: x - 8, width: 16, y: y(rate.value), height: y(0) - y(rate.value), rx: 2, fill: level?.color ?? null }),
      rate.low === null ? null : svg("line", { class: "interval", x1: x, x2: x, y1: y(rate.low), y2: y(rate.high) }),
      svg("text", { class: "tick middle", x, y: PLOT.height - 8 }, `${rate.count}/${rate.total}`)));
  }
  return chart;
}

function quantile(sorted, q) {
  const position = (sorted.length - 1) * q;
  const below = Math.floor(position);
  return sorted[below] + (position - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
}

// The smallest of 1, 2, 5, 10, 20, 50 ... that is not below a value.
function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-6)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}
