/* Live pages of django_workflow: plain JavaScript, no dependency, nothing that a strict content policy forbids.

   The socket only says that something changed. The page then fetches itself and replaces the regions marked with
   `data-fragment` that differ. Without a socket it fetches itself every few seconds; without this file the reader
   reloads. What it finds in a page, and what it leaves alone, says the comment above each part. */
(() => {
  "use strict";

  /* Times in milliseconds. */
  const LOADS_AT_ONCE = 3; // as many loads may follow each other quickly,
  const LOAD_EVERY = 2500; // then one per this time, or per what the server says where many pages are open,
  const LOAD_SELDOM = 2; // up to so many times that while changes never pause,
  const LOAD_SHARE = 20; // and at least so many times the last one's duration, where the server is busy:
  // pages must not slow down the work they show
  const POLL_EVERY = 5000; // loads while there is no socket, and while something is wrong
  const POLL_REFUSED_EVERY = 30000; // loads of a page that was refused: its reader may log in again elsewhere
  const ASK_BUSY_AFTER = 10000; // of silence, while something on the page goes on
  const ASK_IDLE_AFTER = 30000; // of silence, while nothing does
  const ANSWER_WITHIN = 5000; // or the socket is dead, although nobody has said so
  const LOAD_WITHIN = 15000;
  const RECONNECT = [500, 30000]; // first and longest pause between two tries, which doubles
  const RECONNECT_NEVER_OPENED = 120000; // the longest one on sites without sockets
  const CLOSE_HIDDEN_AFTER = 10000;
  const REFUSED = [4403, 4404];

  const main = document.querySelector("[data-live]");
  const now = () => performance.now();
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

  /* ---------------------------------------------------------------- badge */

  const state = { isOpen: false, isAway: false, isRefused: false, isFailed: false, failures: 0 };

  const BADGES = {
    live: "Changes appear at once.",
    polling: "There is no live connection: the page is fetched every five seconds.",
    stale: "The page does not hear of changes at the moment; it tries again by itself.",
    refused: "This page may not be seen any more. Log in again, or reload.",
  };

  function badgeState() {
    if (state.isRefused) return "refused";
    if (state.isFailed || state.isAway) return "stale";
    return state.isOpen ? "live" : "polling";
  }

  function showBadge() {
    const badge = document.querySelector("[data-badge]");
    if (!badge) return;
    const name = badgeState();
    const word = name === "refused" ? "stale" : name;
    if (badge.textContent !== word) badge.textContent = word;
    badge.title = BADGES[name];
    badge.classList.remove("badge-live", "badge-polling", "badge-stale");
    badge.classList.add(`badge-${word}`);
    badge.hidden = false;
  }

  /* What else tells of the connection listens to this: connection.js. */
  function tellConnection() {
    document.dispatchEvent(new CustomEvent("workflow:connection", { detail: { ...state } }));
  }

  /* ------------------------------------------------- loading and replacing */

  /* Take a token: returns 0, or the milliseconds until there is one. */
  const bucket = {
    tokens: LOADS_AT_ONCE,
    filledAt: now(),
    usual: LOAD_EVERY,
    every: LOAD_EVERY,
    hear(seconds) {
      this.usual = Math.max(LOAD_EVERY, 1000 * (seconds || 0));
      this.every = Math.max(this.every, this.usual);
    },
    pace(hasWaited, duration) {
      const every = hasWaited ? Math.min(LOAD_SELDOM * this.usual, this.every * 1.25) : this.usual;
      this.every = Math.max(every, Math.min(LOAD_WITHIN, LOAD_SHARE * duration));
    },
    take() {
      const most = this.usual > LOAD_EVERY ? 1 : LOADS_AT_ONCE;
      this.tokens = Math.min(most, this.tokens + (now() - this.filledAt) / this.every);
      this.filledAt = now();
      if (this.tokens < 1) return Math.ceil((1 - this.tokens) * this.every);
      this.tokens -= 1;
      return 0;
    },
  };

  const loading = { isWanted: false, isBusy: false, hasWaited: false, timer: 0, again: 0, at: now() };

  /* Ask for a load: soon, one at a time; asking during a load means one more after it. */
  function requestLoad() {
    loading.isWanted = true;
    loadIfPossible();
  }

  function loadIfPossible() {
    if (!loading.isWanted || loading.isBusy || loading.timer || document.hidden) return;
    const pause = bucket.take();
    if (pause > 0) {
      loading.hasWaited = true;
      loading.timer = setTimeout(() => {
        loading.timer = 0;
        loadIfPossible();
      }, pause);
      return;
    }
    const hasWaited = loading.hasWaited;
    loading.isWanted = loading.hasWaited = false;
    loading.isBusy = true;
    const began = now();
    load().finally(() => {
      bucket.pace(hasWaited, now() - began);
      loading.isBusy = false;
      loading.at = now();
      state.failures = state.isFailed ? state.failures + 1 : 0;
      showBadge();
      tellConnection();
      loadIfPossible();
    });
  }

  /* The page showed what was counted a while ago: it loads once more when that would be counted anew. */
  function loadAgainAfter(seconds) {
    clearTimeout(loading.again);
    if (seconds > 0) loading.again = setTimeout(requestLoad, 1000 * seconds);
  }

  async function load() {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), LOAD_WITHIN);
    try {
      const answer = await fetch(location.pathname + location.search, {
        headers: { "X-Requested-With": "fetch" },
        credentials: "same-origin",
        cache: "no-store",
        redirect: "manual", // to where people log in
        signal: stop.signal,
      });
      state.isRefused = answer.type === "opaqueredirect" || [401, 403, 404].includes(answer.status);
      state.isFailed = !state.isRefused && !answer.ok;
      if (answer.ok) {
        setClock(answer.headers.get("Date"));
        loadAgainAfter(Number(answer.headers.get("Retry-After")));
        replaceFragments(await answer.text());
      }
    } catch (error) {
      state.isFailed = true; // offline, or the server is: the next load tells
    } finally {
      clearTimeout(timer);
    }
  }

  /* What the server said last of each fragment: the page's own changes, as ticking clocks, are no difference. */
  const said = new Map();

  function signature(fragment) {
    const copy = fragment.cloneNode(true);
    all("[data-since]", copy).forEach((element) => { element.textContent = ""; });
    all("input[name=csrfmiddlewaretoken]", copy).forEach((element) => element.removeAttribute("value"));
    return copy.outerHTML;
  }

  function rememberFragments() {
    all("[data-fragment]").forEach((fragment) => said.set(fragment.dataset.fragment, signature(fragment)));
  }

  function replaceFragments(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    if (fresh.title) document.title = fresh.title;
    for (const fragment of all("[data-fragment]")) {
      const name = fragment.dataset.fragment;
      const next = fresh.querySelector(`[data-fragment="${CSS.escape(name)}"]`);
      if (!next || !fragment.isConnected || isInUse(fragment)) continue;
      const words = signature(next);
      if (words === said.get(name)) continue;
      const replace = () => {
        if (!fragment.isConnected) return;
        said.set(name, words);
        replaceFragment(fragment, document.adoptNode(next));
      };
      // whoever holds it, as list.js does, prevents that and replaces it later
      const change = new CustomEvent("fragment", { bubbles: true, cancelable: true, detail: { next, replace } });
      if (fragment.dispatchEvent(change)) replace();
    }
    tick();
  }

  /* A fragment in which somebody types, or that asks for it, is left alone; one that is held says so itself. */
  function isInUse(fragment) {
    if (fragment.matches("[data-hold]")) return false;
    if (fragment.matches("[data-keep]") || fragment.querySelector("[data-keep]")) return true;
    const focused = document.activeElement;
    return Boolean(focused && fragment.contains(focused) && focused.matches("input, textarea, select"));
  }

  function replaceFragment(old, next) {
    const restores = [keepDetails(old), keepFields(old), keepScroll(old), keepView(old), keepFocus(old)];
    const [left, top] = [window.scrollX, window.scrollY];
    old.replaceWith(next);
    restores.forEach((restore) => restore(next));
    if (window.scrollX !== left || window.scrollY !== top) window.scrollTo(left, top);
    showCopyButtons(next);
    next.dispatchEvent(new CustomEvent("replaced", { bubbles: true }));
  }

  /* Each keep… looks at the old fragment and returns what makes the new one alike. */

  function keepDetails(old) {
    const open = new Map(namedDetails(old).map(([name, element]) => [name, element.open]));
    return (next) => namedDetails(next).forEach(([name, element]) => {
      const wasOpen = open.get(name);
      if (wasOpen !== undefined) element.open = wasOpen;
    });
  }

  /* Those without a name are told apart by their place among their like: one with a name may come before them. */
  function namedDetails(root) {
    let place = 0;
    return all("details", root).map((element) => {
      const name = element.id || element.dataset.key || place;
      if (name === place) place += 1;
      return [name, element];
    });
  }

  function keepFields(old) {
    const changed = new Map();
    all("input, textarea", old).forEach((field) => {
      const isTicked = field.type === "checkbox" || field.type === "radio";
      const isChanged = isTicked ? field.checked !== field.defaultChecked : field.value !== field.defaultValue;
      if (isChanged && field.name && field.type !== "hidden") changed.set(fieldKey(field, isTicked), field);
    });
    return (next) => all("input, textarea", next).forEach((field) => {
      const isTicked = field.type === "checkbox" || field.type === "radio";
      const before = changed.get(fieldKey(field, isTicked));
      if (!before) return;
      if (isTicked) field.checked = before.checked;
      else field.value = before.value;
    });
  }

  function fieldKey(field, isTicked) {
    return [field.form ? field.form.id : "", field.name, isTicked ? field.value : ""].join("\n");
  }

  function keepScroll(old) {
    const places = all(".scroll, [data-scroll]", old).map((element) => [element.scrollLeft, element.scrollTop]);
    return (next) => all(".scroll, [data-scroll]", next).forEach((element, index) => {
      if (places[index]) [element.scrollLeft, element.scrollTop] = places[index];
    });
  }

  function keepFocus(old) {
    const focused = document.activeElement;
    if (!focused || !old.contains(focused)) return () => {};
    const selector = selectorOf(focused);
    const index = selector ? all(selector, old).indexOf(focused) : -1;
    return (next) => {
      const isItself = old === focused && selector && next.matches(selector);
      const found = isItself ? next : selector && (all(selector, next)[index] || next.querySelector(selector));
      if (found) found.focus({ preventScroll: true });
    };
  }

  function selectorOf(element) {
    const tag = element.localName;
    if (element.id) return `#${CSS.escape(element.id)}`;
    for (const name of ["data-node", "data-zoom", "data-copy", "href", "name"]) {
      const value = element.getAttribute(name);
      if (value) return `${tag}[${name}="${CSS.escape(value)}"]`;
    }
    if (tag !== "summary") return "";
    const { id, dataset } = element.parentElement;
    if (id) return `#${CSS.escape(id)} > summary`;
    return dataset.key ? `[data-key="${CSS.escape(dataset.key)}"] > summary` : tag;
  }

  /* --------------------------------------------------------------- socket */

  const link = { socket: null, tries: 0, hasOpened: false, timer: 0, hiddenTimer: 0, heardAt: now(), askedAt: 0 };

  function connect() {
    clearTimeout(link.timer);
    link.timer = 0;
    if (!main || link.socket || document.hidden) return;
    if (!("WebSocket" in window)) {
      showBadge();
      return;
    }
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    try {
      link.socket = new WebSocket(`${scheme}//${location.host}/${main.dataset.live}`);
    } catch (error) {
      reconnectLater();
      return;
    }
    const socket = link.socket;
    socket.addEventListener("message", (event) => { if (socket === link.socket) hear(event.data); });
    socket.addEventListener("close", (event) => { if (socket === link.socket) lose(event.code); });
  }

  function hear(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch (error) {
      return;
    }
    link.heardAt = now();
    link.askedAt = 0;
    if (message.type === "hello" || message.type === "changed") bucket.hear(message.pause);
    if (message.type === "hello") beOpen();
    if (message.type === "stale") state.isAway = true;
    if (message.type === "changed" || message.type === "resync") {
      state.isAway = false;
      requestLoad();
    }
    if (message.type !== "refused") showBadge();
  }

  /* What happened between the page's making and now, or while there was no socket, nobody told. */
  function beOpen() {
    Object.assign(state, { isOpen: true, isAway: false });
    Object.assign(link, { tries: 0, hasOpened: true });
    requestLoad();
  }

  function lose(code) {
    link.socket = null;
    Object.assign(state, { isOpen: false, isAway: false });
    showBadge();
    tellConnection();
    if (REFUSED.includes(code)) {
      link.tries = 30; // the page itself will say whether it is refused as well
      requestLoad();
    }
    reconnectLater();
  }

  function reconnectLater() {
    const [first, longest] = [RECONNECT[0], link.hasOpened ? RECONNECT[1] : RECONNECT_NEVER_OPENED];
    const pause = Math.min(longest, first * 2 ** link.tries);
    link.tries += 1;
    clearTimeout(link.timer);
    link.timer = setTimeout(connect, pause * (0.5 + Math.random() / 2)); // not all pages at the same moment
  }

  function disconnect() {
    clearTimeout(link.timer);
    link.timer = 0;
    const socket = link.socket;
    link.socket = null;
    state.isOpen = false;
    if (socket) socket.close();
  }

  /* After a long silence ask for everything: this finds a lost message, a dead socket and a changed permission. */
  function askAfterSilence() {
    const isBusy = state.isAway || document.querySelector("[data-since]");
    if (link.askedAt) {
      if (now() - link.askedAt > ANSWER_WITHIN) {
        disconnect();
        lose(0);
      }
    } else if (now() - link.heardAt > (isBusy ? ASK_BUSY_AFTER : ASK_IDLE_AFTER)) {
      link.askedAt = now();
      link.socket.send(JSON.stringify({ type: "resync" }));
    }
  }

  function keepUp() {
    if (!main || document.hidden) return;
    if (state.isOpen) askAfterSilence();
    const every = state.isRefused ? POLL_REFUSED_EVERY : POLL_EVERY;
    const isDue = now() - loading.at > every && (!state.isOpen || state.isFailed || state.isRefused);
    if (isDue && !loading.isBusy && !loading.isWanted) requestLoad();
  }

  function onVisibility() {
    clearTimeout(link.hiddenTimer);
    if (document.hidden) {
      link.hiddenTimer = setTimeout(disconnect, CLOSE_HIDDEN_AFTER);
      return;
    }
    link.tries = 0;
    tick();
    if (!main) return;
    requestLoad();
    connect();
  }

  /* A device that has lost its network learns by a load that fails at once, not when the socket is found dead. */
  function requestLoadOfLive() {
    if (main) requestLoad();
  }

  /* ------------------------------------------------------------ durations */

  let clockAhead = 0; // of this machine, before the server's

  function setClock(date) {
    const ahead = date ? Date.now() - Date.parse(date) : NaN;
    if (!Number.isNaN(ahead)) clockAhead = Math.abs(ahead) > 2000 ? ahead : 0;
  }

  /* `<span class="duration" data-since="2026-01-01T00:00:00Z">` shows the time since then. */
  function tick() {
    all("[data-since]").forEach((element) => {
      const since = Date.parse(element.dataset.since);
      const words = inWords(Math.max(0, (Date.now() - clockAhead - since) / 1000));
      if (!Number.isNaN(since) && element.textContent !== words) element.textContent = words;
    });
  }

  function inWords(seconds) {
    const two = (number) => String(number).padStart(2, "0");
    const whole = Math.floor(seconds);
    const [minutes, hours] = [Math.floor(whole / 60), Math.floor(whole / 3600)];
    if (whole < 60) return `${whole} s`;
    if (minutes < 60) return `${minutes} min ${two(whole % 60)} s`;
    if (hours < 48) return `${hours} h ${two(minutes % 60)} min`;
    return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
  }

  /* ---------------------------------------------------------------- graph */

  const ZOOM_STEP = 1.25;
  const ZOOM_LIMITS = [0.05, 4]; // width of what is seen, compared with all
  const whole = new WeakMap(); // the viewBox that the server drew, by svg
  const views = new Map(); // what is seen, by the graph's place on the page; null is all of it
  const LEAST_SCALE = 0.7; // below it names cannot be read: a larger graph begins with a part

  const svgOf = (element) => {
    const graph = element.closest("[data-graph]");
    return graph && graph.querySelector("[data-graph-svg]");
  };

  function viewOf(svg) {
    const box = (svg.getAttribute("viewBox") || "0 0 100 100").split(/[\s,]+/).map(Number);
    const view = { x: box[0], y: box[1], width: box[2], height: box[3] };
    if (!whole.has(svg)) whole.set(svg, view);
    return view;
  }

  function placeOf(svg) {
    return all("[data-graph-svg]").indexOf(svg);
  }

  function setView(svg, view) {
    viewOf(svg);
    svg.setAttribute("viewBox", [view.x, view.y, view.width, view.height].map((n) => +n.toFixed(2)).join(" "));
    views.set(placeOf(svg), view);
  }

  function fit(svg) {
    viewOf(svg);
    setView(svg, whole.get(svg));
  }

  /* A picture far larger than its place opens at its natural size, where the server says that something goes on. */
  function openAtStart(svg) {
    const full = viewOf(svg);
    const place = svg.getBoundingClientRect();
    const isLarge = full.width > 1.4 * place.width || full.height > 1.4 * place.height;
    if (!svg.dataset.start || !place.width || !isLarge) return;
    const [x, y] = svg.dataset.start.split(" ").map(Number);
    const within = (value, most) => Math.max(0, Math.min(value, most));
    setView(svg, {
      x: within(x - place.width / 3, full.width - place.width),
      y: within(y - place.height / 2, full.height - place.height),
      width: place.width,
      height: place.height,
    });
  }

  /* Zoom so that the point at these fractions of the picture stays where it is. */
  function zoom(svg, factor, across = 0.5, down = 0.5) {
    const view = viewOf(svg);
    const full = whole.get(svg);
    const least = ZOOM_LIMITS[0] * full.width;
    const width = Math.min(Math.max(view.width * factor, least), ZOOM_LIMITS[1] * full.width);
    const height = view.height * (width / view.width);
    setView(svg, {
      x: view.x + (view.width - width) * across,
      y: view.y + (view.height - height) * down,
      width,
      height,
    });
  }

  function zoomBy(svg, name) {
    if (name === "fit") fit(svg);
    else zoom(svg, name === "in" ? 1 / ZOOM_STEP : ZOOM_STEP);
  }

  /* A point of the screen in the picture's own measure. */
  function pointAt(svg, event) {
    const matrix = svg.getScreenCTM();
    return matrix ? new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse()) : null;
  }

  // with Ctrl, which a pinch on a touchpad sends, too: whoever scrolls the page shall get past the graph
  function onWheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    const svg = event.target.closest && event.target.closest("[data-graph-svg]");
    const point = svg && pointAt(svg, event);
    if (!point) return;
    event.preventDefault();
    const view = viewOf(svg);
    const factor = ZOOM_STEP ** Math.max(-1, Math.min(1, event.deltaY / 50));
    zoom(svg, factor, (point.x - view.x) / view.width, (point.y - view.y) / view.height);
  }

  const drag = { svg: null, from: null };

  function onPointerDown(event) {
    const svg = event.target.closest && event.target.closest("[data-graph-svg]");
    if (!svg || event.button !== 0 || event.pointerType === "touch" || event.target.closest("a")) return;
    drag.svg = svg;
    drag.from = pointAt(svg, event);
    svg.setPointerCapture(event.pointerId);
    svg.classList.add("is-dragged");
  }

  function onPointerMove(event) {
    const point = drag.svg && drag.from && pointAt(drag.svg, event);
    if (!point) return;
    const view = viewOf(drag.svg);
    setView(drag.svg, { ...view, x: view.x + drag.from.x - point.x, y: view.y + drag.from.y - point.y });
  }

  function onPointerUp() {
    if (drag.svg) drag.svg.classList.remove("is-dragged");
    drag.svg = null;
  }

  function keepView(old) {
    const chosen = all("[data-graph-svg]", old).map((svg) => views.get(placeOf(svg)));
    return (next) => all("[data-graph-svg]", next).forEach((svg, index) => {
      viewOf(svg);
      if (chosen[index]) setView(svg, chosen[index]);
      else openAtStart(svg);
    });
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const ZOOM_KEYS = { "+": "in", "=": "in", "-": "out", "0": "fit" };

  function onKey(event) {
    const svg = event.target.closest && svgOf(event.target);
    if (!svg || event.ctrlKey || event.metaKey || event.altKey) return;
    const node = event.target.closest("[data-node]");
    if (ZOOM_KEYS[event.key]) zoomBy(svg, ZOOM_KEYS[event.key]);
    else if (node && ARROWS[event.key]) walk(svg, node, ARROWS[event.key]);
    else return;
    event.preventDefault();
  }

  const positionOf = (node) => [Number(node.dataset.x), Number(node.dataset.y)];

  /* Focus the nearest node in a direction; what lies aside counts as further away. */
  function walk(svg, node, [dx, dy]) {
    const [x, y] = positionOf(node);
    let nearest = null;
    let least = Infinity;
    for (const other of all("[data-node]", svg)) {
      const [right, down] = [positionOf(other)[0] - x, positionOf(other)[1] - y];
      const [ahead, aside] = [right * dx + down * dy, Math.abs(right * dy) + Math.abs(down * dx)];
      if (ahead > 0 && ahead + 2 * aside < least) [nearest, least] = [other, ahead + 2 * aside];
    }
    if (!nearest) return;
    nearest.focus({ preventScroll: true });
    bringIntoView(svg, nearest);
  }

  function bringIntoView(svg, node) {
    const [picture, place] = [svg.getBoundingClientRect(), node.getBoundingClientRect()];
    const isAcross = place.left >= picture.left && place.right <= picture.right;
    const isDown = place.top >= picture.top && place.bottom <= picture.bottom;
    const middle = { clientX: place.left + place.width / 2, clientY: place.top + place.height / 2 };
    const point = isAcross && isDown ? null : pointAt(svg, middle);
    const view = viewOf(svg);
    if (point) setView(svg, { ...view, x: point.x - view.width / 2, y: point.y - view.height / 2 });
    node.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /* ---------------------------------------------------------------- clicks */

  function onClick(event) {
    const target = event.target.closest ? event.target : null;
    const zoomButton = target && target.closest("[data-zoom]");
    const copyButton = target && target.closest("[data-copy]");
    if (zoomButton && svgOf(zoomButton)) zoomBy(svgOf(zoomButton), zoomButton.dataset.zoom);
    if (copyButton) copyFrom(copyButton);
  }

  /* `<button data-copy="#id">` copies the text of that element; without this file it would do nothing. */
  function showCopyButtons(root) {
    all("[data-copy][hidden]", root).forEach((button) => { button.hidden = false; });
  }

  async function copyFrom(button) {
    const source = document.querySelector(button.dataset.copy);
    if (!source) return;
    const text = source.matches("input, textarea") ? source.value : source.textContent;
    const words = (await copy(text)) ? "Copied" : "Could not copy";
    const before = button.dataset.label || button.textContent;
    button.dataset.label = before;
    button.textContent = words;
    setTimeout(() => { button.textContent = before; }, 2000);
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch (error) {
      return copyBySelection(text); // no secure context, or not allowed
    }
  }

  function copyBySelection(text) {
    const focused = document.activeElement;
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    if (focused) focused.focus({ preventScroll: true });
    return isCopied;
  }

  /* ----------------------------------------------------------------- begin */

  document.addEventListener("click", onClick);
  document.addEventListener("keydown", onKey);
  document.addEventListener("wheel", onWheel, { passive: false });
  document.addEventListener("pointerdown", onPointerDown);
  document.addEventListener("pointermove", onPointerMove);
  document.addEventListener("pointerup", onPointerUp);
  document.addEventListener("pointercancel", onPointerUp);
  document.addEventListener("visibilitychange", onVisibility);
  window.addEventListener("online", onVisibility);
  window.addEventListener("offline", requestLoadOfLive);
  window.addEventListener("pagehide", disconnect);
  window.addEventListener("pageshow", (event) => { if (event.persisted) onVisibility(); });

  rememberFragments();
  showCopyButtons(document);
  all("[data-graph-svg]").forEach(openAtStart);
  tick();
  connect();
  setInterval(() => {
    if (!document.hidden && !state.failures) tick(); // what may have ended does not go on
    keepUp();
  }, 1000);
})();
