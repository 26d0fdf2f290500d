// The tabs Budget and Tokens: sends the actions of their buttons.
const STARTS = ["known", "session", "labels", "read"];
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (!button || button.disabled) return;
  const { action, value = "" } = button.dataset;
  if (action === "stop") return trigger("clear", {});
  if (STARTS.includes(action)) button.disabled = true; // until the server's answer replaces it
  trigger(STARTS.includes(action) ? "submit" : "input", { action, value });
});
