"use strict";
// Draws the panels of a cell when its section comes near the view, the curves being in #data.

const DATA = JSON.parse(document.getElementById("data").textContent);
const FONT = { family: "system-ui, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif" };
const MODES = [["largest", "#000", 1.4], ["second", "#8c8c8c", 1.1], ["further", "#c4c4c4", 1]];
const PANEL = 150, GAP = 36, TOP = 66, BOTTOM = 44; // pixels

function panels(cell, seed) {
  const flows = (values, legend) => cell.flows.map((flow, i) => {
    const { label, color, dash } = DATA.styles[flow];
    return { y: values[seed][i], name: label, legendgroup: flow, showlegend: legend,
             line: { color, dash, width: 1.7 } };
  });
  const iterates = [
    { y: cell.loss[seed], name: "iterates", legendgroup: "iterates", showlegend: false,
      line: { color: "#d0d0d0", width: 1 } },
    { y: cell.mean[seed], name: "iterates (3-step average)", legendgroup: "iterates",
      line: { color: "rgba(0,0,0,.38)", width: 5 } },
  ];
  const modes = cell.sharpness[seed].map((y, i) => {
    const [name, color, width] = MODES[Math.min(i, 2)];
    return { y, name, line: { color, width }, showlegend: i < 3, legend: "legend2",
             legendgroup: name };
  });
  const floor = cell.floor ? [{ y: cell.floor[seed], name: "floor (set by rounding)",
    line: { color: "#7f7f7f", width: 1.5, dash: "dot" } }] : [];
  const spread = Math.max(...cell.mean[seed]) / Math.min(...cell.mean[seed].filter((y) => y > 0));
  const found = [
    ["Training loss", spread > 10 ? "log" : "linear", [...iterates, ...flows(cell.flowLoss, true)]],
    ["Effective sharpness (edge: 1)", "linear", modes],
    ["Distance to the iterates", "log", [...flows(cell.distance, false), ...floor]],
    ["Half-length of the rod", "log", flows(cell.extent, false)],
  ];
  if (cell.gradient) {
    const y = cell.gradient[seed];
    found.push(["Gradient norm of the iterates", "log",
      [{ y, name: "gradient norm", showlegend: false, line: { color: "#000", width: 1.2 } }]]);
  }
  const drawn = (trace) => trace.y.some((y) => y !== null);
  return found.map(([title, type, traces]) => ({ title, type, traces: traces.filter(drawn) }));
}

// Whole powers of ten where there are enough of them, else 1, 2, 5.
function logarithmicTicks(traces) {
  const logs = traces.flatMap(({ y }) => y.filter((value) => value > 0).map(Math.log10));
  const extremes = logs.reduce(([low, high], x) => [Math.min(low, x), Math.max(high, x)],
                               [Infinity, -Infinity]);
  const decades = extremes[1] - extremes[0];
  if (decades > 1.5) return { dtick: Math.ceil(decades / 4) };
  return decades > 0.4 ? { dtick: "D2" } : { nticks: 4 };
}

// One plot with the panels below each other: they share the x axis, so also zoom and hover line.
function figure(cell, seed) {
  const stack = panels(cell, seed), count = stack.length;
  const inner = count * PANEL + (count - 1) * GAP, height = inner + TOP + BOTTOM;
  const traces = [], annotations = [];
  const layout = {
    height, annotations, font: { ...FONT, size: 12, color: "#111" },
    modebar: { orientation: "v" },
    margin: { l: 64, r: 40, t: TOP, b: BOTTOM }, paper_bgcolor: "#fff", plot_bgcolor: "#fff",
    hovermode: "x unified", hoverlabel: { namelength: -1, bgcolor: "rgba(255,255,255,.93)" },
    uirevision: "kept", // zoom and hidden flows stay when the seed changes
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1 + 26 / inner, yanchor: "bottom" },
    xaxis: { anchor: `y${count > 1 ? count : ""}`, title: { text: "optimizer steps", standoff: 8 },
             unifiedhovertitle: { text: "step %{x}" },
             range: [0, cell.steps[cell.steps.length - 1]], showline: true, ticks: "outside",
             linecolor: "#444", showgrid: false, zeroline: false, showspikes: true,
             spikemode: "across", spikesnap: "data", spikethickness: 1, spikedash: "solid",
             spikecolor: "#888" },
    shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, yref: "y2", y0: 1, y1: 1,
               line: { color: "#7f7f7f", width: 1, dash: "dash" } }],
  };
  stack.forEach(({ title, type, traces: own }, i) => {
    const suffix = i ? String(i + 1) : "", top = 1 - i * (PANEL + GAP) / inner;
    for (const trace of own) {
      traces.push({ type: "scatter", mode: cell.steps.length > 1 ? "lines" : "markers",
                    x: cell.steps, xaxis: "x", yaxis: `y${suffix}`, connectgaps: false,
                    hovertemplate: "%{y:.4~g}", ...trace });
    }
    layout[`yaxis${suffix}`] = {
      type, domain: [Math.max(0, top - PANEL / inner), top], exponentformat: "power",
      ...(type === "log" ? logarithmicTicks(own) : { nticks: 5 }),
      showline: true, linecolor: "#444", ticks: "outside", gridcolor: "#eee", zeroline: false,
      ...(type === "linear" ? { rangemode: "tozero" } : {}),
    };
    annotations.push({ text: `<b>${"abcde"[i]}</b>  ${title}`, xref: "paper", yref: "paper", x: 0,
                       xanchor: "left", y: top, yanchor: "bottom", yshift: 5, showarrow: false,
                       font: { size: 13 } });
    if (i === 1) {
      layout.legend2 = { orientation: "h", x: 1, xanchor: "right", y: top, yanchor: "bottom" };
    }
  });
  return { traces, layout };
}

function draw(section) {
  const plot = section.querySelector(".plot");
  const seed = Number(section.querySelector(".seeds input:checked").value);
  const { traces, layout } = figure(DATA.cells[section.id], seed);
  const options = { responsive: true, displaylogo: false,
                    toImageButtonOptions: { format: "svg", filename: section.id } };
  return Plotly.react(plot, traces, layout, options);
}

// Of cells: sections of other studies have figures in place of panels, and no name.
const sections = [...document.querySelectorAll("section[id]")];
const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) {
      near.unobserve(target);
      draw(target);
    }
  }
}, { rootMargin: "600px" });

for (const section of sections) {
  // Room for the panels, so that a link to a later section leads to where it will be.
  const count = DATA.cells[section.id].gradient ? 5 : 4;
  section.querySelector(".plot").style.minHeight =
    `${count * PANEL + (count - 1) * GAP + TOP + BOTTOM}px`;
  section.querySelector(".seeds").addEventListener("change", () => draw(section));
  near.observe(section);
}
window.addEventListener("beforeprint", () => sections.forEach(draw));

document.getElementById("switch")?.addEventListener("change", (event) => {
  for (const part of document.querySelectorAll("[data-flow]")) {
    part.hidden = part.dataset.flow !== event.target.value;
  }
});
