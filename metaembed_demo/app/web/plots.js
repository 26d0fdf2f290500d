// Draws each [data-plot] (app/views/plot.py) with plotly when it comes into view, in the page's colours. plotly is
// fetched for the first one. Included once in <head>; it watches the document, so charts added later are drawn too.
(() => {
  const NARROW = 560, REACH = 20; // px: of charts, and from a point, as in plotly
  const drawn = new WeakMap(); // chart -> { box, of, width } of what is in it
  const opened = new WeakSet(); // tables that the visitor opened: an answer of the server would close them
  let library = null;

  function plotly() {
    library ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = document.querySelector("meta[name=plotly]").content;
      script.onload = () => done(window.Plotly);
      script.onerror = () => { library = null; failed(new Error("plotly could not be loaded")); };
      document.head.append(script);
    });
    return library;
  }

  // The theme

  function mixed(value) { // a color-mix(in srgb, #a N%, #b), which plotly does not read
    const parts = value.match(/^color-mix\(in srgb, (#\w{6}) (\d+)%, (#\w{6})\)$/);
    if (!parts) return value;
    const [a, b] = [parts[1], parts[3]].map((color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)));
    return `rgb(${a.map((each, i) => Math.round((each * parts[2] + b[i] * (100 - parts[2])) / 100)).join(", ")})`;
  }

  function resolved(value, style) { // with the colours of the mode in place of var(--name)
    if (typeof value === "string") return value.replace(/^var\((--[\w-]+)\)$/, (_, name) => mixed(style.getPropertyValue(name).trim()));
    if (Array.isArray(value)) return value.map((each) => resolved(each, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, resolved(each, style)]));
  }

  function template(style) {
    const axis = { // each chart says what is its own
      automargin: true, fixedrange: true, gridcolor: "var(--hair)", linecolor: "var(--edge)", showline: true, ticklabelstandoff: 4, ticks: "", zeroline: false,
      tickfont: { color: "var(--muted)" }, title: { font: { color: "var(--muted)", size: 13 }, standoff: 8 },
    };
    return resolved({
      layout: {
        font: { family: style.fontFamily, size: 13, color: "var(--muted)" }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        colorway: [1, 2, 3, 4, 5].map((i) => `var(--shade-${i})`), xaxis: { ...axis, showgrid: false }, yaxis: { ...axis, nticks: 6 }, barmode: "stack", bargap: 0.15, dragmode: false, hovermode: "closest",
        hoverlabel: { align: "left", bgcolor: "var(--paper)", bordercolor: "var(--edge)", font: { color: "var(--ink)", family: style.fontFamily, size: 13 }, namelength: -1 },
        legend: { orientation: "h", x: 0, xanchor: "left", y: 1, yanchor: "bottom", itemclick: false, itemdoubleclick: false, traceorder: "normal", font: { size: 13 } },
        margin: { l: 52, r: 8, t: 8, b: 40 }, separators: ".,",
      },
    }, style);
  }

  function put(layout, path, value) { // path as "annotations[0].text"
    const names = path.match(/\w+/g), last = names.pop();
    names.reduce((at, name) => (at[name] ??= {}), layout)[last] = value;
  }

  function figure(plot, width) {
    const style = getComputedStyle(plot), { data, layout, narrow } = resolved(JSON.parse(plot.dataset.plot), style);
    if (width < NARROW) for (const [path, value] of Object.entries(narrow)) put(layout, path, value);
    return { data, layout: { ...layout, template: template(style), width, autosize: false } };
  }

  // Drawing

  const now = (plot) => `${document.body.classList.contains("dark")} ${plot.dataset.plot}`;
  const stale = (plot) => drawn.get(plot).of !== now(plot) || drawn.get(plot).box.parentNode !== plot;

  function draw(plot) {
    const width = plot.clientWidth, before = drawn.get(plot);
    if (!width || !plot.dataset.plot || (before?.width === width && !stale(plot))) return;
    const box = before?.box ?? document.createElement("div"); // the server's answers empty the plot, not this
    const { data, layout } = figure(plot, width);
    if (box.parentNode !== plot || plot.childNodes.length > 1) plot.replaceChildren(box);
    window.Plotly.react(box, data, layout, { displayModeBar: false, responsive: false, showTips: false });
    if (!before) listen(plot, box);
    drawn.set(plot, { box, of: now(plot), width });
  }

  // The customdata of the point at the pointer. plotly's own event may name one that the pointer has left by now.
  function pressed(box, { clientX, clientY }) {
    const near = [...box.querySelectorAll(".point")].map((point) => {
      const { x, y, width, height } = point.getBoundingClientRect();
      return { far: Math.hypot(clientX - x - width / 2, clientY - y - height / 2), said: point.closest(".trace").__data__[0].trace.customdata?.[point.__data__.i] };
    });
    return near.filter(({ far, said }) => far < REACH && said !== undefined).sort((a, b) => a.far - b.far)[0]?.said;
  }

  function listen(plot, box) {
    const lines = () => box.querySelectorAll(".scatterlayer .trace");
    box.addEventListener("click", (event) => plot.closest("figure").querySelectorAll(".go")[pressed(box, event)]?.click());
    box.on("plotly_hover", ({ points: [point, ...others] }) => lines().forEach((each, i) => each.classList.toggle("plot-lit", !others.length && i === point.curveNumber)));
    box.on("plotly_unhover", () => lines().forEach((each) => each.classList.remove("plot-lit")));
  }

  async function show(plot) {
    try {
      await plotly();
      draw(plot);
    } catch (error) {
      console.error("The chart could not be drawn:", error);
      plot.textContent = "The chart could not be drawn. Its numbers are in the table.";
    }
  }

  const seen = new IntersectionObserver((entries) => entries.forEach((each) => each.isIntersecting && show(each.target)), { rootMargin: "200px" });
  const sized = new ResizeObserver((entries) => entries.forEach(({ target }) => drawn.has(target) && draw(target)));
  const known = new WeakSet();

  function look() {
    for (const plot of document.querySelectorAll("[data-plot]")) {
      if (drawn.has(plot) && stale(plot)) draw(plot); // before the next paint; what is hidden has no width
      if (known.has(plot)) continue;
      known.add(plot);
      seen.observe(plot);
      sized.observe(plot);
    }
    for (const table of document.querySelectorAll("figure .as-table:not([open])")) table.open = opened.has(table);
  }

  document.addEventListener("click", ({ target }) => {
    const table = target.closest?.("summary")?.parentElement;
    if (table?.matches(".as-table")) opened[table.open ? "delete" : "add"](table); // it is about to change
  }, true);

  // Arrow keys move between the buttons of a table.
  document.addEventListener("keydown", (event) => {
    const cell = event.target.closest?.(".go")?.parentElement, by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!cell || !by) return;
    event.preventDefault();
    const row = cell.parentElement, rows = row.parentElement.rows;
    rows[row.rowIndex - 1 + by[0]]?.cells[cell.cellIndex + by[1]]?.querySelector(".go")?.focus();
  });

  const start = () => {
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-plot", "open"] });
    new MutationObserver(look).observe(document.body, { attributes: true, attributeFilter: ["class"] }); // light or dark
    look();
  };
  if (document.body) start(); else addEventListener("DOMContentLoaded", start);

  // For figure_download.js: the figure with its title and texts under it, as a data URL.
  window.metaembedPlots = {
    async picture(plot, format, title, under, width = 1000) {
      const Plotly = await plotly(), { data, layout } = figure(plot, width), style = getComputedStyle(plot);
      const color = (name) => style.getPropertyValue(name).trim();
      const lines = under.flatMap((text) => wrapped(text, width / 6.5));
      const shift = 64, foot = 24 + 20 * lines.length; // px
      layout.template.layout.paper_bgcolor = getComputedStyle(document.body).backgroundColor;
      const { l = 52, r = 8, t = 8, b = 40 } = layout.margin ?? {};
      layout.margin = { l: l + 24, r: r + 24, t: t + shift, b: b + foot };
      layout.height += shift + foot;
      layout.title = { text: safe(title), x: 0, xref: "container", xanchor: "left", pad: { l: 24 }, y: 1, yref: "container", yanchor: "top", font: { size: 18, color: color("--ink") } };
      layout.title.pad.t = 24;
      layout.annotations = [...(layout.annotations ?? []), {
        text: lines.map(safe).join("<br>"), align: "left", showarrow: false, x: 0, xref: "paper", xanchor: "left", xshift: -l, y: 0, yref: "paper", yanchor: "top", yshift: -b - 8, font: { size: 13 },
      }];
      return Plotly.toImage({ data, layout }, { format, width, height: layout.height, scale: format === "png" ? 2 : 1 });
    },
  };
  const safe = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  function wrapped(text, most) {
    const lines = [""];
    for (const word of text.split(/\s+/)) {
      if (lines.at(-1).length + word.length > most) lines.push("");
      lines.push(`${lines.pop()} ${word}`.trim());
    }
    return lines;
  }
})();
