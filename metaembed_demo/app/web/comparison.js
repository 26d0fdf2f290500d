// Both sides reuse the picture of the open page; the buttons change side A.
function fill() {
  const picture = document.querySelector("#page .picture img");
  element.querySelectorAll("img[data-copy]").forEach((each) => {
    if (picture && each.src !== picture.src) each.src = picture.src;
  });
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (button) trigger("submit", { action: button.dataset.action, value: button.dataset.value ?? "" });
});
document.addEventListener("metaembed:page", fill);
watch("value", () => requestAnimationFrame(fill));
fill();
