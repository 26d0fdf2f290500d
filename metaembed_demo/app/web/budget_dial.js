// A slider over five stops: arrows, Home, End, click and drag. It moves before the server answers.
const slider = () => element.querySelector("[role=slider]");
const PATIENCE_MS = 3000;
let wanted = null; // the last requested stop, until the server has drawn it
let sent = null; // the stop of the pending request
let sentAt = 0;

function draw(stop) {
  const at = slider();
  const stops = [...at.querySelectorAll(".stop")];
  at.style.setProperty("--at", stop);
  at.dataset.stop = stop;
  at.setAttribute("aria-valuenow", stop + 1);
  at.setAttribute("aria-valuetext", stops[stop].dataset.words);
  stops.forEach((each, i) => {
    each.classList.toggle("on", i <= stop);
    each.classList.toggle("here", i === stop);
  });
  at.querySelectorAll(".band").forEach((each, i) => each.classList.toggle("on", i <= stop));
  element.querySelector(".dial").classList.remove("free");
}

function go(stop) {
  const at = slider();
  stop = Math.max(0, Math.min(4, stop));
  const here = wanted ?? (at.dataset.exact === "1" ? Number(at.dataset.stop) : null);
  if (stop === here) return;
  wanted = stop;
  at.dataset.exact = "1";
  draw(stop);
  send();
}

// One request at a time; moves made meanwhile are merged into one, sent when the answer is drawn.
function send() {
  if (sent !== null && Date.now() - sentAt < PATIENCE_MS) return;
  sent = wanted;
  sentAt = Date.now();
  trigger("input", { stop: wanted });
}

watch("value", () => {
  sent = null;
  const at = slider();
  if (!at || wanted === null) return;
  if (at.dataset.exact === "1" && Number(at.dataset.stop) === wanted) wanted = null;
  else {
    draw(wanted); // an answer to an earlier move must not pull the thumb back
    send();
  }
});

element.addEventListener("keydown", (event) => {
  if (!event.target.closest("[role=slider]")) return;
  const now = wanted ?? Number(slider().dataset.stop);
  const to = {
    ArrowRight: now + 1, ArrowUp: now + 1, ArrowLeft: now - 1, ArrowDown: now - 1,
    PageUp: now + 1, PageDown: now - 1, Home: 0, End: 4,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  go(to);
});

const under = (event) => {
  const box = slider().getBoundingClientRect();
  return Math.floor(((event.clientX - box.left) / box.width) * 5);
};
let dragging = false;
element.addEventListener("pointerdown", (event) => {
  if (!event.target.closest("[role=slider]") || event.button !== 0) return;
  dragging = true;
  slider().focus({ preventScroll: true, focusVisible: false });
  go(under(event));
});
addEventListener("pointermove", (event) => { if (dragging) go(under(event)); });
addEventListener("pointerup", () => { dragging = false; });
addEventListener("pointercancel", () => { dragging = false; });
