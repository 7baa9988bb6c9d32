/* On paper a picture is whole, whatever part of it was looked at. */
(() => {
  "use strict";

  const seen = new Map(); // what was looked at, by picture

  window.addEventListener("beforeprint", () => {
    for (const svg of document.querySelectorAll("[data-graph-svg]")) {
      seen.set(svg, svg.getAttribute("viewBox"));
      svg.setAttribute("viewBox", `0 0 ${svg.getAttribute("width")} ${svg.getAttribute("height")}`);
    }
  });

  window.addEventListener("afterprint", () => {
    seen.forEach((box, svg) => svg.setAttribute("viewBox", box));
    seen.clear();
  });
})();
