// Keeps the page's URL in sync with the view; two buttons copy the link and the trace.
const box = () => element.querySelector(".link");
const slug = (text) => text.trim().toLowerCase().replaceAll(" ", "-");
const selected = (root) =>
  slug(document.querySelector(`${root} [role=tablist] [role=tab][aria-selected=true]`)?.textContent ?? "");

function address() {
  const url = new URL(location.href);
  const set = (name, value, plain) => {
    if (value && value !== plain) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  };
  const shown = JSON.parse(box()?.dataset.link || "{}");
  set("q", shown.q);
  set("budget", shown.q ? shown.budget : "");
  for (const name of ["only", "mode", "steps", "complement"]) set(name, shown.q ? shown[name] : "");
  url.searchParams.delete("language"); // of older links; `only` says it now
  set("hit", shown.q ? shown.hit : "");
  set("tab", shown.q ? selected("#evidence-tabs") : "", "alignment");
  set("room", selected("#rooms"), "search");
  return url;
}

let arrived = false; // the URL is not changed before the server's first answer
function follow() {
  if (arrived) history.replaceState(history.state, "", address());
}

watch("value", () => {
  arrived = true;
  if (box()?.dataset.trace) copyTrace();
  requestAnimationFrame(follow);
});
document.addEventListener("click", (event) => {
  if (event.target.closest("[role=tab]")) setTimeout(follow, 50);
});
document.addEventListener("keyup", (event) => {
  if (event.target.closest("[role=tab]")) setTimeout(follow, 50);
});

const { copy } = metaembed;
const say = (text) => { element.querySelector(".copied").textContent = text; };

// The trace is made on demand, because it is larger than the rest of a search.
async function copyTrace() {
  const done = await copy(JSON.stringify(JSON.parse(box().dataset.trace), null, 1));
  say(done ? "Trace copied" : "Copying is blocked here");
}

element.addEventListener("click", async (event) => {
  const what = event.target.closest("[data-copy]")?.dataset.copy;
  if (what === "trace") return box().dataset.trace ? copyTrace() : trigger("submit", {});
  if (what !== "link") return;
  const done = await copy(address().href);
  const without = JSON.parse(box().dataset.link).picture ? "Link copied, without the picture" : "Link copied";
  say(done ? without : "Copying is blocked here");
});
