// At a first visit the page shows itself once: the first example is asked in the mode of its claim, and the dial goes
// from 1x1 to 16x64. These are the visitor's own controls and the server's answers; each step waits for its answer.
// Any input stops it.
(() => {
  const { first } = window.metaembed; // the tour ends with it
  const STOP_MS = 1200, LOOK_MS = 50;
  const INPUTS = ["keydown", "pointerdown", "touchstart", "wheel", "drop"];
  const find = (what) => document.querySelector(what);
  const field = () => find("#query textarea, #query input");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  if (!first.plays) return;

  let over = false, hint = null, asked = "";
  function end(event) {
    if (!event.isTrusted) return; // a step of its own
    over = true;
    const types = event.key?.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (types && event.target === field() && field().value === asked) field().select(); // what is typed replaces it
    hint?.remove();
    for (const name of INPUTS) removeEventListener(name, end, true);
  }
  for (const name of INPUTS) addEventListener(name, end, { capture: true, passive: true });

  // Resolves with what `look` finds; never once the visitor has taken over.
  const until = (look) => new Promise((go) => {
    const timer = setInterval(() => {
      const found = over || document.hidden ? null : look();
      if (over || found) clearInterval(timer);
      if (found) go(found);
    }, LOOK_MS);
  });
  function pause(ms) {
    const from = performance.now();
    return until(() => performance.now() - from >= ms);
  }
  const press = (key) => find("#dial [role=slider]").dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const names = () => [...document.querySelectorAll("#dial .stop .name")].map((each) => each.textContent);
  const drawn = (stop) => find("#dial-title b")?.textContent === names()[stop]; // by the server
  const answered = (question, stop) => {
    const { q, budget } = JSON.parse(find("#link [data-link]")?.dataset.link ?? "{}");
    return q === question && budget === names()[stop].replace("×", "x");
  };

  function ask(chip) {
    const box = field();
    box.value = asked = chip.dataset.query;
    box.dispatchEvent(new Event("input", { bubbles: true }));
    chip.click();
  }

  async function play() {
    await until(() => find("#results .state, #results .hit") && find("#dial [role=slider]"));
    const chip = find("#examples [data-mode]");
    if (!chip || !find("#results .state.ready") || field()?.value || !field()?.checkVisibility()) return;
    first.end();
    const tour = find("#tour .tour");
    if (tour) tour.hidden = true;
    const question = chip.dataset.query, last = names().length - 1, from = calm.matches ? last : 0;
    if (from !== last) {
      press("Home");
      await until(() => drawn(from));
    }
    ask(chip);
    await until(() => answered(question, from));
    for (let stop = from + 1; stop <= last; stop += 1) {
      await pause(STOP_MS);
      press("ArrowRight");
      await until(() => answered(question, stop));
    }
    // Below 900 pixels opening a hit scrolls to its page, away from the dial.
    const answer = find("#results .hit:has(.judged)");
    if (answer && !answer.hasAttribute("aria-current") && innerWidth >= 900) answer.click();
    await pause(from === last ? 0 : STOP_MS / 2);
    point();
  }

  function point() {
    const thumb = find("#dial .thumb");
    if (!thumb?.checkVisibility()) return;
    hint = Object.assign(document.createElement("div"), { id: "your-turn", role: "status", className: calm.matches ? "calm" : "" });
    hint.innerHTML =
      '<svg viewBox="0 0 24 24" width="30" height="30" aria-hidden="true"><path d="M9 11V4.5a1.5 1.5 0 0 1 3 0V10l5.6 ' +
      '1.2A2.5 2.5 0 0 1 19.5 14l-.9 5a3 3 0 0 1-3 2.5h-3.4a3 3 0 0 1-2.3-1.1L5.6 15a1.5 1.5 0 0 1 2.2-2L9 14z"/></svg>';
    hint.append(Object.assign(document.createElement("span"), { textContent: "Your turn: move the dial, or ask" }));
    const place = () => {
      const at = thumb.getBoundingClientRect(), width = hint.offsetWidth;
      hint.style.left = `${Math.max(8, Math.min(at.left + at.width / 2 - 22, innerWidth - width - 8))}px`;
      hint.style.top = `${find("#dial .slider").getBoundingClientRect().bottom}px`; // below the ranks
    };
    document.body.append(hint);
    place();
    addEventListener("resize", place);
    addEventListener("scroll", place, { passive: true });
  }

  const start = () => setTimeout(play);
  if (document.body) start(); else addEventListener("DOMContentLoaded", start);
})();
