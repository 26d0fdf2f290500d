// The stops beside the map, and pages that have to be laid out first. What is shown is told to corpus_map.js.
element.addEventListener("click", ({ target }) => {
  const stop = target.closest("[data-stop]"), action = target.closest("[data-action]")?.dataset.action;
  if (stop) {
    element.querySelectorAll("[data-stop]").forEach((each) => each.setAttribute("aria-pressed", each === stop));
    trigger("input", { stop: Number(stop.dataset.stop) });
  } else if (action === "again") trigger("clear", {});
  else if (action === "documents") document.querySelector("#rooms [role=tablist] [role=tab]:last-child")?.click();
});
watch("value", () => setTimeout(() => {
  if (element.querySelector(".progress")) trigger("clear", {});
  window.metaembed.tell("map-shown");
}));
