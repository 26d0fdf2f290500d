// The two free sliders. Gradio's own release event knows of no keys and may carry the value before the last
// one, so this script reads the sliders and sends them: one move at a time, the latest when it is answered.
const PATIENCE_MS = 3000;
const room = document.getElementById("free");
const read = () => [...room.querySelectorAll("input[type=range]")].map((each) => each.value).join("x");
let sent = null; // the budget that an answer is awaited for
let sentAt = 0;
let turn = 0;

function send() {
  if (sent !== null && Date.now() - sentAt < PATIENCE_MS) return;
  sent = read();
  sentAt = Date.now();
  trigger("input", { budget: sent, turn: ++turn });
}

room.addEventListener("change", () => setTimeout(send)); // after the number and its slider have met
watch("value", () => {
  const answered = sent;
  sent = null;
  if (answered !== null && answered !== read()) send();
});
