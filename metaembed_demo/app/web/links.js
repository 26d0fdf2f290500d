// Buttons that copy the link and the trace: at the query, and `data-copy` anywhere on the page.
const box = () => element.querySelector(".link");
let asked = null; // the button that waits for the trace

watch("value", () => {
  if (box()?.dataset.trace) copyTrace();
  window.metaembed.tell("shown");
});

const { copy } = metaembed;

// Said beside the button that was used.
function say(button, text) {
  const here = button?.isConnected && button.parentElement.querySelector(".copied");
  (here || element.querySelector(".copied")).textContent = text;
}

// The trace is made on demand, because it is larger than the rest of a search.
async function copyTrace() {
  const done = await copy(JSON.stringify(JSON.parse(box().dataset.trace), null, 1));
  say(asked, done ? "Trace copied" : "Copying is blocked here");
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button[data-copy]");
  if (!button || !box()) return;
  if (button.dataset.copy === "trace") {
    asked = button;
    return box().dataset.trace ? copyTrace() : trigger("submit", {});
  }
  const done = await copy(window.metaembed.address().href);
  const without = window.metaembed.shown().picture ? "Link copied, without the picture" : "Link copied";
  say(button, done ? without : "Copying is blocked here");
});
