"use strict";
// The page of several fronts: accuracy against one cost in shares, and the bits of one front.
const hwflowFronts = (() => {
  const { plain, axis, layout } = hwflowFigures.tools;
  const percent = (value, digits = 1) => `${(100 * value).toFixed(digits)} %`;

  // What the front keeps of these two axes: the best quality at each cost or less.
  const outline = (x, y) => {
    const rows = x.map((value, row) => row).sort((a, b) => x[a] - x[b] || y[b] - y[a]);
    let best = -Infinity;
    return rows.filter((row) => y[row] > best && ((best = y[row]), true));
  };

  // The accuracies within a quarter of the best; double-click shows the others.
  const range = (report) => {
    const all = report.fronts.flatMap((one) => one.quality), best = Math.max(...all), low = Math.max(Math.min(...all), best - 0.25);
    const pad = 0.05 * (best - low || 1);
    return [low - pad, best + pad];
  };

  const curves = (report, metric) => {
    const data = report.fronts.flatMap((one) => {
      const x = one.shares[metric.id], y = one.quality, kept = outline(x, y);
      const text = x.map((value, row) => `<b>${plain(one.name)}</b> #${one.number[row]}<br>accuracy ${percent(y[row], 2)}<br>${report.metrics.map((m) => `${plain(m.name)} ${percent(one.shares[m.id][row])}`).join("<br>")}`);
      return [
        { type: "scatter", mode: "markers", name: plain(one.name), x, y, text, hovertemplate: "%{text}<extra></extra>", showlegend: false, marker: { color: one.color, size: 7, opacity: 0.55 } },
        { type: "scatter", mode: "lines", name: plain(one.name), x: kept.map((row) => x[row]), y: kept.map((row) => y[row]), hoverinfo: "skip", showlegend: false, line: { color: one.color, width: 2, shape: "hv" } },
      ];
    });
    return {
      data,
      layout: layout({
        height: 430, margin: { l: 60, r: 12, t: 14, b: 48 },
        xaxis: axis(`${plain(metric.name)}, share of the network of highest bits`, { tickformat: ".0%" }), yaxis: axis("accuracy", { tickformat: ".3~p", range: range(report) }),
      }),
    };
  };

  const bits = (one, key, metric) => {
    const order = one.number.map((number, row) => row).sort((a, b) => one.shares[metric.id][a] - one.shares[metric.id][b]);
    const rows = { names: one[key].names, bits: one[key].bits.map((line) => order.map((row) => line[row])) };
    const texts = order.map((row) => `#${one.number[row]}: accuracy ${percent(one.quality[row], 2)}, ${plain(metric.name)} ${percent(one.shares[metric.id][row])}`);
    return hwflowBits.map(rows, texts, order.map((row) => one.number[row]), key === "weights" ? "bits of weights" : "bits of the tensor");
  };

  return { curves, bits };
})();

if (typeof document !== "undefined") {
  const { byId, draw } = hwflowParts, report = hwflowParts.report();
  const drawAll = () => {
    const [first, second] = report.metrics, one = report.fronts[Number(byId("front").value)];
    const metric = report.metrics.find((m) => m.id === byId("metric").value);
    draw("chart-first", hwflowFronts.curves(report, first));
    if (second) draw("chart-second", hwflowFronts.curves(report, second));
    [["chart-weights", "weights"], ["chart-activations", "activations"]].forEach(([id, key]) => {
      byId(id).parentElement.hidden = !one[key].names.length || !one.number.length;
      if (!byId(id).parentElement.hidden) draw(id, hwflowFronts.bits(one, key, metric));
    });
  };
  report.fronts.forEach((one, row) => byId("front").add(new Option(one.name, row)));
  report.metrics.forEach((metric) => byId("metric").add(new Option(metric.name, metric.id)));
  ["front", "metric"].forEach((id) => byId(id).addEventListener("change", drawAll));
  drawAll();
  hwflowParts.follow(() => {}, drawAll, ["chart-first", "chart-second", "chart-weights", "chart-activations"].filter((id) => byId(id)));
}
