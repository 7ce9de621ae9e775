"use strict";
// The page: which network is selected, and the parts of the page that follow it.
(() => {
  const { byId, all, draw } = hwflowParts, report = hwflowParts.report();
  const POINTS = { all: null, 10: 0.1, 2: 0.02 };
  const WIDE = 0.15;
  const state = { selected: report.selected, cost: report.metrics[0], other: report.metrics[1] || report.metrics[0], focus: "all" };

  const best = () => {
    const known = report.trials.quality.filter((value) => value !== null);
    return report.quality.original !== null ? report.quality.original : known.length ? Math.max(...known) : null;
  };

  const floor = () => (POINTS[state.focus] === null || best() === null ? null : best() - POINTS[state.focus]);

  const BITS = [["chart-weight-bits", "weight_bits", "bits of weights"], ["chart-input-bits", "input_bits", "bits of activations"]];

  const drawBits = () => BITS.filter(([id]) => byId(id)).forEach(([id, key, what]) => {
    const { rows, numbers, columns } = hwflowBits.ofReport(report, state.cost, key);
    draw(id, hwflowBits.map(rows, columns, numbers, what));
  });

  const drawFront = () => {
    draw("chart-front", hwflowFigures.front(report, state.cost, state.selected, floor()));
    draw("chart-costs", hwflowFigures.costs(report, state.cost, state.other, state.selected, floor()));
    drawBits();
    const hidden = report.trials.quality.filter((value, row) => report.trials.front[row] && floor() !== null && value !== null && value < floor()).length;
    byId("focus-note").textContent = hidden ? `${hidden} ${hidden === 1 ? "network" : "networks"} of the front ${hidden === 1 ? "lies" : "lie"} below the range of the first chart: choose “everything” to see ${hidden === 1 ? "it" : "them"}.` : "";
  };

  const drawLayers = () => {
    hwflowParts.layers(report, state.selected);
    hwflowParts.energy(report, String(state.selected));
    const missing = state.selected !== null && !report.layers.after[String(state.selected)];
    byId("layers-note").textContent = missing ? `No costs by layer were kept for #${state.selected}; the charts show the original.` : "";
  };

  const drawMapping = () => hwflowParts.mapping(report, String(state.selected));

  const drawAll = () => {
    drawFront();
    drawLayers();
    drawMapping();
    if (report.roofline) draw("chart-roofline", hwflowFigures.roofline(report, state.selected));
    if (report.progress.length) draw("chart-progress", hwflowFigures.progress(report));
  };

  const put = (field, text, better) => all(`[data-field="${field}"]`).forEach((place) => {
    place.textContent = text;
    if (better === undefined) return;
    place.classList.toggle("better", better === true);
    place.classList.toggle("worse", better === false);
  });

  const write = () => {
    const network = report.networks[String(state.selected)];
    put("number", `#${state.selected}`);
    put("command", network.command);
    network.rows.forEach((row) => {
      put(`${row.id}.after`, row.after);
      put(`${row.id}.change`, row.change, row.better);
    });
    byId("network").value = String(state.selected);
    byId("said").textContent = "";
    all(".shortcuts button").forEach((button) => button.setAttribute("aria-pressed", String(Number(button.dataset.network) === state.selected)));
    all("#front-table tbody tr").forEach((row) => (Number(row.dataset.row) === state.selected ? row.setAttribute("aria-current", "true") : row.removeAttribute("aria-current")));
  };

  const select = (number) => {
    if (!report.networks[String(number)]) return;
    state.selected = Number(number);
    write();
    drawAll();
  };

  const options = (box, entries, chosen) => {
    entries.forEach(([value, text]) => box.add(new Option(text, value, value === chosen, value === chosen)));
  };

  const metric = (id) => report.metrics.find((m) => m.id === id);

  const controls = () => {
    const entries = report.metrics.map((m) => [m.id, m.name]);
    options(byId("cost-axis"), entries, state.cost.id);
    options(byId("other-axis"), entries, state.other.id);
    const won = report.trials.quality.filter((value, row) => report.trials.front[row] && value !== null);
    if (report.quality.share && best() !== null) {
      if (won.length && best() - Math.min(...won) > WIDE) state.focus = "10";
      options(byId("focus"), [["all", "everything"], ["10", "within 10 points of the original"], ["2", "within 2 points of the original"]], state.focus);
    } else {
      byId("focus-label").hidden = true;
    }
    const follow = (id, change) => byId(id).addEventListener("change", (event) => { change(event.target.value); drawFront(); });
    follow("cost-axis", (id) => { state.cost = metric(id); });
    follow("other-axis", (id) => { state.other = metric(id); });
    follow("focus", (value) => { state.focus = value; });
  };

  const clicks = () => {
    ["chart-front", "chart-costs"].forEach((id) => byId(id).on("plotly_click", (event) => {
      const point = event.points.find((p) => p.customdata !== undefined);
      if (point) select(point.customdata);
    }));
    BITS.filter(([id]) => byId(id)).forEach(([id]) => byId(id).on("plotly_click", (event) => select(event.points[0].customdata)));
    all("button[data-network]").forEach((button) => button.addEventListener("click", () => select(button.dataset.network)));
    if (byId("network")) byId("network").addEventListener("change", (event) => select(event.target.value));
  };

  const copy = async () => {
    const text = report.networks[String(state.selected)].command;
    try {
      await navigator.clipboard.writeText(text);
      byId("said").textContent = "Copied.";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(document.querySelector('[data-field="command"]'));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      byId("said").textContent = "Press Ctrl+C to copy the marked text.";
    }
  };

  const planFile = () => {
    const { plan } = report.networks[String(state.selected)];
    const values = Object.fromEntries(report.choices.map((choice, place) => [choice.name, choice.options[plan[place]]]));
    const { model, machine, level } = report;
    return JSON.stringify({ trial: state.selected, model, machine, level, plan, choices: values }, null, 2);
  };

  const download = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([planFile()], { type: "application/json" }));
    link.download = `plan-${state.selected}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const start = () => {
    controls();
    hwflowParts.explorer(report, drawMapping);
    drawAll();
    if (!report.progress.length) byId("chart-progress").textContent = "Too few evaluations for a curve.";
    clicks();
    hwflowParts.sorting("front-table");
    if (byId("copy")) {
      byId("copy").addEventListener("click", copy);
      byId("download").addEventListener("click", download);
      write();
    }
    hwflowParts.follow(drawLayers, drawAll, ["chart-front", "chart-costs", "chart-roofline", "chart-progress", "chart-energy-total", ...BITS.map(([id]) => id)].filter((id) => byId(id)));
  };

  start();
})();
