// Review: results, the most doubtful one first, beside the labelled scan; accept, reject, correct.

import { get, send } from "./api.js";
import { button, el, fill, toast } from "./dom.js";
import { t } from "./i18n.js";
import { onJob } from "./job_bar.js";
import { loadLabels } from "./label_list.js";
import { reviewPair } from "./review_pair.js";
import { badge } from "./scans_page.js";
import { typing } from "./viewer.js";

const SORTS = {
  doubt: (a, b) => a.worst - b.worst || a.name.localeCompare(b.name),
  name: (a, b) => a.name.localeCompare(b.name),
  changed: (a, b) => agreement(a) - agreement(b),
};
const FILTERS = {
  all: () => true,
  open: (row) => !row.decision && row.state === "segmented",
  look: (row) => row.state === "segmented" && row.labels.some((label) => label.flag !== "accept"),
  accept: (row) => row.decision === "accept",
  reject: (row) => row.decision === "reject",
};

function agreement(row) {
  const values = Object.values(row.changed ?? {}).map((each) => each.dice);
  return values.length ? Math.min(...values) : 2;
}

// What a person decided; else what the network expects of its result.
function standing(row) {
  if (row.decision) return el("span", { class: `badge ${row.decision} firm` }, t(`decision.${row.decision}`));
  if (row.state !== "segmented" || !row.labels.length) return badge(row.state);
  const worst = ["reject", "look", "accept"].find((flag) => row.labels.some((label) => label.flag === flag));
  const asked = row.labels[0].accept_dice.toFixed(2);
  return el("span", { class: `badge ${worst}`, title: t(`flag.${worst}.help`, { dice: asked }) }, t(`flag.${worst}`, { dice: asked }));
}

export async function reviewPage(view, go, { id }) {
  const known = await loadLabels();
  const list = el("ol", { "aria-label": t("review.list") });
  const sort = chooser("sort", Object.keys(SORTS));
  const filter = chooser("filter", Object.keys(FILTERS));
  const count = el("p", { class: "muted small", role: "status" });
  const place = el("section", { class: "stage" });
  const again = button(t("review.again"), () => go("segment"));
  const side = el("aside", { class: "list" }, el("div", { class: "filters" }, sort, filter), list, el("div", { class: "strip stack" }, count, again));
  fill(view, el("div", { class: "review" }, side, place));
  let rows = [];
  let shown = [];
  let pair = null;
  let current = id;

  function chooser(name, keys) {
    const node = el("select", { "aria-label": t(`review.${name}`) }, keys.map((key) => el("option", { value: key }, t(`review.${name}.${key}`))));
    node.addEventListener("change", () => arrange());
    return node;
  }

  async function load() {
    const before = new Map(rows.map((row) => [row.id, row])); // the open one is in use
    rows = (await get("/api/review")).rows.map((row) => Object.assign(before.get(row.id) ?? {}, row));
    arrange();
  }

  function arrange() {
    shown = rows.filter(FILTERS[filter.value]).sort(SORTS[sort.value]);
    fill(list, shown.map(item));
    const decided = rows.filter((row) => row.decision || row.state !== "segmented").length;
    count.textContent = t("review.count", { decided, n: rows.length });
    if (!rows.length) fill(place, el("div", { class: "page" }, el("p", { class: "hint" }, t("review.none")), button(t("steps.segment"), () => go("segment"))));
  }

  function item(row) {
    const first = row.labels.find((label) => label.picture);
    const picture = first
      ? el("img", { src: `/api/review/${row.id}/picture/${encodeURIComponent(first.label)}?${row.written}`, alt: "", loading: "lazy" })
      : el("img", { src: `/api/scans/${row.id}/thumbnail.png`, alt: "", loading: "lazy" });
    const expected = row.state === "segmented" && row.labels.length ? t("review.expected", { dice: row.worst.toFixed(2) }) : "";
    const changed = sort.value === "changed" && agreement(row) < 2;
    const dice = changed ? t("review.changed.short", { dice: agreement(row).toFixed(2) }) : expected;
    const text = el("span", { class: "grow stack" }, el("span", {}, row.name), el("span", { class: "muted small number" }, dice));
    text.style.gap = "0";
    return el("li", {}, el("button", { type: "button", "aria-current": String(row.id === current), onclick: () => open(row.id) }, picture, text, standing(row)));
  }

  async function open(next) {
    const row = rows.find((each) => each.id === next);
    if (!row || (next === current && pair)) return;
    current = next;
    arrange();
    const before = pair;
    pair = null;
    before?.close();
    const persons = rows.filter((each) => each.state !== "segmented" && each.id !== row.id);
    const labelled = persons.sort((a, b) => (b.state === "labelled") - (a.state === "labelled"));
    try {
      const made = await reviewPair({ row, labelled, known, decide, next: move, saved: () => load().then(() => pair?.refresh()) });
      if (current !== next) return made.close();
      pair = made;
      fill(place, made.node);
      made.focus();
    } catch (error) {
      toast(error.message, "bad");
    }
    return undefined;
  }

  function move(by) {
    const at = shown.findIndex((row) => row.id === current);
    const row = shown[at + by];
    if (row) open(row.id);
    else toast(t("review.end"), "good");
  }

  async function decide(row, decision) {
    try {
      const kept = await send("PUT", `/api/review/${row.id}`, { decision: row.decision === decision ? "" : decision });
      row.decision = kept.decision;
      row.decided = kept.time;
    } catch (error) {
      toast(error.message, "bad");
      return;
    }
    const following = shown[shown.findIndex((each) => each.id === row.id) + 1];
    arrange();
    if (row.decision && following) open(following.id);
    else pair?.refresh();
  }

  const keys = (event) => {
    if (typing(event) || !pair) return;
    const row = rows.find((each) => each.id === current);
    if (pair.key(event)) return;
    if (event.key === "a") decide(row, "accept");
    else if (event.key === "r") decide(row, "reject");
    else if (event.key === "n" || event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else return;
    event.preventDefault();
  };
  document.addEventListener("keydown", keys);
  const stop = onJob((job, ended) => {
    if (ended || (job.kind === "segment" && job.state === "running")) load();
  });
  await load();
  const first = rows.find((row) => row.id === id) ?? shown[0];
  if (first) await open(first.id);
  return {
    close() {
      document.removeEventListener("keydown", keys);
      stop();
      pair?.close();
    },
  };
}
