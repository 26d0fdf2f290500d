element.addEventListener("click", (event) => {
  if (!event.target.closest(".mode")) return;
  const mode = document.body.classList.contains("dark") ? "light" : "dark";
  document.body.dataset.mode = mode;
  document.body.classList.toggle("dark", mode === "dark");
  document.documentElement.style.colorScheme = mode;
  try { localStorage.setItem("metaembed-mode", mode); } catch { /* storage may be off */ }
});
