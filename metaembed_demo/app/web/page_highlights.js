// The marks on the page. Requests the explanation if it is pending, because hits are shown first.
watch("value", () => {
  if (element.querySelector("[data-pending]")) trigger("submit", {});
  else requestAnimationFrame(() => window.metaembed.tell("map"));
});
