"use strict";
// Comfort only: everything works without it.
const field = document.getElementById("q");
const hits = [...document.querySelectorAll("a.hit")];
const keys = document.querySelector(".keys");
keys.hidden = !matchMedia("(hover: hover)").matches;

addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    field.focus();
    field.select();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    if (!hits.length || (typing && event.target !== field)) return;
    const at = hits.indexOf(document.activeElement);
    const next = event.key === "ArrowDown" ? at + 1 : at - 1;
    if (at < 0 && event.target !== field && event.key === "ArrowUp") return;
    event.preventDefault();
    (next < 0 ? field : hits[Math.min(next, hits.length - 1)]).focus();
  } else if (event.key === "Escape" && event.target === field) {
    field.blur();
  }
});
