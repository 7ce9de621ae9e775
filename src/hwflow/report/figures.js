"use strict";
// Figures of the report: functions from plain data to what Plotly draws. No DOM, no state.
const hwflowFigures = (() => {
  // Okabe and Ito's palette, told apart with any colour vision.
  const COLORS = {
    before: "#a3a9b0", other: "#c3cbd4", front: "#0072b2", chosen: "#d55e00", ink: "#1c2530",
    soft: "#5b6673", grid: "#e4e8ec", weight: "#aa4499", input: "#009e73",
  };
  const BOUNDS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];
  const FONT = { family: "system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif", size: 12, color: COLORS.ink };
  const STEPS = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"], [1e-12, "p"]];

  const si = (value, unit) => {
    if (value === null || value === undefined) return "–";
    if (value === 0) return `0 ${unit}`.trim();
    const [scale, prefix] = STEPS.find((step) => Math.abs(value) >= step[0] * 0.9995) || STEPS[STEPS.length - 1];
    return `${Number((value / scale).toPrecision(3))} ${prefix}${unit}`.trim();
  };

  // Plotly reads a few tags and entities in its texts; names are shown as they are.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  const short = (name, length) => {
    if (name.length <= length) return plain(name);
    const tail = Math.ceil(length * 0.7);
    return plain(`${name.slice(0, length - tail - 1)}…${name.slice(-tail)}`);
  };

  const axis = (title, more) => ({
    title: { text: title, standoff: 8 }, gridcolor: COLORS.grid, zeroline: false, linecolor: COLORS.soft,
    ticks: "outside", tickcolor: COLORS.grid, automargin: true, ...more,
  });

  const layout = (more) => ({
    font: FONT, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
    hoverlabel: { bgcolor: "#ffffff", bordercolor: COLORS.soft, align: "left", font: { ...FONT, size: 13 } },
    margin: { l: 60, r: 16, t: 34, b: 48 },
    legend: { orientation: "h", x: 0, y: 1.01, xanchor: "left", yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    ...more,
  });

  // Ticks such as "20 µJ": the prefix is Plotly's, the unit ours.
  const units = (metric) => ({ tickformat: "~s", ticksuffix: plain(metric.unit) });

  const costAxis = (metric, more) => axis(plain(metric.name), { ...units(metric), ...more });

  const qualityAxis = (quality, more) => axis(plain(quality.name), { tickformat: quality.share ? ".3~p" : "~g", ...more });

  const showQuality = (quality, value) => {
    if (value === null) return "–";
    return quality.share ? `${(100 * value).toFixed(2)} %` : String(Number(value.toPrecision(4)));
  };

  const padded = (values, share = 0.05) => {
    const known = values.filter((value) => value !== null && value !== undefined);
    if (!known.length) return null;
    const low = Math.min(...known), high = Math.max(...known);
    const pad = (high - low || Math.abs(high) || 1) * share;
    return [low - pad, high + pad];
  };

  // One hover text per trial: number, quality, the costs of interest and mean bits.
  const hoverTexts = (report) => {
    const { trials, quality, metrics } = report;
    const named = metrics.filter((m) => report.objectives.includes(m.id) || ["dram_bytes", "model_bytes"].includes(m.id));
    return trials.number.map((number, row) => {
      const lines = [`<b>#${number}</b>${trials.front[row] ? "" : " (not on the front)"}`];
      lines.push(`${plain(quality.name)} ${showQuality(quality, trials.quality[row])}`);
      named.forEach((m) => lines.push(`${plain(m.name)} ${si(trials[m.id][row], m.unit)}`));
      const bits = (key) => (trials[key][row] === null ? "–" : trials[key][row].toFixed(1));
      lines.push(`bits: ${bits("weight_bits")} per parameter, ${bits("product_bits")} per operand`);
      return lines.join("<br>");
    });
  };

  const rowsWhere = (list, test) => list.map((value, row) => row).filter((row) => test(list[row], row));
  const take = (list, rows) => rows.map((row) => list[row]);

  // The trials as dots: x and y are columns; the first is pale, the rest strong.
  const dots = (report, x, y, texts, more) => {
    const { trials } = report;
    const lost = rowsWhere(trials.front, (on) => !on), won = rowsWhere(trials.front, (on) => on);
    const trace = (rows, name, marker) => ({
      type: "scatter", mode: "markers", name, x: take(x, rows), y: take(y, rows), text: take(texts, rows),
      customdata: take(trials.number, rows), hovertemplate: "%{text}<extra></extra>", marker,
    });
    return [
      trace(lost, "other networks tried", { color: COLORS.other, size: 6, opacity: 0.75 }),
      trace(won, "on the front", { color: COLORS.front, size: 9, line: { width: 1, color: "#fff" }, ...more(won) }),
    ];
  };

  const original = (report, x, y, lines) => ({
    type: "scatter", mode: "markers", name: "original", x: [x], y: [y], hovertemplate: `<b>original</b><br>${lines.join("<br>")}<extra></extra>`,
    marker: { symbol: "diamond", size: 12, color: COLORS.ink },
  });

  const ring = (report, selected, x, y) => {
    const row = report.trials.number.indexOf(selected);
    return {
      type: "scatter", mode: "markers", name: "selected", hoverinfo: "skip", visible: row >= 0,
      x: row < 0 ? [] : [x[row]], y: row < 0 ? [] : [y[row]],
      marker: { symbol: "circle-open", size: 17, color: COLORS.chosen, line: { width: 3 } },
    };
  };

  // The best quality at each cost or less: the outline of the dots in this projection.
  const outline = (x, y) => {
    const rows = rowsWhere(x, (value, row) => value !== null && y[row] !== null).sort((a, b) => x[a] - x[b] || y[b] - y[a]);
    let best = -Infinity;
    const kept = rows.filter((row) => y[row] > best && ((best = y[row]), true));
    return {
      type: "scatter", mode: "lines", x: take(x, kept), y: take(y, kept), hoverinfo: "skip", showlegend: false,
      line: { color: COLORS.front, width: 1, shape: "hv" }, opacity: 0.6,
    };
  };

  const front = (report, metric, selected, floor) => {
    const { trials, quality } = report;
    const x = trials[metric.id], y = trials.quality;
    const traces = [outline(x, y), ...dots(report, x, y, hoverTexts(report), () => ({}))];
    const visible = rowsWhere(y, (value) => value !== null && (floor === null || value >= floor));
    const xs = take(x, visible), ys = take(y, visible);
    if (quality.original !== null) {
      const lines = [`${plain(quality.name)} ${showQuality(quality, quality.original)}`, `${plain(metric.name)} ${si(report.before[metric.id], metric.unit)}`];
      traces.push(original(report, report.before[metric.id], quality.original, lines));
      xs.push(report.before[metric.id]);
      ys.push(quality.original);
    }
    traces.push(ring(report, selected, x, y));
    return {
      data: traces,
      layout: layout({
        height: 430, xaxis: costAxis(metric, { range: padded(xs) || undefined }),
        yaxis: qualityAxis(quality, { range: padded(ys) || undefined }),
      }),
    };
  };

  const costs = (report, across, up, selected, floor) => {
    const { trials, quality } = report;
    const x = trials[across.id], y = trials[up.id];
    const shown = take(trials.quality, rowsWhere(trials.front, (on) => on)).filter((v) => v !== null);
    const low = Math.max(Math.min(...shown), floor === null ? -Infinity : floor), high = Math.max(...shown);
    const marker = (rows) => ({
      color: take(trials.quality, rows), colorscale: "Cividis", cmin: low, cmax: high, size: 10,
      colorbar: { title: { text: plain(quality.name), side: "right" }, thickness: 12, len: 0.95, tickformat: quality.share ? ".3~p" : "~g", outlinewidth: 0 },
    });
    const traces = dots(report, x, y, hoverTexts(report), shown.length ? marker : () => ({}));
    const lines = [across, up].map((m) => `${plain(m.name)} ${si(report.before[m.id], m.unit)}`);
    traces.push(original(report, report.before[across.id], report.before[up.id], lines));
    traces.push(ring(report, selected, x, y));
    return { data: traces, layout: layout({ height: 430, showlegend: false, xaxis: costAxis(across), yaxis: costAxis(up), margin: { l: 60, r: 8, t: 34, b: 48 } }) };
  };

  const boundColors = (report) => {
    const sides = [report.layers.before, ...Object.values(report.layers.after)];
    const seen = new Set(sides.flatMap((side) => side.bound_by).filter((bound) => bound && bound !== "free"));
    const usual = ["compute", "dram", "port"], others = [...seen].filter((bound) => !usual.includes(bound)).sort();
    const colors = Object.fromEntries([...usual, ...others].map((name, index) => [name, BOUNDS[index % BOUNDS.length]]).filter(([name]) => seen.has(name)));
    return { ...colors, free: COLORS.other };
  };

  const boundName = (bound) => ({ compute: "limited by arithmetic", port: "limited by a buffer's port", dram: "limited by off-chip memory", free: "no cost", measured: "measured" })[bound] || `limited by ${plain(bound)}`;

  const bar = (name, x, y, yaxis, color, group, texts) => ({
    type: "bar", name, x, y, yaxis, offsetgroup: group, alignmentgroup: "all", hovertext: texts, hovertemplate: "%{hovertext}<extra></extra>",
    marker: { color },
  });

  const bitRow = (layers, side, x, yaxis, whose) => {
    const cell = (bits) => (bits === null ? null : bits > 16 ? layers.native_bits : bits);
    const words = (bits) => (bits > 16 ? `float (costed at ${layers.native_bits} bits)` : `${bits} bits`);
    const kinds = [["weight bits", "weight_bits", COLORS.weight, "before"], ["activation bits", "input_bits", COLORS.input, "after"]];
    return kinds.map(([name, key, color, group]) => {
      const texts = side[key].map((bits, row) => `<b>${plain(layers.names[row])}</b><br>${name} of ${whose}: ${bits === null ? "none" : words(bits)}`);
      return bar(name, x, side[key].map(cell), yaxis, color, group, texts);
    });
  };

  const bitTitle = (layers, single) => {
    const used = layers.before.weight_bits.concat(layers.before.input_bits).filter((bits) => bits !== null);
    return used.every((bits) => bits > 16) ? `bits (${single ? "" : "the original is "}float, costed at ${layers.native_bits})` : "bits";
  };

  const costRow = (report, metric, after, x, yaxis) => {
    const { layers } = report, colors = boundColors(report), side = after || layers.before;
    const old = layers.before[metric.id], now = after ? after[metric.id] : report.single ? old : null;
    const texts = layers.names.map((name, row) => {
      const lines = [`<b>${plain(name)}</b>${layers.before.op[row] ? ` (${plain(layers.before.op[row])})` : ""}`];
      lines.push(`${report.single ? "" : "original: "}${plain(metric.name)} ${si(old[row], metric.unit)}`);
      if (after) lines.push(`selected: ${plain(metric.name)} ${si(now[row], metric.unit)}`);
      if (now && side.bound_by[row]) lines.push(boundName(side.bound_by[row]));
      return lines.join("<br>");
    });
    const traces = report.single ? [] : [bar("original", x, old, yaxis, COLORS.before, "before", texts)];
    Object.keys(colors).filter((bound) => bound !== "free").forEach((bound) => {
      const ys = (now || []).map((value, row) => (side.bound_by[row] === bound ? value : null));
      if (ys.some((value) => value !== null)) {
        traces.push(bar(boundName(bound), x, ys, yaxis, colors[bound], "after", texts));
      }
    });
    return traces;
  };

  // The axis of charts by layer, and the room its labels take.
  const placed = (names, width, anchor) => {
    const count = names.length, x = names.map((name, index) => index);
    const longest = Math.min(28, Math.max(6, ...names.map((n) => n.length)));
    const upright = width / Math.max(1, count) < 34;
    const every = Math.ceil((11 * count) / width), labelled = x.filter((row) => row % every === 0);
    return {
      bottom: 20 + longest * (upright ? 6.6 : 5.0),
      xaxis: {
        tickvals: labelled, ticktext: labelled.map((row) => short(names[row], 28)), tickangle: upright ? -90 : -45, range: [-0.6, count - 0.4],
        anchor, showgrid: false, zeroline: false, tickfont: { size: upright ? 10 : 11 }, fixedrange: count < 40,
      },
    };
  };

  // Bits on top, then one row per cost; all rows share the layers below them.
  const byLayer = (report, selected, width) => {
    const { layers } = report, rows = layers.metrics.length;
    const after = selected === null ? null : layers.after[String(selected)] || null;
    const metrics = layers.metrics.map((id) => report.metrics.find((m) => m.id === id) || { id, name: id, unit: "" });
    const x = layers.names.map((name, index) => index);
    const heights = [110, ...metrics.map(() => 150)], gap = 42;
    const { bottom, xaxis } = placed(layers.names, width, rows ? `y${rows + 1}` : "y"), top = 26;
    const inner = heights.reduce((a, b) => a + b, 0) + gap * rows;
    const traces = bitRow(layers, after || layers.before, x, "y", after ? `#${selected}` : report.single ? "this layer" : "the original");
    metrics.forEach((metric, row) => traces.push(...costRow(report, metric, after, x, `y${row + 2}`)));
    const made = layout({
      height: inner + bottom + top, width, margin: { l: 62, r: 12, t: top, b: bottom }, showlegend: false, barmode: "group", bargap: 0.25, bargroupgap: 0.05, annotations: [],
      xaxis,
    });
    let offset = 0;
    heights.forEach((height, row) => {
      const high = 1 - offset / inner, low = Math.max(0, 1 - (offset + height) / inner);
      const metric = metrics[row - 1];
      const title = metric ? plain(metric.name) : bitTitle(layers, report.single);
      const format = metric ? { ...units(metric), nticks: 5, rangemode: "tozero" } : { tickvals: [2, 4, 8, 16], range: [0, 17] };
      made[`yaxis${row ? row + 1 : ""}`] = { domain: [low, high], gridcolor: COLORS.grid, zeroline: true, zerolinecolor: COLORS.soft, fixedrange: true, ...format };
      made.annotations.push({ text: title, x: 0, xref: "paper", xanchor: "left", y: high, yref: "paper", yanchor: "bottom", showarrow: false, font: { size: 13, weight: 600 } });
      offset += height + gap;
    });
    const legend = Object.fromEntries(traces.map((trace) => [trace.name, trace.marker.color]));
    return { data: traces, layout: made, legend: Object.entries(legend) };
  };

  const roofLines = (roof, side, from, to, color, dash, name) => {
    const x = [], y = [];
    side.roofs.forEach(({ ops_per_s: top }) => {
      x.push(from, Math.max(from, top / roof.bits_per_s), Math.max(to, top / roof.bits_per_s), null);
      y.push(Math.min(top, from * roof.bits_per_s), top, top, null);
    });
    return { type: "scatter", mode: "lines", name, x, y, line: { color, dash, width: 2 }, hoverinfo: "skip" };
  };

  const spots = (report, side, costsOf, name, marker, bound) => {
    const rows = rowsWhere(side.spots, (spot, row) => spot !== null && (!bound || costsOf.bound_by[row] === bound));
    const texts = rows.map((row) => {
      const [x, y] = side.spots[row], why = costsOf.bound_by[row];
      return `<b>${plain(report.layers.names[row])}</b>, ${name}<br>${si(x, "ops")} per bit, ${si(y, "ops/s")}${why ? `<br>${boundName(why)}` : ""}`;
    });
    return {
      type: "scatter", mode: "markers", name: bound ? `${name}, ${boundName(bound)}` : name,
      x: rows.map((row) => side.spots[row][0]), y: rows.map((row) => side.spots[row][1]), text: texts, hovertemplate: "%{text}<extra></extra>", marker,
    };
  };

  const roofline = (report, selected) => {
    const roof = report.roofline, colors = boundColors(report);
    const after = selected === null ? null : roof.after[String(selected)] || null, sides = after ? [roof.before, after] : [roof.before];
    const ridges = sides.flatMap((side) => side.roofs.map((r) => r.ops_per_s / roof.bits_per_s));
    const known = sides.flatMap((side) => side.spots.filter((s) => s !== null).map((s) => s[0])).concat(ridges);
    const from = Math.min(...known) / 2.5, to = Math.max(...known) * 4;
    const traces = [roofLines(roof, roof.before, from, to, COLORS.before, after ? "dash" : "solid", report.single ? "roofs" : "roofs of the original")];
    if (after) traces.push(roofLines(roof, after, from, to, COLORS.ink, "solid", `roofs of #${selected}`));
    const oldLook = { color: "#ffffff", size: 8, line: { color: COLORS.soft, width: 1.5 } };
    if (!report.single) traces.push(spots(report, roof.before, report.layers.before, "original", oldLook));
    if (after || report.single) {
      const costsOf = after ? report.layers.after[String(selected)] : report.layers.before;
      Object.keys(colors).forEach((bound) => {
        const look = { color: colors[bound], size: 9, line: { color: "#fff", width: 1 } };
        const trace = spots(report, after || roof.before, costsOf, after ? `#${selected}` : "layers", look, bound);
        if (trace.x.length) traces.push(trace);
      });
    }
    const last = after || roof.before;
    const annotations = last.roofs.map((r) => ({
      text: `${si(r.ops_per_s, "ops/s")} at ${plain(r.label)}`, x: Math.log10(to), y: Math.log10(r.ops_per_s), xanchor: "right", yanchor: "bottom", showarrow: false, font: { size: 11, color: COLORS.soft },
    }));
    const log = (title, format) => axis(title, { type: "log", ...format, dtick: 1, minor: { ticks: "outside", tickcolor: COLORS.grid } });
    return { data: traces, layout: layout({ height: 430, annotations, xaxis: { ...log("operations per bit of off-chip traffic", { tickformat: "~g" }), range: [Math.log10(from), Math.log10(to)] }, yaxis: log("operations per second", { tickformat: "~s" }) }) };
  };

  const progress = (report) => {
    const x = report.progress.map((point) => point[0]), y = report.progress.map((point) => point[1]);
    const line = {
      type: "scatter", mode: x.length > 1 ? "lines" : "markers", x, y, fill: "tozeroy", fillcolor: "rgba(0,114,178,0.12)", line: { color: COLORS.front, width: 2, shape: "hv" },
      hovertemplate: "%{x} evaluations: %{y:.1%}<extra></extra>", showlegend: false,
    };
    return { data: [line], layout: layout({ height: 260, margin: { l: 60, r: 16, t: 12, b: 48 }, xaxis: axis("evaluations", { rangemode: "tozero" }), yaxis: axis("hypervolume", { tickformat: ".0%", range: [0, 1.02] }) }) };
  };

  return { front, costs, byLayer, roofline, progress, tools: { COLORS, si, plain, short, axis, layout, units, placed } };
})();
