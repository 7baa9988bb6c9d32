/* Tells the reader that the page hears nothing any more. What is told stands in the page: elements of `[data-connection]`.

   live.js says where the connection stands, by events named `workflow:connection`. */
(() => {
  "use strict";

  let heardAt = new Date(); // the page itself is news

  function show(name) {
    for (const element of document.querySelectorAll("[data-connection]")) {
      const isTold = element.dataset.connection === name;
      const time = element.querySelector("time");
      if (isTold && element.hidden && time) {
        time.dateTime = heardAt.toISOString();
        time.textContent = heardAt.toLocaleTimeString();
      }
      element.hidden = !isTold;
    }
  }

  document.addEventListener("workflow:connection", (event) => {
    const { isRefused, failures, isOpen } = event.detail;
    if (!isRefused && !failures) heardAt = new Date();
    // while there is a socket one failed load says little: the next one follows soon
    const isSilent = failures > (isOpen ? 1 : 0);
    show(isRefused ? "refused" : isSilent ? "silent" : "");
  });
})();
