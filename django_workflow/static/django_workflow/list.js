/* The list of runs: it holds still while somebody works with it, and its bar offers what fits the ticked runs.

   live.js says with an event "fragment" that a region has changed. A region with `data-hold` is not replaced while
   anything in it is ticked, pointed at or focused; a button says how many rows are newer, and shows them. Without this
   file the bar offers everything, and the reader reloads. */
(() => {
  "use strict";

  const LOOK_EVERY = 500; // milliseconds between two looks whether a region is still held
  const POINTED_AT = "tr:hover, a:hover, button:hover, label:hover";

  const all = (selector, root) => Array.from(root.querySelectorAll(selector));
  const boxes = (root) => all("input[type=checkbox][name=ids]", root);
  const ticked = (root) => boxes(root).filter((box) => box.checked);
  const rowsOf = (root) => all("[data-row]", root).map((row) => row.dataset.row);

  /* ----------------------------------------------------------------- hold */

  const changes = new Map(); // what a held region will show, by the region

  function isHeld(region) {
    const focused = document.activeElement;
    if (ticked(region).length || (focused && region.contains(focused))) return true;
    return matchMedia("(hover: hover)").matches && Boolean(region.querySelector(POINTED_AT));
  }

  function onFragment(event) {
    const region = event.target;
    if (!region.matches("[data-hold]")) return;
    changes.delete(region);
    if (!isHeld(region)) return;
    event.preventDefault();
    changes.set(region, event.detail);
    tell(region, event.detail.next);
  }

  /* The notice takes no room: the rows stay where they are. */
  function tell(region, next) {
    const notice = region.querySelector("[data-held]");
    const button = notice && notice.querySelector("button");
    if (!button) return;
    const shown = new Set(rowsOf(region));
    const count = rowsOf(next).filter((row) => !shown.has(row)).length;
    const words = count ? button.dataset.newer.replace("{n}", count) : button.dataset.changed;
    if (button.textContent !== words) button.textContent = words;
    notice.hidden = false;
  }

  function show(region) {
    const change = changes.get(region);
    if (!change) return;
    changes.delete(region);
    const shown = new Set(rowsOf(region));
    const came = boxes(change.next).filter((box) => !shown.has(box.value));
    change.replace();
    came.forEach((box) => { box.checked = false; }); // nobody has ticked what nobody has seen
    countAll();
  }

  function showWhatIsFree() {
    for (const region of changes.keys()) {
      if (!region.isConnected) changes.delete(region);
      else if (!isHeld(region)) show(region);
    }
  }

  /* ------------------------------------------------------------------ bar */

  /* How many are ticked; of each verb, how many of these it fits. */
  function count(bar) {
    const chosen = ticked(bar.closest("form") || document);
    const words = bar.querySelector("[data-selected]");
    const { none, one, many } = words.dataset;
    words.textContent = chosen.length === 0 ? none : chosen.length === 1 ? one : many.replace("{n}", chosen.length);
    for (const button of all("[data-verb]", bar)) {
      const fitting = chosen.filter((box) => box.dataset.fits.split(" ").includes(button.dataset.verb)).length;
      button.hidden = fitting === 0;
      button.querySelector("[data-count]").textContent = fitting || "";
    }
  }

  function countAll() {
    all("[data-bulk]", document).forEach(count);
  }

  document.addEventListener("fragment", onFragment);
  document.addEventListener("replaced", countAll);
  document.addEventListener("change", countAll);
  document.addEventListener("click", (event) => {
    const button = event.target.closest && event.target.closest("[data-held] button");
    if (button) show(button.closest("[data-hold]"));
  });
  window.addEventListener("pageshow", countAll); // a browser that goes back ticks what was ticked
  setInterval(showWhatIsFree, LOOK_EVERY);
  countAll();
})();
