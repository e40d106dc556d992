"use strict";
// Everything shown is put in as text, never as markup; the policy of the page forbids the rest.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const [search, reasons, fresh, list, count, rest] = ["search", "reason", "fresh", "list", "count", "rest"].map(byId);
const CHUNK = 40;
const THEMES = ["auto", "light", "dark"];
const state = { q: "", result: data.first, reason: "", group: "page", fresh: false, theme: "auto" };
let pending = [];

for (const row of data.rows) {
  for (const [name, value] of Object.entries(data.usual)) row[name] ??= value;
  const words = [row.href, row.text, row.reason, row.label, data.targets[row.target], ...row.pages.map((n) => data.pages[n])];
  row.words = words.join("\n").toLowerCase();
}

function node(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function link(text, url) {
  if (!/^https?:\/\//.test(url)) return null;
  return node("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, text);
}

const absolute = (path) => (path.startsWith("/") ? data.site + path : path);

function matching(withReason = true) {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  return data.rows.filter(
    (row) =>
      (!state.result || row.result === state.result) &&
      (!withReason || !state.reason || row.reason === state.reason) &&
      (!state.fresh || row.state === "new") &&
      words.every((word) => row.words.includes(word)),
  );
}

function grouped(rows) {
  const groups = new Map();
  for (const row of rows) {
    const many = state.group === "page" && row.many;
    const key = many ? "" : state.group === "page" ? data.pages[row.pages[0]] : data.targets[row.target];
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  }
  // What stands on many pages comes first, then the order of the report.
  if (state.group === "target") {
    const sizes = new Map([...groups].map(([key, found]) => [key, places(found)]));
    return [...groups].sort(([a], [b]) => sizes.get(b) - sizes.get(a));
  }
  return [...groups].sort(([a], [b]) => (a === "" ? -1 : b === "" ? 1 : 0));
}

const places = (rows) => rows.reduce((sum, row) => sum + row.pages.length, 0);

function section([key, rows]) {
  const title = node("h2", {}, key === "" ? "On many pages" : node("span", { class: "path" }, key));
  const head = node("header", {}, title);
  if (key !== "") {
    if (state.group === "page" && data.edit[key]) head.append(link("Edit", data.edit[key]) ?? "");
    if (state.group === "page" || rows[0].reason !== "bad_url") head.append(link("Open", absolute(key)) ?? "");
  }
  const [number, noun] = state.group === "page" ? [rows.length, "link"] : [places(rows), "page"];
  head.append(node("span", { class: "many" }, `${number} ${noun}${number === 1 ? "" : "s"}`));
  return node("section", { class: "group" }, head, ...rows.map(line));
}

function line(row) {
  const what = node("span", { class: "what" }, node("span", { class: "path" }, title(row)));
  if (row.text) what.append(node("span", { class: "said" }, `“${row.text}”`));
  const summary = node("summary", {}, node("span", { class: `badge b-${row.result}` }, row.label), what);
  if (state.group === "page" && row.pages.length > 1) summary.append(node("span", { class: "chip" }, `${row.pages.length} pages`));
  if (row.state === "new") summary.append(node("span", { class: "chip new" }, "new"));
  else if (row.since) summary.append(node("span", { class: "chip" }, `since ${row.since}`));
  if (row.line) summary.append(node("span", { class: "chip" }, `${row.line}:${row.column}`));
  const made = node("details", { class: "row" }, summary);
  made.addEventListener("toggle", () => made.childElementCount === 1 && made.append(details(row)), { once: true });
  return made;
}

function title(row) {
  if (state.group === "page") return data.targets[row.target];
  return row.pages.length > 1 ? `${data.pages[row.pages[0]]} and ${row.pages.length - 1} more` : data.pages[row.pages[0]];
}

function details(row) {
  const meaning = data.reasons[row.reason];
  const facts = node("dl", {});
  const fact = (name, ...value) => facts.append(node("dt", {}, name), node("dd", {}, ...value));
  if (row.why) fact("Why not counted", row.why);
  if (row.instead) fact("Perhaps now", link(row.instead, absolute(row.instead)) ?? row.instead);
  fact("Written", node("code", {}, row.href || "—"));
  if (row.line) fact("Place", `line ${row.line}, column ${row.column} of the page as served`);
  if (row.source) fact("Source", node("code", {}, row.source));
  if (row.nights > 1) fact("Broken", `${row.nights} nights, since ${row.since}`);
  if (row.versions.length) fact("Versions", row.versions.join(", "));
  if (row.attempts > 0 && row.result !== "fixed") fact("Asked", `${row.attempts} ${row.attempts === 1 ? "time" : "times"}, ${row.confirmation}`);
  if (row.chain.length) {
    const hops = row.chain.map(([url, status]) => node("li", {}, `${status ?? "no answer"}  `, node("code", {}, url)));
    fact("Way", node("ol", {}, ...hops));
  }
  if (row.pages.length > 1) {
    const shown = row.pages.slice(0, 200).map((n) => node("li", {}, link(data.pages[n], absolute(data.pages[n])) ?? data.pages[n]));
    if (row.pages.length > 200) shown.push(node("li", {}, `and ${row.pages.length - 200} more`));
    fact("Pages", node("ol", { class: "scroll" }, ...shown));
  }
  const acts = node("p", { class: "acts" });
  for (const [name, url] of [
    ["Open the page", absolute(data.pages[row.pages[0]])],
    ["Open the target", row.reason === "bad_url" ? "" : absolute(data.targets[row.target])],
    ["Edit the source", data.edit[data.pages[row.pages[0]]] ?? ""],
  ]) acts.append(link(name, url) ?? "");
  return node("div", { class: "more" }, node("p", {}, `${meaning[0]} ${row.result === "fixed" ? "" : meaning[1]}`), facts, acts);
}

function more(size = CHUNK) {
  list.append(...pending.splice(0, size).map(section));
  rest.hidden = pending.length === 0;
}

function render() {
  for (const button of document.querySelectorAll("[data-result]")) {
    button.setAttribute("aria-pressed", String(button.dataset.result === state.result));
  }
  for (const button of document.querySelectorAll("[data-group]")) {
    button.setAttribute("aria-pressed", String(button.dataset.group === state.group));
  }
  offer();
  const rows = matching();
  pending = grouped(rows);
  const noun = state.group === "page" ? ["page", "pages"] : ["target", "targets"];
  const groups = pending.filter(([key]) => key !== "").length;
  count.textContent = `${rows.length} of ${data.rows.length} entries, ${groups} ${noun[groups === 1 ? 0 : 1]}`;
  list.replaceChildren();
  if (rows.length === 0) list.append(node("p", { class: "empty" }, data.rows.length ? "Nothing fits. Clear the search or choose another result." : "Every link is in order."));
  more();
}

function offer() {
  // Only reasons that are left to choose from; the chosen one stays, so that it can be taken back.
  const numbers = new Map(state.reason ? [[state.reason, 0]] : []);
  for (const row of matching(false)) numbers.set(row.reason, (numbers.get(row.reason) ?? 0) + 1);
  const all = node("option", { value: "" }, "All reasons");
  const others = [...numbers].sort().map(([reason, number]) => node("option", { value: reason }, `${data.reasons[reason]?.[2] ?? reason} (${number})`));
  reasons.replaceChildren(all, ...others);
  reasons.value = state.reason;
}

function change(values) {
  Object.assign(state, values);
  const kept = Object.entries(state).filter(([name, value]) => value !== initial[name]);
  history.replaceState(null, "", kept.length ? `#${new URLSearchParams(kept)}` : location.pathname + location.search);
  render();
}

function dress() {
  const button = byId("theme");
  if (state.theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = state.theme;
  button.textContent = `Theme: ${state.theme}`;
}

const initial = { ...state };
function restore() {
  const given = new URLSearchParams(location.hash.slice(1));
  Object.assign(state, initial, {
    q: given.get("q") ?? "",
    reason: given.get("reason") ?? "",
    result: given.has("result") && data.results.includes(given.get("result")) ? given.get("result") : given.get("result") === "" ? "" : initial.result,
    group: given.get("group") === "target" ? "target" : "page",
    fresh: given.get("fresh") === "true",
    theme: THEMES.includes(given.get("theme")) ? given.get("theme") : "auto",
  });
  search.value = state.q;
  if (fresh) fresh.checked = state.fresh;
  dress();
  render();
}

search.addEventListener("input", () => change({ q: search.value }));
reasons.addEventListener("change", () => change({ reason: reasons.value }));
fresh?.addEventListener("change", () => change({ fresh: fresh.checked }));
byId("theme").addEventListener("click", () => {
  change({ theme: THEMES[(THEMES.indexOf(state.theme) + 1) % THEMES.length] });
  dress();
});
for (const button of document.querySelectorAll("[data-result]")) {
  const { result } = button.dataset;
  button.addEventListener("click", () => change({ result: state.result === result ? "" : result, reason: "" }));
}
for (const button of document.querySelectorAll("[data-group]")) {
  button.addEventListener("click", () => change({ group: button.dataset.group }));
}
rest.addEventListener("click", () => more());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment holds the view
  list.focus();
});
new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && more(), { rootMargin: "600px" }).observe(rest);
addEventListener("beforeprint", () => more(pending.length));
addEventListener("hashchange", restore);
addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "Escape" && event.target === search && search.value) {
    search.value = "";
    change({ q: "" });
  }
});
restore();
