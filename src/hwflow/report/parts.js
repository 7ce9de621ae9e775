"use strict";
// What the pages share: drawing, sections on energy and mappings, tables that sort, printing.
const hwflowParts = (() => {
  const CONFIG = { responsive: true, displayModeBar: false };
  const PRINT_WIDTH = 690, PRINT_HEIGHT = 320;
  const byId = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const paper = { width: null };
  const holder = document.createElement("template");
  holder.innerHTML = "<svg></svg>";
  const SVG = holder.content.firstChild.namespaceURI;
  const own = ["chart-layers", "chart-energy"];

  const draw = (id, figure) => {
    const box = byId(id);
    if (!box) return;
    if (paper.width) {
      figure.layout.width = Math.min(figure.layout.width || paper.width, paper.width);
      if (!own.includes(id)) figure.layout.height = Math.min(figure.layout.height, PRINT_HEIGHT);
    }
    Plotly.react(box, figure.data, figure.layout, CONFIG);
  };

  // How wide a chart by layer is: the page, or more where there are many layers.
  const room = (id, layers) => {
    const free = paper.width || Math.max(320, byId(id).parentElement.clientWidth);
    return paper.width ? free : Math.max(free, 80 + 15 * layers);
  };

  const swatch = ([name, color]) => {
    const item = document.createElement("li"), square = document.createElement("span");
    square.className = "swatch";
    square.style.background = color;
    item.append(square, name);
    return item;
  };

  const legend = (id, entries) => byId(id).replaceChildren(...entries.map(swatch));

  const layers = (report, selected) => {
    const figure = hwflowFigures.byLayer(report, selected, room("chart-layers", report.layers.names.length));
    draw("chart-layers", figure);
    legend("layers-legend", figure.legend);
  };

  const energy = (report, key) => {
    if (!report.anatomy) return;
    legend("energy-legend", hwflowAnatomy.legend(report.anatomy));
    draw("chart-energy-total", hwflowAnatomy.energyTotal(report, key));
    draw("chart-energy", hwflowAnatomy.energyByLayer(report, key, room("chart-energy", report.anatomy.layers.length)));
  };

  const built = ([tag, attributes, ...children]) => {
    const made = document.createElementNS(SVG, tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    made.append(...children.map((child) => (Array.isArray(child) ? built(child) : child)));
    return made;
  };

  const mapping = (report, key) => {
    if (!report.anatomy) return;
    const side = byId("mapping-side"), wanted = side && side.value === "before" ? "before" : key;
    const found = report.anatomy.sides[wanted] || report.anatomy.sides.before, row = Number(byId("mapping-layer").value);
    const place = found ? found.maps[row] : null, missing = place === null || place === undefined;
    byId("mapping-note").textContent = missing ? "This network has no such layer." : report.anatomy.sides[wanted] ? "" : "No mappings were kept for this network; this is the original's.";
    byId("mapping-text").textContent = missing ? "" : report.anatomy.maps[place].text;
    byId("mapping-drawing").replaceChildren(...(missing ? [] : [built(hwflowAnatomy.mapping(report.anatomy, report.anatomy.maps[place]))]));
  };

  // Fill the list of layers, the slowest chosen; `changed` redraws.
  const explorer = (report, changed) => {
    if (!report.anatomy) return;
    const box = byId("mapping-layer"), sides = Object.values(report.anatomy.sides);
    report.anatomy.layers.forEach((name, row) => {
      if (sides.some((side) => side.maps[row] !== null)) box.add(new Option(name, row));
    });
    const times = report.layers.before.latency_s || [];
    const slowest = [...box.options].reduce((best, option) => ((times[option.value] || 0) > (times[best.value] || 0) ? option : best), box.options[0]);
    if (slowest) slowest.selected = true;
    box.addEventListener("change", changed);
    if (byId("mapping-side")) byId("mapping-side").addEventListener("change", changed);
  };

  const value = (row, column) => {
    const found = row.cells[column].dataset.value;
    return found === undefined ? Infinity : Number(found);
  };

  const sort = (table, heading, column) => {
    const body = table.tBodies[0], up = heading.getAttribute("aria-sort") !== "ascending", sign = up ? 1 : -1;
    [...heading.parentElement.cells].forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    [...body.rows].sort((a, b) => (value(a, column) < value(b, column) ? -sign : value(a, column) > value(b, column) ? sign : 0)).forEach((row) => body.append(row));
  };

  const sorting = (id) => {
    const table = byId(id);
    if (table) [...table.tHead.rows[0].cells].forEach((heading, column) => heading.addEventListener("click", () => sort(table, heading, column)));
  };

  // Redraw after the window has changed its width, and in the width of the paper for printing.
  const follow = (resized, drawAll, charts) => {
    let timer = 0;
    const printing = (width) => {
      paper.width = width;
      drawAll();
      charts.map(byId).forEach((box) => {
        if (box && box.data) Plotly.relayout(box, width ? { width, autosize: false } : { width: null, autosize: true });
      });
    };
    window.addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(resized, 150); });
    window.addEventListener("beforeprint", () => {
      all("details").forEach((box) => { box.open = true; });
      printing(PRINT_WIDTH);
    });
    window.addEventListener("afterprint", () => printing(null));
  };

  const report = () => JSON.parse(byId("report-data").textContent);

  return { byId, all, draw, layers, energy, mapping, explorer, sorting, follow, report };
})();
