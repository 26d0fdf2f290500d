// The picture at full size; a copy, so that the page holds its bytes only once until asked.
element.addEventListener("click", (event) => {
  const dialog = element.querySelector("dialog");
  if (event.target.closest(".picture")) {
    const picture = element.querySelector(".picture img").cloneNode();
    dialog.querySelector("div").replaceChildren(picture);
    dialog.showModal();
  } else if (event.target === dialog || event.target.closest("dialog > div")) {
    dialog.close();
  }
});
