"use strict";
// What is told in figures beside it, as lines. The colours are those of the page, whichever theme it has.
(() => {
  const draw = (place) => {
    const { x, series } = JSON.parse(place.dataset.plot);
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const line = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    const strokes = ["--accent", "--strong"];
    const short = x.length < 2 || x[x.length - 1] - x[0] < 2 * 86400;
    const when = (moment) => new Date(moment * 1000).toISOString().slice(...(short ? [11, 16] : [5, 10]));
    place.replaceChildren();
    return new uPlot({
      width: place.clientWidth,
      height: 240,
      axes: [{ ...line, values: (_, moments) => moments.map(when) }, line],
      series: [{ label: "From", value: (_, moment) => (moment === null ? "" : when(moment)) }, ...series.map((one, at) => ({ label: one.label, stroke: colour(strokes[at]), width: 2, points: { show: x.length < 40 } }))],
    }, [x, ...series.map((one) => one.y)], place);
  };
  const plots = new Map();
  const all = () => {
    for (const place of document.querySelectorAll("[data-plot]")) {
      if (plots.has(place)) plots.get(place).destroy();
      plots.set(place, draw(place));
    }
  };
  all();
  document.addEventListener("theme", all);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  addEventListener("resize", () => {
    for (const [place, plot] of plots) plot.setSize({ width: place.clientWidth, height: 240 });
  });
})();
