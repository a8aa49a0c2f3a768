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

// What a model writes, as it comes; the passages below are there in any case.
const answer = document.querySelector(".answer");
if (answer) {
  answer.hidden = false;
  const [text, by] = answer.querySelectorAll("p");
  const events = new EventSource(answer.dataset.source);
  const end = (words) => {
    events.close();
    by.textContent = words;
    answer.setAttribute("aria-busy", "false");
  };
  events.addEventListener("text", (event) => (text.textContent += JSON.parse(event.data)));
  events.addEventListener("done", (event) => {
    const { model, sources } = JSON.parse(event.data);
    end(`Written by ${model} from ${sources.length} passage${sources.length === 1 ? "" : "s"}: `);
    sources.forEach(({ document: number, passage, source }, index) => {
      const link = document.createElement("a");
      link.href = `/documents/${number}#p${passage}`;
      link.title = source;
      link.textContent = `[${index + 1}]`;
      by.append(link, " ");
    });
  });
  events.addEventListener("failed", (event) => {
    const { code, message } = JSON.parse(event.data);
    end(`${text.textContent ? "The model broke off" : "No model answered"}: ${message} [${code}]`);
  });
  events.onerror = () => end("The answer could not be read. The passages are below.");
}
