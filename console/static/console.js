// What needs JavaScript and nothing else: every task works without it.
(() => {
  "use strict";
  const all = (selector, each) => document.querySelectorAll(selector).forEach(each);

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const find = document.getElementById("find") || document.getElementById("q");
      if (find) { event.preventDefault(); find.focus(); find.select(); }
    }
    if (event.key === "Escape") {
      all("details.menu[open]", (menu) => {
        menu.open = false;
        if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
      });
    }
  });
  document.addEventListener("click", (event) => {
    all("details.menu[open]", (menu) => { if (!menu.contains(event.target)) menu.open = false; });
    if (event.target.closest("[data-print]")) window.print();
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      const lines = [...document.querySelectorAll(copy.dataset.copy + " li")].map((line) => line.textContent);
      navigator.clipboard.writeText(lines.join("\n"));
    }
  });
  const focusErrors = () => document.getElementById("errors")?.focus();
  document.addEventListener("DOMContentLoaded", focusErrors);
  document.addEventListener("htmx:afterSwap", focusErrors);
})();
