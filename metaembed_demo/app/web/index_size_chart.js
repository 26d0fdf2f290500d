// The slider 'pages': computes the memory at every stop, with the texts and numbers of app/views/index_size_chart.py.
const UNITS = ["B", "KB", "MB", "GB", "TB"];
let moved = null; // the slider's value; must survive an answer of the server

function even(n) { // rounds halves to even, as Python does
  return n % 1 === 0.5 ? 2 * Math.round(n / 2) : Math.round(n);
}

function size(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < UNITS.length - 1) { bytes /= 1024; unit += 1; }
  const whole = bytes >= 10 || Number.isInteger(bytes);
  return `${whole ? even(bytes) : (even(bytes * 10) / 10).toFixed(1)} ${UNITS[unit]}`;
}

function many(pages) {
  return pages >= 1e6 ? `${Number((pages / 1e6).toPrecision(6))} million pages` : `${pages.toLocaleString("en")} pages`;
}

function draw() {
  const set = element.querySelector("[data-scale]");
  if (!set || moved === null) return;
  const { bytes, steps, axis, stops, names } = JSON.parse(set.dataset.scale);
  const slider = set.querySelector("input"), figure = set.closest("figure");
  const pages = steps[moved], sizes = bytes.map((each) => each * pages);
  slider.value = moved;
  slider.style.setProperty("--at", `${(moved / (steps.length - 1) * 100).toFixed(2)}%`);
  slider.setAttribute("aria-valuetext", many(pages));
  set.querySelector(".scale-pages").textContent = many(pages);
  const along = (each) => Math.max(0, Math.min(1, (Math.log10(each) - axis[0]) / (axis[1] - axis[0]))) * 100;
  figure.querySelectorAll(".scale-row").forEach((row, i) => {
    row.querySelector(".scale-dot").style.left = `${along(sizes[i]).toFixed(2)}%`;
    row.querySelector("b").textContent = size(sizes[i]);
  });
  const last = sizes.length - 1;
  figure.querySelector("h3").textContent =
    `${many(pages)} take ${size(sizes[0])} at ${names[0]} and ${size(sizes[last])} at ${names[last]}`;
  const data = JSON.parse(figure.dataset.json), [head] = JSON.parse(figure.dataset.rows);
  data.pages = pages;
  data.bytes = Object.fromEntries(stops.map((stop, i) => [stop, sizes[i]]));
  figure.dataset.json = JSON.stringify(data);
  figure.dataset.rows = JSON.stringify([head, ...stops.map((stop, i) => [stop, pages, bytes[i], sizes[i]])]);
}

element.addEventListener("input", (event) => {
  if (!event.target.closest("[data-scale]")) return;
  moved = Number(event.target.value);
  draw();
});

watch("value", draw);
