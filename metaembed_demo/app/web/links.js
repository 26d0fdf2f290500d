// The address follows what is shown; two buttons copy it and the trace.
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
  set("hit", shown.q ? shown.hit : "");
  set("tab", shown.q ? selected("#evidence-tabs") : "", "alignment");
  set("room", selected("#rooms"), "search");
  return url;
}

let arrived = false; // until the server has answered, the address is the visitor's own
function follow() {
  if (arrived) history.replaceState(history.state, "", address());
}

watch("value", () => {
  arrived = true;
  requestAnimationFrame(follow);
});
document.addEventListener("click", (event) => {
  if (event.target.closest("[role=tab]")) setTimeout(follow, 50);
});
document.addEventListener("keyup", (event) => {
  if (event.target.closest("[role=tab]")) setTimeout(follow, 50);
});

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // no permission, or no secure context: the old way
    const field = document.createElement("textarea");
    field.value = text;
    field.style.position = "fixed";
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

element.addEventListener("click", async (event) => {
  const what = event.target.closest("[data-copy]")?.dataset.copy;
  if (!what) return;
  const text = what === "link" ? address().href : JSON.stringify(JSON.parse(box().dataset.trace), null, 1);
  const done = await copy(text);
  const without = JSON.parse(box().dataset.link).picture ? "Link copied, without the picture" : "Link copied";
  element.querySelector(".copied").textContent = !done ? "Copying is blocked here" : what === "link" ? without : "Trace copied";
});
