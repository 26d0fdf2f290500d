// Gradio tells of a slider's release by pointer only; a key that changed it is a release too.
const keys = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];
document.getElementById("free")?.addEventListener("keyup", (event) => {
  if (event.target.type === "range" && keys.includes(event.key))
    event.target.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
});
