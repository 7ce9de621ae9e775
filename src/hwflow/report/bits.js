"use strict";
// Heat maps of bits: a row per layer or tensor in the order they run, a column per network of a front.
const hwflowBits = (() => {
  const { plain, short, axis, layout } = hwflowFigures.tools;
  const SCALE = "Viridis";

  // `rows` has names and bits (rows x columns, null where there is none); `columns` are texts.
  const map = (rows, columns, numbers, what) => {
    const known = rows.bits.flat().filter((bits) => bits !== null);
    const low = Math.min(...known), high = Math.max(...known, low + 1), longest = Math.max(...rows.names.map((name) => Math.min(24, name.length)));
    const texts = rows.bits.map((line, row) => line.map((bits, column) => `<b>${plain(rows.names[row])}</b><br>${what}: ${bits === null ? "none" : bits}<br>${columns[column]}`));
    return {
      data: [{
        type: "heatmap", z: rows.bits, x: columns.map((text, column) => column), y: rows.names.map((name, row) => row), text: texts, customdata: rows.names.map(() => numbers),
        hovertemplate: "%{text}<extra></extra>", colorscale: SCALE, zmin: low, zmax: high, xgap: columns.length > 60 ? 0 : 1, ygap: 1,
        colorbar: { title: { text: "bits", side: "right" }, thickness: 10, len: 0.95, outlinewidth: 0, tickformat: "d", nticks: Math.min(9, high - low + 1) },
      }],
      layout: layout({
        height: 90 + Math.max(8, rows.names.length) * 15, margin: { l: 14 + 6 * longest, r: 8, t: 10, b: 44 },
        xaxis: axis("networks of the front, cheapest first", { showticklabels: false, showgrid: false, ticks: "", fixedrange: true }),
        yaxis: { tickvals: rows.names.map((name, row) => row), ticktext: rows.names.map((name) => short(name, 24)), autorange: "reversed", showgrid: false, zeroline: false, tickfont: { size: 10 }, fixedrange: true },
      }),
    };
  };

  // Of a search's report: the networks of the front in the order of a cost.
  const ofReport = (report, metric, key) => {
    const { layers, trials } = report;
    const order = trials.number.map((number, row) => row).filter((row) => layers.after[String(trials.number[row])]).sort((a, b) => trials[metric.id][a] - trials[metric.id][b]);
    const numbers = order.map((row) => trials.number[row]), sides = numbers.map((number) => layers.after[String(number)]);
    const kept = layers.names.map((name, row) => row).filter((row) => layers.before.weight_bits[row] !== null);
    const cell = (bits) => (bits === null || bits > 16 ? null : bits);
    const rows = { names: kept.map((row) => layers.names[row]), bits: kept.map((row) => sides.map((side) => cell(side[key][row]))) };
    return { rows, numbers, columns: order.map((row) => `network #${trials.number[row]}`) };
  };

  return { map, ofReport };
})();
