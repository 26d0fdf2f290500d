// Index files: request a download, or upload one and send its path and name.
const say = (words) => { element.querySelector(".index-file-words").textContent = words; };

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action=download]");
  if (!button || button.disabled) return;
  button.disabled = true; // until the server's answer replaces it
  trigger("submit", {});
});

element.addEventListener("change", async (event) => {
  const files = [...event.target.files];
  event.target.value = ""; // so that the same file can be chosen again
  if (!files.length) return;
  const rest = element.querySelector(".index-file-words").textContent;
  say("Uploading…");
  try {
    const { path } = await upload(files[0]);
    say(rest);
    trigger("upload", { files: [{ path, name: files[0].name }] });
  } catch {
    say("The upload failed. Is the file too large?");
  }
});
