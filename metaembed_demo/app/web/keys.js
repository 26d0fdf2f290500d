// Arrow keys, Home and End between tabs, as the WAI-ARIA pattern for tabs has them; Gradio knows only Tab and Enter.
document.addEventListener("keydown", (event) => {
  const tab = event.target.closest("[role=tablist] [role=tab]");
  if (!tab || event.altKey || event.ctrlKey || event.metaKey) return;
  const tabs = [...tab.closest("[role=tablist]").querySelectorAll("[role=tab]:not(:disabled)")].filter((each) => each.offsetParent);
  const at = tabs.indexOf(tab), count = tabs.length;
  const to = { ArrowRight: (at + 1) % count, ArrowLeft: (at - 1 + count) % count, Home: 0, End: count - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  tabs[to].focus();
  tabs[to].click();
});

// "/" goes to the query, unless something is being typed.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input:not([type=radio], [type=checkbox], [type=range]), textarea, select, dialog")) return;
  const query = document.querySelector("#query textarea, #query input");
  if (!query?.checkVisibility()) return;
  event.preventDefault();
  query.focus();
  query.select();
});

// The skip link. Gradio's <base> would make its fragment another address, and load the page anew.
document.addEventListener("click", (event) => {
  if (!event.target.closest(".skip")) return;
  event.preventDefault();
  document.querySelector("#rooms [role=tab]")?.click(); // the results are in the first room
  requestAnimationFrame(() => (document.querySelector("#results .hit") ?? document.querySelector("#results button"))?.focus());
});
