"use strict";
// The plane of the leading modes: iterates, rod and stable flow at a step that a slider chooses.

const TRAIL = 40, AROUND = 60, FRAME = 70; // steps, steps, milliseconds

// All points that a step shows: {iterates, newest, rod, center, stable}, each [x, y].
function planeAt(cell, seed, step) {
  const part = (columns, from, to) => columns.map((column) => column.slice(from, to + 1));
  const rod = cell.flows.indexOf("rod"), stable = cell.flows.indexOf("stable");
  const center = cell.flowPath[seed][rod], half = cell.rodPath[seed][rod];
  const ends = center.map((column, i) => column[step] === null ? [] :
    [column[step] + half[i][step], column[step] - half[i][step]]);
  return { iterates: part(cell.path[seed], Math.max(0, step - TRAIL), step),
           newest: part(cell.path[seed], Math.max(0, step - 1), step),
           rod: ends, center: part(center, step, step),
           path: part(center, 0, step), stable: part(cell.flowPath[seed][stable], 0, step) };
}

// The limits of both axes: those of all iterates and rods, or of the ones around a step.
function planeLimits(cell, seed, step, whole) {
  const rod = cell.flows.indexOf("rod");
  return [0, 1].map((i) => {
    const from = whole ? 0 : Math.max(0, step - AROUND), to = whole ? Infinity : step + AROUND / 3;
    const center = cell.flowPath[seed][rod][i], half = cell.rodPath[seed][rod][i];
    const values = cell.path[seed][i].flatMap((x, t) => t < from || t > to ? [] :
      [x, center[t] + half[t], center[t] - half[t]]).filter(Number.isFinite);
    const low = values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const margin = 0.06 * (high - low) || 1;
    return [low - margin, high + margin];
  });
}

async function drawPlane(section, cell, seed) {
  await READY;
  const box = section.querySelector(".plane"), slider = box.querySelector("input[type=range]");
  const step = Number(slider.value), whole = box.querySelector("input[type=checkbox]").checked;
  box.querySelector("output").textContent = `step ${cell.time[step]}`;
  const at = planeAt(cell, seed, step), { rod, stable } = DATA.styles;
  const trace = ([x, y], name, more) => ({ type: "scatter", mode: "lines", x, y, name,
                                           hoverinfo: "skip", ...more });
  const traces = [
    trace(at.stable, "stable flow", { line: { color: stable.color, dash: "dash", width: 2 } }),
    trace(at.path, "rod flow", { line: { color: rod.color, width: 1 }, opacity: 0.6,
                                 showlegend: false }),
    trace(at.iterates, "iterates before", { mode: "lines+markers", opacity: 0.45, showlegend: false,
      line: { color: "#000", width: 0.6 }, marker: { color: "#000", size: 4 } }),
    trace(at.rod, "rod", { line: { color: rod.color, width: 5 } }),
    trace(at.center, "centre", { mode: "markers", marker: { color: rod.color, size: 11 } }),
    trace(at.newest, "iterates", { mode: "markers", marker: { color: "#000", size: 9 } }),
  ];
  const [xs, ys] = planeLimits(cell, seed, step, whole);
  const axis = { exponentformat: "power", nticks: 5, showline: true, linecolor: "#444",
                 ticks: "outside", gridcolor: "#eee", zeroline: false };
  const name = cell.axes;
  await Plotly.react(box.querySelector(".stage"), traces, {
    height: 430, font: { ...FONT, size: 12, color: "#111" }, margin: { l: 70, r: 20, t: 40, b: 50 },
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" }, plot_bgcolor: "#fff",
    xaxis: { ...axis, range: xs, title: { text: `first ${name}`, standoff: 8 } },
    yaxis: { ...axis, range: ys, title: { text: `second ${name}`, standoff: 4 } },
  }, { responsive: true, displayModeBar: false });
}

function preparePlane(section, cell, seed) {
  const box = section.querySelector(".plane"), play = box.querySelector("button.play");
  const slider = box.querySelector("input[type=range]");
  slider.max = cell.time.length - 1;
  slider.value = cell.burst[seed()];
  let timer = null;
  const show = () => drawPlane(section, cell, seed());
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "play";
  };
  const advance = () => {
    slider.value = Number(slider.value) + 1;
    show();
    if (Number(slider.value) >= Number(slider.max)) stop();
  };
  play.addEventListener("click", () => {
    if (timer !== null) return stop();
    if (Number(slider.value) >= Number(slider.max)) slider.value = 0;
    play.textContent = "pause";
    timer = setInterval(advance, FRAME);
  });
  slider.addEventListener("input", show);
  box.querySelector("input[type=checkbox]").addEventListener("change", show);
  box.querySelector(".data-of-plane").addEventListener("click", () =>
    download(planeAsCsv(cell, seed()), `${section.id}-plane.csv`));
}

function planeAsCsv(cell, seed) {
  const columns = [["step", cell.time]];
  const add = (name, [first, second]) => columns.push([`${name} 1`, first], [`${name} 2`, second]);
  add("iterates", cell.path[seed]);
  cell.flows.forEach((flow, i) => {
    add(`${flow} centre`, cell.flowPath[seed][i]);
    add(`${flow} half-extent`, cell.rodPath[seed][i]);
  });
  const rows = cell.time.map((_, i) => columns.map(([, values]) => values[i] ?? ""));
  return csv([columns.map(([name]) => name), ...rows]);
}
