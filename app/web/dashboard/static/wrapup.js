// What the pages do better with a script: they stay fresh, filter without a reload, and work by keys.
// Everything that can be done with it can be done without it.

const parts = () => document.querySelectorAll("[data-refresh][id]");

// Puts the parts of a newly read page in place of those on this one. What has the focus, or is open, stays so.
function show(page) {
  const focus = document.activeElement;
  const held = focus && focus.closest("[data-refresh]") ? [...focus.closest("[data-refresh]").querySelectorAll("a, button, summary, input")].indexOf(focus) : -1;
  const heldPart = held < 0 ? null : focus.closest("[data-refresh]").id;
  for (const old of parts()) {
    const part = page.getElementById(old.id);
    if (!part || part.outerHTML === old.outerHTML) continue;
    if (old.contains(focus) && focus.matches("input, select, textarea")) continue; // somebody is typing there
    for (const open of old.querySelectorAll("details[open][id]")) part.querySelector("#" + open.id)?.setAttribute("open", "");
    const scrolled = [...old.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    old.replaceWith(part);
    part.querySelectorAll(".scroll").forEach((one, index) => { one.scrollLeft = scrolled[index] ?? 0; });
  }
  if (heldPart) document.getElementById(heldPart)?.querySelectorAll("a, button, summary, input")[held]?.focus({ preventScroll: true });
}

let reading = null; // the read that is under way

async function read(address) {
  reading?.abort();
  const mine = reading = new AbortController();
  const answer = await fetch(address, { signal: mine.signal, headers: { Accept: "text/html" } });
  if (new URL(answer.url).pathname === "/sign-in") { location.reload(); return null; } // the session is over
  const text = await answer.text();
  return new DOMParser().parseFromString(text, "text/html");
}

async function refresh(address = location.href) {
  try {
    const page = await read(address);
    if (page) show(page);
  } catch (error) {
    if (error.name !== "AbortError") say("Wrapup does not answer. Trying again.");
  }
}

function say(text) {
  const place = document.getElementById("live-state");
  if (place && place.textContent !== text) place.textContent = text;
}

// Live: one stream tells that something has changed; the page is then read again, once a second at most. A tab that
// nobody sees holds no stream.
const SOONEST = 1000; // milliseconds between two reads
let stream = null;
let due = null;

function changed() {
  due ??= setTimeout(() => { due = null; refresh(); }, SOONEST);
}

function listen() {
  if (stream || !document.body.dataset.live || document.hidden || !parts().length) return;
  stream = new EventSource(document.body.dataset.live);
  stream.onopen = () => say("Live.");
  stream.onmessage = changed;
  stream.addEventListener("seen", changed); // what changed between the page's answer and the stream's beginning
  stream.onerror = () => say("Not live at the moment.");
}

function rest() {
  stream?.close();
  stream = null;
  clearTimeout(due);
  due = null;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) rest();
  else if (parts().length) { refresh(); listen(); }
});
addEventListener("pagehide", rest);
addEventListener("pageshow", listen);

// Filters without a reload. The address always says what is shown.
function address(form) {
  const fields = [...new FormData(form)].filter(([, value]) => value !== "");
  const query = new URLSearchParams(fields).toString();
  return form.action.split("?")[0] + (query ? "?" + query : "");
}

let typing = null;

for (const form of document.querySelectorAll("form[data-filter]")) {
  const apply = () => {
    clearTimeout(typing);
    history.pushState(null, "", address(form));
    refresh();
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
  form.addEventListener("change", apply);
  form.addEventListener("input", (event) => {
    if (!event.target.matches("[type=search]")) return;
    clearTimeout(typing);
    typing = setTimeout(apply, 350);
  });
  addEventListener("popstate", () => location.reload());
}

// A double click does a thing once: the second would only be told that it is done already.
const sent = new WeakSet();
addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (sent.has(event.target)) event.preventDefault();
  sent.add(event.target);
});
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); }); // back from another page: as it is now

// Keys.
const rowLinks = () => [...document.querySelectorAll("table.list tbody tr, .needs li")].map((row) => row.querySelector("a")).filter(Boolean);
const PLACES = { o: "/", f: "/failures", d: "/dispositions", a: "/accounts", r: "/replays" };
let going = false;

function step(by) {
  const links = rowLinks();
  const at = links.findIndex((link) => link.closest("tr, li").contains(document.activeElement));
  links[Math.max(0, Math.min(links.length - 1, at < 0 ? (by > 0 ? 0 : links.length - 1) : at + by))]?.focus();
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]), select, textarea, dialog[open]")) return;
  const went = going;
  going = false;
  if (went && PLACES[event.key]) location.href = PLACES[event.key];
  else if (event.key === "g") going = true;
  else if (event.key === "/") document.getElementById("find")?.focus();
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "?") document.getElementById("keys")?.showModal();
  else return;
  event.preventDefault();
});

for (const place of document.querySelectorAll(".scripted")) place.hidden = false;
if (new URLSearchParams(location.search).has("said")) {
  const clean = new URL(location.href);
  clean.searchParams.delete("said");
  history.replaceState(null, "", clean); // said once: not to be sent to a colleague, nor said again
}
listen();
