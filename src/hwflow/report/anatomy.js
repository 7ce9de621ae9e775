"use strict";
// Inside the layers: energy by part, and a mapping as a tree of SVG elements. No DOM, no state.
const hwflowAnatomy = (() => {
  const { COLORS, si, plain, axis, layout, units, placed } = hwflowFigures.tools;
  const FIXED = { mac: "#0072b2", scratchpads: "#56b4e9", array: "#009e73", dram: "#d55e00", idle: "#a3a9b0" };
  const BUFFERS = ["#e69f00", "#cc79a7", "#8c564b", "#bcbd22"];
  const JOULES = { name: "energy", unit: "J" };

  const colors = (anatomy) => {
    const others = anatomy.parts.filter((part) => !FIXED[part.id]);
    return Object.fromEntries(anatomy.parts.map((part) => [part.id, FIXED[part.id] || BUFFERS[others.indexOf(part) % BUFFERS.length]]));
  };

  const legend = (anatomy) => anatomy.parts.map((part) => [part.name, colors(anatomy)[part.id]]);

  // The sides to draw: [key, name, pale].
  const shown = (report, key) => {
    const sides = report.anatomy.sides, found = [];
    if (sides.before) found.push(["before", report.single ? "" : "original", !report.single]);
    if (key !== "before" && sides[key]) found.push([key, `#${key}`, false]);
    return found;
  };

  const look = (color, pale) => ({ color, opacity: pale ? 0.4 : 1, line: { width: pale ? 1 : 0, color: COLORS.soft } });

  // Stacked bars by layer: the original on the left, the selected network on the right.
  const energyByLayer = (report, key, width) => {
    const { parts, layers, sides } = report.anatomy, color = colors(report.anatomy);
    const both = shown(report, key), share = 0.8 / both.length, data = [];
    both.forEach(([side, name, pale], place) => {
      const base = layers.map(() => 0), whole = layers.map((layer, row) => parts.reduce((sum, part) => sum + (sides[side].energy[part.id][row] || 0), 0));
      parts.forEach((part) => {
        const values = sides[side].energy[part.id].map((value) => value || 0);
        const texts = values.map((value, row) => `<b>${plain(layers[row])}</b>${name ? ` (${name})` : ""}<br>${plain(part.name)} ${si(value, "J")} of ${si(whole[row], "J")}`);
        data.push({
          type: "bar", name: part.name, x: layers.map((layer, row) => row), y: values, base: [...base], width: share, offset: -0.4 + place * share,
          marker: look(color[part.id], pale), hovertext: texts, hovertemplate: "%{hovertext}<extra></extra>",
        });
        values.forEach((value, row) => { base[row] += value; });
      });
    });
    const { bottom, xaxis } = placed(layers, width, "y");
    return { data, layout: layout({ height: 250 + bottom, width, barmode: "overlay", showlegend: false, margin: { l: 62, r: 12, t: 10, b: bottom }, xaxis, yaxis: axis("energy", { ...units(JOULES), nticks: 6, rangemode: "tozero", fixedrange: true }) }) };
  };

  // One bar for the original, one for the selected network.
  const energyTotal = (report, key) => {
    const { parts, sides } = report.anatomy, color = colors(report.anatomy);
    const both = shown(report, key).reverse();
    const whole = both.map(([side]) => parts.reduce((sum, part) => sum + sides[side].total[part.id], 0));
    const names = both.map(([, name], row) => `${name || "total"}, ${si(whole[row], "J")}`), longest = Math.max(...whole);
    const data = parts.map((part) => {
      const values = both.map(([side]) => sides[side].total[part.id]), shares = values.map((value, row) => (100 * value) / whole[row]);
      return {
        type: "bar", orientation: "h", name: part.name, y: names, x: values, textposition: "inside", insidetextanchor: "middle", textangle: 0,
        marker: { color: color[part.id], opacity: both.map(([, , pale]) => (pale ? 0.4 : 1)) },
        insidetextfont: { color: both.map(([, , pale]) => (pale || part.id === "idle" || part.id === "scratchpads" ? COLORS.ink : "#ffffff")) },
        text: shares.map((share, row) => (values[row] >= 0.04 * longest ? `${Math.round(share)} %` : "")),
        hovertext: values.map((value, row) => `${plain(part.name)} ${si(value, "J")}, ${shares[row].toFixed(1)} %`), hovertemplate: "%{hovertext}<extra></extra>",
      };
    });
    return { data, layout: layout({ height: 70 + 42 * both.length, barmode: "stack", showlegend: false, margin: { l: 120, r: 16, t: 6, b: 34 }, xaxis: axis("", { ...units(JOULES) }), yaxis: { automargin: true, fixedrange: true } }) };
  };

  // A tree is [tag, attributes, ...children]; a child is a tree or a text.
  const text = (x, y, words, more) => ["text", { x, y, "font-size": 12, fill: COLORS.ink, ...more }, words];
  const rect = (x, y, width, height, more) => ["rect", { x, y, width, height, ...more }];
  const soft = { fill: COLORS.soft, "font-size": 11 };

  const count = (value) => Math.round(value).toLocaleString("en-US");

  // Loops over the tiles of a level, outermost first.
  const nestWords = (nest) => {
    const loops = nest.loops.map(([loop, trips]) => `${loop} × ${trips}`).join(", ");
    if (!loops) return "one tile: the next level takes it whole";
    return `loops ${loops}${nest.stays ? `; ${nest.stays} stay inside` : ""}`;
  };

  const levelNames = (anatomy, map) => {
    const outer = anatomy.levels.slice(0, map.tiles.length - 1);
    return [...outer, "array, one pass", "one PE"];
  };

  const LEFT = 150, CELL = 62, ROW = 54;

  // Levels from DRAM inward as rows; a bar's length is the tile's share of the loop, on a log scale.
  const tileRows = (anatomy, map) => {
    const loops = anatomy.loops.map((loop, index) => [loop, index]).filter(([, index]) => map.dims[index] > 1);
    const sizes = [map.dims, ...map.tiles], names = levelNames(anatomy, map), drawn = [];
    loops.forEach(([loop, index], column) => {
      const x = LEFT + column * CELL;
      drawn.push(["g", {}, ["title", {}, `${loop.id}: ${loop.name}, ${map.dims[index]} in all`], text(x + 2, 16, loop.id, { "font-weight": 600 }), text(x + 16, 16, short(loop.name), soft)]);
    });
    sizes.forEach((tile, level) => {
      const y = 34 + level * ROW;
      drawn.push(text(0, y + 15, names[level], { "font-weight": 600 }));
      drawn.push(text(0, y + 29, level === 0 ? "whole layer" : level === sizes.length - 1 ? "tile it keeps" : level === sizes.length - 2 ? "tile of all PEs" : "tile it holds", soft));
      loops.forEach(([, index], column) => {
        const x = LEFT + column * CELL, size = tile[index], whole = map.dims[index];
        const length = Math.max(2, (CELL - 10) * (Math.log(size) / Math.log(whole)));
        drawn.push(rect(x, y + 3, CELL - 10, 18, { fill: "#f0f2f5" }));
        drawn.push(rect(x, y + 3, length, 18, { fill: size === whole ? "#9ecae1" : "#56b4e9" }));
        drawn.push(text(x + 4, y + 16, String(size)));
      });
      if (level < map.nests.length) drawn.push(text(LEFT, y + 40, `↓ ${nestWords(map.nests[level])}`, soft));
    });
    return { tree: ["g", {}, ...drawn], width: LEFT + Math.max(4, loops.length) * CELL, height: 34 + sizes.length * ROW };
  };

  const short = (name) => ({ "output channels": "out ch.", "input channels": "in ch.", "output rows": "rows", "output columns": "cols", "kernel rows": "k rows", "kernel columns": "k cols" })[name] || name;

  const product = (factors) => factors.reduce((whole, [, factor]) => whole * factor, 1);

  const axisWords = (factors, size, name) => {
    const spread = factors.map(([loop, factor]) => `${loop} ${factor}`).join(" × ");
    return `${spread ? `${spread} = ` : ""}${product(factors)} of ${size} ${name}`;
  };

  const SIDE = 230, MOST = 40;

  // The array as a grid: the used part is shaded, with a line wherever the first factor starts anew.
  const grid = (anatomy, map) => {
    const { rows, cols } = anatomy.array, used = [product(map.rows), product(map.cols)];
    const step = Math.min(SIDE / cols, SIDE / rows), w = cols * step, h = rows * step, top = 34;
    const drawn = [rect(0, top, w, h, { fill: "#f0f2f5", stroke: COLORS.soft }), rect(0, top, used[1] * step, used[0] * step, { fill: "#56b4e9" })];
    const lines = (total, across) => {
      if (total > MOST) return;
      for (let at = 1; at < total; at += 1) drawn.push(["path", { d: across ? `M0 ${top + at * step}h${w}` : `M${at * step} ${top}v${h}`, stroke: "#ffffff", "stroke-width": 1 }]);
    };
    lines(rows, true);
    lines(cols, false);
    const groups = (factors, total, across) => {
      if (factors.length < 2) return;
      for (let at = factors[0][1]; at < total; at += factors[0][1]) {
        drawn.push(["path", { d: across ? `M0 ${top + at * step}h${used[1] * step}` : `M${at * step} ${top}v${used[0] * step}`, stroke: "#0072b2", "stroke-width": 1.5 }]);
      }
    };
    groups(map.rows, used[0], true);
    groups(map.cols, used[1], false);
    drawn.push(text(0, 12, axisWords(map.cols, cols, "columns"), { "font-weight": 600 }), text(0, 27, axisWords(map.rows, rows, "rows"), { "font-weight": 600 }));
    const share = Math.round((100 * map.active_pes) / (rows * cols));
    drawn.push(text(0, top + h + 18, `${count(map.active_pes)} of ${count(rows * cols)} PEs work (${share} %)`), text(0, top + h + 34, `${Math.round(100 * map.utilization)} % of the peak rate over the whole time`, soft));
    return { tree: ["g", {}, ...drawn], width: Math.max(w, 250), height: top + h + 40 };
  };

  // Cycles of arithmetic and of each memory's port as bars of one scale; the longest is marked.
  const cycles = (anatomy, map) => {
    const named = { compute: "arithmetic", ends: "first and last" };
    const kinds = Object.entries(map.cycles), most = Math.max(...kinds.map(([, value]) => value), 1);
    const drawn = [text(0, 12, `${count(map.total_cycles)} cycles in all`, { "font-weight": 600 })];
    kinds.forEach(([id, value], row) => {
      const y = 24 + row * 22, binds = value === most, length = (120 * value) / most;
      drawn.push(text(0, y + 13, named[id] || partName(anatomy, id), binds ? { "font-weight": 600 } : {}));
      drawn.push(rect(92, y + 2, Math.max(1, length), 15, { fill: binds ? COLORS.chosen : COLORS.other }), text(98 + length, y + 14, count(value), soft));
    });
    return { tree: ["g", {}, ...drawn], width: 280, height: 24 + kinds.length * 22 };
  };

  // The bytes that pass each memory, by tensor.
  const bytes = (anatomy, map) => {
    const drawn = [text(0, 12, "Moved", { "font-weight": 600 })], rows = Object.entries(map.bytes);
    const kinds = Object.keys(rows[0][1]);
    kinds.forEach((kind, column) => drawn.push(text(92 + column * 66, 12, kind, soft)));
    rows.forEach(([memory, moved], row) => {
      drawn.push(text(0, 32 + row * 20, partName(anatomy, memory)));
      kinds.forEach((kind, column) => drawn.push(text(92 + column * 66, 32 + row * 20, si(moved[kind], "B"))));
    });
    return { tree: ["g", {}, ...drawn], width: 300, height: 24 + rows.length * 20 };
  };

  const partName = (anatomy, id) => (anatomy.parts.find((part) => part.id === id) || { name: id }).name;

  const GAP = 40;

  const mapping = (anatomy, map) => {
    const side = [cycles(anatomy, map), bytes(anatomy, map)], parts = [];
    let x = 0, height = 0;
    const put = (block, at, y) => { parts.push(["g", { transform: `translate(${at} ${y})` }, block.tree]); height = Math.max(height, y + block.height); };
    [tileRows(anatomy, map), grid(anatomy, map)].forEach((block) => { put(block, x, 0); x += block.width + GAP; });
    put(side[0], x, 0);
    put(side[1], x, side[0].height + 24);
    const width = x + 300;
    return ["svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "Tiles by level, the array and the cycles of the mapping" }, ...parts];
  };

  return { legend, energyByLayer, energyTotal, mapping };
})();
