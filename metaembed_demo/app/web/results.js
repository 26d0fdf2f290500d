element.addEventListener("click", (event) => {
  const action = event.target.closest("[data-action]");
  if (action) return trigger("submit", { action: action.dataset.action, value: action.dataset.value || "" });
  const hit = event.target.closest(".hit");
  if (!hit) return;
  element.querySelectorAll(".hit[aria-current]").forEach((each) => each.removeAttribute("aria-current"));
  hit.setAttribute("aria-current", "true");
  trigger("select", { page: hit.dataset.page });
  if (innerWidth < 900) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    document.getElementById("page")?.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
  }
});

element.addEventListener("keydown", (event) => {
  const hit = event.target.closest(".hit");
  if (!hit || !["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) return;
  event.preventDefault();
  const hits = [...element.querySelectorAll(".hit")];
  const at = hits.indexOf(hit);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: hits.length - 1 }[event.key];
  hits[Math.max(0, Math.min(hits.length - 1, to))].focus();
});
