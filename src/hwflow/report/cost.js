"use strict";
// The page of one network on one machine: charts, and the layer whose mapping is shown.
(() => {
  const { byId, all, draw } = hwflowParts, report = hwflowParts.report();

  const drawLayers = () => {
    hwflowParts.layers(report, null);
    hwflowParts.energy(report, "before");
  };

  const drawMapping = () => hwflowParts.mapping(report, "before");

  const drawAll = () => {
    drawLayers();
    drawMapping();
    if (report.roofline) draw("chart-roofline", hwflowFigures.roofline(report, null));
  };

  const show = (name) => {
    byId("mapping-layer").value = String(report.anatomy.layers.indexOf(name));
    drawMapping();
    byId("mapping-title").scrollIntoView({ behavior: "smooth" });
  };

  hwflowParts.explorer(report, drawMapping);
  drawAll();
  hwflowParts.sorting("layer-table");
  all("button[data-layer]").forEach((button) => button.addEventListener("click", () => show(button.dataset.layer)));
  hwflowParts.follow(drawLayers, drawAll, ["chart-roofline", "chart-energy-total"]);
})();
