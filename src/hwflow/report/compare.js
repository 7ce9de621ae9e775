"use strict";
// The page that compares searches: two charts of all contenders, a line and a band for each.
const hwflowCompare = (() => {
  const { plain, axis, layout } = hwflowFigures.tools;

  const told = (figure, value) => (figure.share ? `${(100 * value).toFixed(2)} %` : String(Number(value.toPrecision(4))));

  // The band: an unseen lower edge, and an upper edge that fills down to it.
  const band = (one, line, shape) => {
    const edge = { type: "scatter", mode: "lines", x: line.x, hoverinfo: "skip", showlegend: false, line: { width: 0, shape } };
    return [{ ...edge, y: line.low }, { ...edge, y: line.high, fill: "tonexty", fillcolor: `${one.color}2b` }];
  };

  const median = (figure, one, line, shape) => {
    const text = line.x.map((x, row) => {
      const [low, middle, high] = [line.low, line.middle, line.high].map((values) => told(figure, values[row]));
      return `<b>${plain(one.name)}</b>, ${x} evaluations<br>${plain(figure.name)} ${middle}${low === high ? "" : ` (${low} to ${high})`}`;
    });
    return {
      type: "scatter", mode: line.x.length > 1 ? "lines" : "markers", name: plain(one.name), x: line.x, y: line.middle, text, hovertemplate: "%{text}<extra></extra>", showlegend: false,
      line: { color: one.color, width: 2, shape, dash: one.dashed ? "dash" : "solid" }, marker: { color: one.color },
    };
  };

  // `key` is "quality" or "volume"; the best contender is drawn last, on top.
  const curves = (report, key) => {
    const figure = report[key], shape = key === "quality" ? "hv" : "linear", order = [...report.contenders].reverse();
    const format = figure.share ? { tickformat: ".3~p" } : { tickformat: "~g" };
    return {
      data: [...order.flatMap((one) => band(one, one[key], shape)), ...order.map((one) => median(figure, one, one[key], shape))],
      layout: layout({
        height: 420, margin: { l: 60, r: 12, t: 14, b: 48 },
        xaxis: axis("evaluations", { range: [0, 1.01 * report.evaluations] }), yaxis: axis(plain(figure.name), { range: figure.range, ...format }),
      }),
    };
  };

  return { curves };
})();

if (typeof document !== "undefined") {
  const { draw } = hwflowParts, report = hwflowParts.report();
  const drawAll = () => {
    draw("chart-quality", hwflowCompare.curves(report, "quality"));
    draw("chart-volume", hwflowCompare.curves(report, "volume"));
  };
  drawAll();
  hwflowParts.follow(() => {}, drawAll, ["chart-quality", "chart-volume"]);
}
