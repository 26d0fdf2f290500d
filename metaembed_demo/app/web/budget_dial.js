// A slider over the stops: arrows, Home, End, click and drag. It moves before the server answers. Beside it a
// button for Auto, where each query sets its own.
const AUTO = "auto";
const button = () => element.querySelector(".auto-stop");
const slider = () => element.querySelector("[role=slider]");
const count = () => slider().querySelectorAll(".stop").length;
const PATIENCE_MS = 3000;
let wanted = null; // the last requested stop, until the server has drawn it
let sent = null; // the stop of the pending request
let sentAt = 0;
let played = false; // whether the landing moved it last
let pressed = false; // whether the button has the focus, which an answer may take away

function draw(stop) {
  const at = slider();
  const dial = element.querySelector(".dial");
  dial.classList.toggle("auto", stop === AUTO);
  button().setAttribute("aria-pressed", stop === AUTO);
  at.dataset.exact = stop === AUTO ? "0" : "1";
  if (stop === AUTO) return; // the thumb stays until the answer says what the query needed
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
  dial.classList.remove("free");
}

function go(stop) {
  const at = slider();
  stop = Math.max(0, Math.min(count() - 1, stop));
  const here = wanted ?? (at.dataset.exact === "1" ? Number(at.dataset.stop) : null);
  if (stop === here) return;
  choose(stop);
}

function choose(stop) {
  wanted = stop;
  draw(stop);
  send();
}

// Whether what the server has drawn is what was asked for last.
const shown = (at) => wanted === AUTO
  ? button().getAttribute("aria-pressed") === "true"
  : at.dataset.exact === "1" && Number(at.dataset.stop) === wanted;

// One request at a time; moves made meanwhile are merged into one, sent when the answer is drawn.
function send() {
  if (sent !== null && Date.now() - sentAt < PATIENCE_MS) return;
  sent = wanted;
  sentAt = Date.now();
  trigger("input", { stop: wanted, played });
}

watch("value", () => {
  sent = null;
  const at = slider();
  if (!at) return;
  if (pressed && document.activeElement === document.body) button().focus({ preventScroll: true });
  if (wanted === null) return;
  if (shown(at)) wanted = null;
  else {
    draw(wanted); // an answer to an earlier move must not pull the thumb back
    send();
  }
});

element.addEventListener("keydown", (event) => {
  if (!event.target.closest("[role=slider]")) return;
  const now = wanted === null || wanted === AUTO ? Number(slider().dataset.stop) : wanted;
  const to = {
    ArrowRight: now + 1, ArrowUp: now + 1, ArrowLeft: now - 1, ArrowDown: now - 1,
    PageUp: now + 1, PageDown: now - 1, Home: 0, End: count() - 1,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  played = !event.isTrusted;
  go(to);
});

element.addEventListener("click", (event) => {
  if (event.target.closest(".auto-stop")) choose(button().getAttribute("aria-pressed") === "true" ? count() - 1 : AUTO);
});
element.addEventListener("focusin", ({ target }) => { pressed = target === button(); });
element.addEventListener("focusout", (event) => { if (event.relatedTarget) pressed = false; });

const under = (event) => {
  const box = slider().getBoundingClientRect();
  return Math.floor(((event.clientX - box.left) / box.width) * count());
};
let dragging = false;
element.addEventListener("pointerdown", (event) => {
  if (!event.target.closest("[role=slider]") || event.button !== 0) return;
  dragging = true;
  played = false;
  slider().focus({ preventScroll: true, focusVisible: false });
  go(under(event));
});
addEventListener("pointermove", (event) => { if (dragging) go(under(event)); });
addEventListener("pointerup", () => { dragging = false; });
addEventListener("pointercancel", () => { dragging = false; });
