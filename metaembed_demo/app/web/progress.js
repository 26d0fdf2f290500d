// How far a long job is: changes the bar and the words where a region shows that it has begun.
watch("value", () => {
  const told = element.querySelector("[data-region]");
  const running = told && document.querySelector(`#${told.dataset.region} .running`);
  const bar = running?.querySelector("[role=progressbar]");
  if (!bar) return;
  const { done, total } = told.dataset;
  bar.setAttribute("aria-valuenow", done);
  bar.setAttribute("aria-valuemax", total);
  bar.setAttribute("aria-label", told.textContent);
  bar.firstElementChild.style.width = `${(done / Math.max(total, 1)) * 100}%`;
  running.querySelector("span").textContent = told.textContent;
});
