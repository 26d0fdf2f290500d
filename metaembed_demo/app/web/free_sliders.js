// The two free sliders. Gradio's release event ignores keys and may carry the previous value, so this script
// reads the sliders and sends one move at a time, always the latest.
const PATIENCE_MS = 3000;
const area = document.getElementById("free");
const STEPS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
const held = new Map(); // slider -> value set by arrow keys, because Gradio may restore an older value meanwhile
const sliders = () => [...area.querySelectorAll("input[type=range]")];
const read = () => sliders().map((each) => held.get(each) ?? each.value).join("x");
let sent = null; // the budget of the pending request
let sentAt = 0;
let turn = 0;

function send() {
  if (sent !== null && Date.now() - sentAt < PATIENCE_MS) return;
  sent = read();
  sentAt = Date.now();
  trigger("input", { budget: sent, turn: ++turn });
}

function put(slider, value) {
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}

area.addEventListener("keydown", (event) => {
  const slider = event.target, step = STEPS[event.key];
  if (slider.type !== "range" || !step) return;
  event.preventDefault();
  const to = (held.get(slider) ?? Number(slider.value)) + step;
  held.set(slider, Math.max(Number(slider.min), Math.min(Number(slider.max), to)));
  put(slider, held.get(slider));
  setTimeout(send);
});
area.addEventListener("input", (event) => { if (event.isTrusted) held.clear(); }); // moved by other means
area.addEventListener("change", () => setTimeout(send)); // after the number field and its slider are in sync
watch("value", () => {
  const answered = sent;
  sent = null;
  if (answered === null) return;
  if (answered !== read()) return send();
  held.forEach((value, slider) => { if (Number(slider.value) !== value) put(slider, value); });
  held.clear();
});
