// The open page and its neighbours; the groups as lists, which are filled when they are opened.
element.addEventListener("click", ({ target }) => {
  const page = target.closest("[data-page]"), action = target.closest("[data-action]");
  if (page) trigger("select", { page: page.dataset.page });
  else if (action) trigger("submit", { action: action.dataset.action, value: action.dataset.value });
});
element.addEventListener("toggle", ({ target }) => {
  const list = target.querySelector("ul"), map = window.metaembed.corpus;
  if (!target.open || !list || list.childElementCount || !map) return;
  list.append(...map.ids.flatMap((id, i) => {
    if (String(map.groups[i]) !== target.dataset.group) return [];
    const item = document.createElement("li"), button = document.createElement("button"), where = document.createElement("span");
    Object.assign(button, { type: "button", textContent: map.titles[i] });
    button.dataset.page = id;
    Object.assign(where, { className: "hint num", textContent: map.where[i] });
    item.append(button, where);
    return [item];
  }));
}, true);
