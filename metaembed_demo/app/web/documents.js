element.addEventListener("click", (event) => {
  const remove = event.target.closest("[data-remove]");
  if (remove) {
    remove.disabled = true;
    return trigger("delete", { source: remove.dataset.remove });
  }
  const row = event.target.closest("[data-open]"), page = event.target.closest("[data-picture]");
  if (row) return trigger("select", { document: row.dataset.open });
  if (page) { // at full size, as the open page: lightbox.js copies the sheet
    const picture = page.closest(".strip").querySelector(".picture");
    picture.querySelector("img").src = page.dataset.picture;
    return picture.click();
  }
  const action = event.target.closest("[data-action]");
  if (!action) return;
  if (action.dataset.sure && !action.dataset.armed) { // removing everything needs a second click
    const label = action.textContent;
    action.dataset.armed = "1";
    action.textContent = action.dataset.sure;
    setTimeout(() => {
      delete action.dataset.armed;
      if (action.textContent === action.dataset.sure) action.textContent = label;
    }, 4000);
    return;
  }
  trigger("submit", { action: action.dataset.action, value: action.dataset.value || "" });
});
