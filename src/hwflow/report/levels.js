"use strict";
// The page on levels: two charts of all plans, for the metric and the stand-in that are chosen.
const hwflowLevels = (() => {
  const { COLORS, si, plain, axis, layout, units } = hwflowFigures.tools;

  const reach = (values) => {
    const low = Math.min(...values), high = Math.max(...values), pad = 0.06 * (high - low || high || 1);
    return [low - pad, high + pad];
  };

  const scatter = (report, metric, level, stand) => {
    const x = report[level][stand.id], y = report.fine[metric.id], same = stand.id === metric.id, front = report.front[metric.id];
    const texts = x.map((value, row) => `Fine ${si(y[row], metric.unit)}<br>${level} ${plain(stand.name)} ${si(value, stand.unit)}<br>change ${report.change[row].toFixed(2)}${front[row] ? "<br>on Fine's front" : ""}`);
    const won = x.map((value, row) => row).filter((row) => front[row]);
    const data = [
      { type: "scatter", mode: "markers", x, y, text: texts, hovertemplate: "%{text}<extra></extra>", showlegend: false, marker: { size: 6, opacity: 0.75, color: report.change, colorscale: "Cividis", reversescale: true, colorbar: { title: { text: "change", side: "right" }, thickness: 10, len: 0.95, outlinewidth: 0 } } },
      { type: "scatter", mode: "markers", x: won.map((row) => x[row]), y: won.map((row) => y[row]), hoverinfo: "skip", showlegend: false, marker: { symbol: "circle-open", size: 12, color: COLORS.chosen, line: { width: 2 } } },
    ];
    if (same) {
      const ends = [Math.min(...x, ...y), Math.max(...x, ...y)];
      data.unshift({ type: "scatter", mode: "lines", x: ends, y: ends, hoverinfo: "skip", showlegend: false, line: { dash: "dash", color: COLORS.before, width: 1.5 } });
    }
    return { data, layout: layout({ height: 420, margin: { l: 60, r: 8, t: 14, b: 48 }, xaxis: axis(`${level} ${plain(stand.name)}`, { ...units(stand), range: reach(x) }), yaxis: axis(`fine ${plain(metric.name)}`, { ...units(metric), range: reach(y) }) }) };
  };

  return { scatter };
})();

if (typeof document !== "undefined") {
  const { byId, draw } = hwflowParts, report = hwflowParts.report();
  const chosen = (id, entries) => entries.find((entry) => entry.id === byId(id).value);

  const drawAll = () => {
    const metric = chosen("metric", report.metrics), stand = chosen("stand-in", report.counts) || metric;
    draw("chart-mid", hwflowLevels.scatter(report, metric, "mid", metric));
    draw("chart-coarse", hwflowLevels.scatter(report, metric, "coarse", stand));
  };

  report.metrics.forEach((metric) => byId("metric").add(new Option(metric.name, metric.id)));
  [...report.counts, { id: "own", name: "its own figure" }].forEach((stand) => byId("stand-in").add(new Option(stand.name, stand.id)));
  byId("stand-in").value = "bit_ops";
  ["metric", "stand-in"].forEach((id) => byId(id).addEventListener("change", drawAll));
  drawAll();
  hwflowParts.follow(() => {}, drawAll, ["chart-mid", "chart-coarse"]);
}
