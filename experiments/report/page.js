"use strict";
// Draws the panels of a cell when its section comes near the view, the curves being in #data.

const DATA = JSON.parse(document.getElementById("data").textContent);
const FONT = { family: "system-ui, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif" };
const MODES = [["largest", "#000", 1.4], ["second", "#777", 1.1], ["further", "#b4b4b4", 1]];
const PANEL = 150, GAP = 36, BOTTOM = 44, NARROW = 700; // pixels
const room = (plot) => (plot.clientWidth < NARROW ? 124 : 66); // room for the legend

// The library is packed: four fifths of the page would be it.
async function unpacked(id) {
  const text = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}
const READY = unpacked("plotly").then((source) => {
  const script = document.createElement("script");
  script.textContent = source;
  document.head.append(script);
});

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
  const thick = (y) => ({ y, name: "iterates", legendgroup: "iterates", showlegend: false,
                          line: { color: "rgba(0,0,0,.38)", width: 5 } });
  const modes = cell.sharpness[seed].map((y, i) => {
    const [name, color, width] = MODES[Math.min(i, 2)];
    return { y, name, line: { color, width }, showlegend: false };
  });
  const named = modes.slice(0, 3).map(({ name, line }) =>
    `<span style="color:${line.color}">${name}</span>`).join(", ");
  const floor = cell.floor ? [{ y: cell.floor[seed], name: "floor (set by rounding)",
    line: { color: "#7f7f7f", width: 1.5, dash: "dot" } }] : [];
  const spread = Math.max(...cell.mean[seed]) / Math.min(...cell.mean[seed].filter((y) => y > 0));
  const found = [
    ["Training loss", spread > 10 ? "log" : "linear", [...iterates, ...flows(cell.flowLoss, true)]],
    [`Effective sharpness, edge at 1: ${named}`, "linear", modes],
    ["Distance to the iterates", "log", [...flows(cell.distance, false), ...floor]],
    ["Oscillation: iterates, and half-length of the rod", "log",
      [...(cell.oscillation ? [thick(cell.oscillation[seed])] : []), ...flows(cell.extent, false)]],
  ];
  if (cell.alternating) {
    found.push(["Gradient norm", "log",
      [thick(cell.alternating[seed]), ...flows(cell.flowAlternating, false)]]);
  } else if (cell.gradient) {
    found.push(["Gradient norm of the iterates", "log", [thick(cell.gradient[seed])]]);
  }
  if (cell.variance) {
    const rod = cell.flows.indexOf("rod"), { color } = DATA.styles.rod, x = cell.time;
    const along = (i, opacity) => [
      { ...thick(cell.variance[seed][i]), x, opacity, name: `iterates, ${MODES[i][0]}` },
      { x, y: cell.rodVariance[seed][rod][i], opacity, showlegend: false,
        name: `rod flow, ${MODES[i][0]}`, line: { color, width: i ? 1 : 1.7 } }];
    found.push(["Variance along both modes, pale: the second", "log",
      [...along(1, 0.45), ...along(0, 1)]]);
  }
  const drawn = (trace) => trace.y.some((y) => y !== null);
  return found.map(([title, type, traces]) => ({ title, type, traces: traces.filter(drawn) }));
}

// Whole powers of ten where there are enough of them, else 1, 2, 5, else equal steps.
function logarithmicTicks(traces) {
  const values = traces.flatMap(({ y }) => y.filter((value) => value > 0));
  const [low, high] = values.reduce(([least, most], y) => [Math.min(least, y), Math.max(most, y)],
                                    [Infinity, 0]);
  const decades = Math.log10(high / low);
  if (decades > 1.5) return { dtick: Math.ceil(decades / 4) };
  if (decades > 0.9) return { dtick: "D2", tickformat: ".1~g" };
  const rough = (high - low) / 3 || high, unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
  return { dtick: `L${step}`, tickformat: ".3~g" };
}

// One plot with the panels below each other: they share the x axis, so also zoom and hover line.
function figure(cell, seed, plot) {
  const TOP = room(plot);
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
    const suffix = i ? String(i + 1) : "", edge = 1 - i * (PANEL + GAP) / inner;
    for (const trace of own) {
      traces.push({ type: "scatter", mode: cell.steps.length > 1 ? "lines" : "markers",
                    x: cell.steps, xaxis: "x", yaxis: `y${suffix}`, connectgaps: false,
                    hovertemplate: "%{y:.4~g}", ...trace });
    }
    layout[`yaxis${suffix}`] = {
      type, domain: [Math.max(0, edge - PANEL / inner), edge], exponentformat: "power",
      ...(type === "log" ? logarithmicTicks(own) : { nticks: 5 }),
      showline: true, linecolor: "#444", ticks: "outside", gridcolor: "#eee", zeroline: false,
      ...(type === "linear" ? { rangemode: "tozero" } : {}),
    };
    annotations.push({ text: `<b>${"abcdef"[i]}</b>  ${title}`, xref: "paper", yref: "paper", x: 0,
                       xanchor: "left", y: edge, yanchor: "bottom", yshift: 5, showarrow: false,
                       font: { size: 13 } });
  });
  return { traces, layout };
}

async function draw(section) {
  await READY;
  const plot = section.querySelector(".plot"), cell = DATA.cells[section.id];
  const seed = Number(section.querySelector(".seeds input:checked").value);
  const { traces, layout } = figure(cell, seed, plot);
  const options = { responsive: true, displaylogo: false,
                    toImageButtonOptions: { format: "svg", filename: section.id } };
  await Plotly.react(plot, traces, layout, options);
  if (cell.path) await drawPlane(section, cell, seed);
}

// The data of the panels, a line for each point.
function panelsAsCsv(cell, seed) {
  const lines = panels(cell, seed).flatMap(({ title, traces }) => traces.flatMap((trace) =>
    trace.y.map((y, i) => [title.replace(/<.*?>/g, ""), trace.name,
                           (trace.x || cell.steps)[i], y ?? ""])));
  return csv([["panel", "curve", "step", "value"], ...lines]);
}

function csv(rows) {
  const quoted = (value) => (/[",]/.test(value) ? `"${String(value).replace(/"/g, '""')}"` : value);
  return rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

function download(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
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
  const cell = DATA.cells[section.id], plot = section.querySelector(".plot");
  const count = 4 + Boolean(cell.alternating || cell.gradient) + Boolean(cell.variance);
  plot.style.minHeight = `${count * PANEL + (count - 1) * GAP + room(plot) + BOTTOM}px`;
  const seed = () => Number(section.querySelector(".seeds input:checked").value);
  section.querySelector(".seeds").addEventListener("change", () => draw(section));
  section.querySelector(".data-of-panels").addEventListener("click", () =>
    download(panelsAsCsv(cell, seed()), `${section.id}.csv`));
  if (cell.path) preparePlane(section, cell, seed);
  near.observe(section);
}
window.addEventListener("beforeprint", () => sections.forEach(draw));

document.getElementById("switch")?.addEventListener("change", (event) => {
  for (const part of document.querySelectorAll("[data-flow]")) {
    part.hidden = part.dataset.flow !== event.target.value;
  }
});
