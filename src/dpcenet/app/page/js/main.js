// The frame of the page: steps, theme, language, which tab may draw.

import { Refused, TAB, get, send } from "./api.js";
import { button, el, fill, toast } from "./dom.js";
import { exportPage } from "./export_page.js";
import { LANGUAGES, chooseLanguage, currentLanguage, loadTexts, t } from "./i18n.js";
import { follow } from "./job_bar.js";
import { labelPage } from "./label_page.js";
import { reviewPage } from "./review_page.js";
import { onSaving, saved } from "./saver.js";
import { scansPage } from "./scans_page.js";
import { segmentPage } from "./segment_page.js";
import { typing } from "./viewer.js";

const PAGES = { scans: scansPage, label: labelPage, segment: segmentPage, review: reviewPage, export: exportPage };
const CALL_MS = 4000;
const view = document.getElementById("view");
let page = null;
let turn = 0;

export async function go(step, details = {}) {
  const mine = (turn += 1);
  await saved();
  page?.close();
  page = null;
  for (const each of document.querySelectorAll("#steps button")) {
    if (each.dataset.step === step) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
  history.replaceState(null, "", `#${step}${details.id ? `/${details.id}` : ""}`);
  fill(view, el("div", { class: "page muted" }, t("wait")));
  try {
    const made = await PAGES[step](view, go, details);
    if (mine === turn) page = made;
    else made.close();
  } catch (error) {
    fill(view, el("div", { class: "page" }, el("p", { class: "note bad" }, error.message), button(t("retry"), () => go(step, details))));
  }
}

function frame(project) {
  const steps = Object.keys(PAGES).map((step, number) => button(t(`steps.${step}`), () => go(step), { "data-step": step, title: `Alt+${number + 1}` }));
  fill(document.getElementById("steps"), steps);
  document.title = `${project.name} · dpcenet`;
  document.querySelector(".skip").textContent = t("skip");
  document.getElementById("research").textContent = t("research");
  const theme = button("", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"), { class: "plain", id: "theme" });
  const other = Object.keys(LANGUAGES).find((each) => each !== currentLanguage());
  const language = button(LANGUAGES[other], () => chooseLanguage(other), { class: "plain", lang: other, id: "language" });
  const help = button("?", showKeys, { class: "plain", "aria-label": t("keys.title"), title: t("keys.title") });
  fill(document.getElementById("corner"), theme, language, help);
  setTheme(localStorage.getItem("dpcenet-theme") ?? "dark");
  onSaving((state) => {
    document.getElementById("saved").textContent = t(`save.${state}`);
    if (state === "offline") banner(t("save.offline.long"));
    else if (state === "saved") banner(null);
  });
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("dpcenet-theme", theme);
  document.getElementById("theme").textContent = t(theme === "dark" ? "theme.light" : "theme.dark");
}

function banner(text, ...more) {
  const node = document.getElementById("banner");
  node.hidden = text === null;
  if (text !== null) fill(node, text, ...more);
}

// One tab may draw; the others are told, and can take over.
async function callTab(take = false) {
  try {
    const { mine } = await send("POST", `/api/tab?take=${take}`);
    if (!mine) banner(t("tab.other"), button(t("tab.take"), () => callTab(true)));
    else if (callTab.mine === false) {
      banner(null);
      page && location.reload();
    }
    callTab.mine = mine;
  } catch (error) {
    if (error instanceof Refused && error.status === 401) banner(t("tab.token"));
    else banner(t("save.offline.long"));
    callTab.away = true;
    return;
  }
  if (callTab.away) {
    callTab.away = false;
    if (callTab.mine) banner(null);
    follow();
  }
}

function showKeys() {
  const rows = ["v", "b", "e", "p", "f", "m", "x", "z", "y", "[ ]", "↑ ↓", "PgUp PgDn", "+ − 0", "o", "h", "1–9", "a", "r", "c", "n k", "Alt+1–5"];
  const dialog = el(
    "dialog",
    { "aria-label": t("keys.title") },
    el("h1", {}, t("keys.title")),
    el("div", { class: "keys" }, rows.flatMap((key) => [el("kbd", {}, key), el("span", {}, t(`keys.${key}`))])),
    el("p", { class: "muted small" }, t("keys.mouse")),
    el("p", { class: "muted small" }, t("research")),
    el("form", { method: "dialog", class: "right" }, el("button", {}, t("close"))),
  );
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  const step = Object.keys(PAGES)[Number(event.key) - 1];
  if (event.altKey && step) {
    event.preventDefault();
    go(step);
  } else if (event.key === "?" && !typing(event)) showKeys();
});
window.addEventListener("pagehide", () => {
  fetch("/api/tab?leave=true", { method: "POST", headers: { "X-Tab": TAB }, keepalive: true }).catch(() => undefined);
});
window.addEventListener("unhandledrejection", (event) => toast(event.reason?.message ?? String(event.reason), "bad"));

await loadTexts();
frame(await get("/api/project"));
await callTab();
setInterval(callTab, CALL_MS);
await follow();
const [step, id] = location.hash.slice(1).split("/");
await go(step in PAGES ? step : "scans", { id });
