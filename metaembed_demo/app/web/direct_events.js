// Events that do not go through Gradio's queue, see server/direct_events.py. Gradio shows no error of such an event.
// Answers that overlap may also arrive in another order than the server gave them, and the older would stay.
(() => {
  const PATIENCE_MS = 2000, SHOWN_MS = 10000;
  const handed = new Set(); // the turns of the answers that the page has
  const waiting = new Map(); // turn -> what goes on when the page has that answer

  async function inTurn(answer) {
    const text = await answer.text(); // the whole answer: the next one must not overtake it
    const [turn, after] = ["x-turn", "x-after"].map((name) => Number(answer.headers.get(name)));
    if (after && !handed.has(after))
      await new Promise((go) => { waiting.set(after, go); setTimeout(go, PATIENCE_MS); });
    handed.add(turn);
    waiting.get(turn)?.();
    return new Response(text, answer);
  }

  function say(text) {
    document.getElementById("failure")?.remove();
    const shown = Object.assign(document.createElement("div"), { id: "failure", textContent: text, role: "alert" });
    shown.addEventListener("click", () => shown.remove());
    document.body.append(shown);
    setTimeout(() => shown.remove(), SHOWN_MS);
  }

  const send = window.fetch;
  window.fetch = async (...request) => {
    const answer = await send(...request);
    if (!String(request[0]?.url ?? request[0]).includes("/gradio_api/run/predict")) return answer;
    if (answer.ok) return inTurn(answer);
    const told = await answer.clone().json().catch(() => null);
    say(told?.error || `The server answered ${answer.status}. Try again.`);
    return answer;
  };
})();
