// Light or dark before the first paint: the visitor's choice, else the system's. Gradio reads __theme.
(() => {
  let kept = null;
  try { kept = localStorage.getItem("metaembed-mode"); } catch { /* storage may be off */ }
  const asked = new URL(location.href).searchParams.get("__theme");
  const mode = asked || kept;
  if (!mode) return;
  const apply = () => {
    if (!document.body) return;
    document.body.classList.toggle("dark", mode === "dark");
  };
  document.documentElement.style.colorScheme = mode;
  // Gradio sets the system's mode once when it mounts; the choice is restored right after.
  const seen = new MutationObserver(() => {
    const now = document.body?.dataset.mode || mode;
    if (document.body && document.body.classList.contains("dark") !== (now === "dark"))
      document.body.classList.toggle("dark", now === "dark");
  });
  const start = () => {
    document.body.dataset.mode = mode;
    apply();
    seen.observe(document.body, { attributes: true, attributeFilter: ["class"] });
  };
  if (document.body) start(); else addEventListener("DOMContentLoaded", start);
})();
