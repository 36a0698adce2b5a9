(() => {
  const root = document.documentElement;
  const framed = window.parent !== window;
  const follow = () => {
    const theme = framed ? parent.document.documentElement.className : "";
    if (/\b(dark|light)\b/.test(theme)) root.dataset.theme = /\bdark\b/.test(theme) ? "dark" : "light";
  };
  follow();
  if (framed) new MutationObserver(follow).observe(parent.document.documentElement, { attributeFilter: ["class"] });
  document.addEventListener("DOMContentLoaded", () => {
    for (const table of document.querySelectorAll("table.stacked")) {
      const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
      for (const row of table.tBodies[0].rows) [...row.cells].forEach((cell, place) => (cell.dataset.label = names[place]));
    }
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-airflow]");
    if (!link || !framed || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    parent.history.pushState({}, "", link.href);
    parent.dispatchEvent(new PopStateEvent("popstate"));
  });
})();
