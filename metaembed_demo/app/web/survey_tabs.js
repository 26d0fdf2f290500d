// The rooms Budget and Tokens: sends the actions of their buttons.
const STARTS = ["known", "session", "labels", "read", "ways"];
element.addEventListener("click", (event) => {
  if (event.target.closest("[data-decision]")) return copyDecision(event.target.closest("[data-decision]"));
  const button = event.target.closest("[data-action]");
  if (!button || button.disabled) return;
  const { action, value = "" } = button.dataset;
  if (action === "stop") return trigger("clear", {});
  if (STARTS.includes(action)) button.disabled = true; // until the server's answer replaces it
  trigger(STARTS.includes(action) ? "submit" : "input", { action, value });
});
element.addEventListener("change", ({ target }) => {
  if (target.dataset.set) trigger("input", { action: target.dataset.set, value: target.value });
});

async function copyDecision(button) {
  const done = await metaembed.copy(JSON.parse(button.dataset.decision));
  element.querySelector(".copied").textContent = done ? "Decision copied as Markdown" : "Copying is blocked here";
}
